"""Detail of corrected images at full size, beside uncorrected ones and samples of the generator.

python benchmarks/judge_detail.py --data photos256 --first 00700 --limit 24 --model MODEL

Two figures, of the images as they are decoded (1024² for `faces`): log10 of the mean power of the
luminance in three octaves of frequency, and the kernel Inception distance (KID: Bińkowski et al.
2018) between crops of 256² and the same crops of samples. Neither needs a photograph of full size.
"""

from __future__ import annotations

import judging
import torch
from PIL import Image
from torch import Tensor

import wplus
from wplus import images
from wplus.evaluate.networks import InceptionFeatures
from wplus.models import DEFAULT

BANDS = ((64, 128), (128, 256), (256, 512))  # cycles a side
CROP, PER_IMAGE = 256, 6
PSI = 0.9  # truncation of the samples
SHOWN = 6  # photographs on the sheet, in crops of the eyes at full size


def power(image: Tensor) -> Tensor:
    """(3,) log10 of the mean power |FFT|² of the luminance of (3, S, S) in each of `BANDS`."""
    side = image.shape[-1]
    spectrum = torch.fft.fft2(image.double().clamp(-1, 1).mean(0)).abs().square()
    frequencies = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    radius = torch.hypot(frequencies[:, None], frequencies[None])
    return torch.stack(
        [spectrum[(radius >= low) & (radius < high)].mean().log10() for low, high in BANDS]
    )


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID of two sets of features (N, D), (M, D): unbiased MMD² with the kernel (x·y / D + 1)³."""
    first, second = first.double(), second.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.t() / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        matrix, count = kernel(a, a), len(a)
        return (matrix.sum() - matrix.diagonal().sum()) / (count * (count - 1))

    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


class Detail:
    """Power and Inception features of one kind of image."""

    def __init__(self, inception: InceptionFeatures, inner: bool = False) -> None:
        self.inception, self.inner = inception, inner
        self.powers: list[Tensor] = []
        self.features: list[Tensor] = []

    def add(self, image: Tensor, seed: int) -> None:
        """An image (3, S, S), S at least `CROP`; the seed places its crops."""
        self.powers.append(power(image))
        rng = torch.Generator().manual_seed(seed)
        free = image.shape[-1] - CROP
        if self.inner:  # the inner face, where photographs show what samples show
            rows = torch.randint(free * 3 // 8, free * 6 // 8, (PER_IMAGE,), generator=rng)
            columns = torch.randint(free * 3 // 8, free * 5 // 8, (PER_IMAGE,), generator=rng)
        else:
            rows, columns = torch.randint(0, free + 1, (2, PER_IMAGE), generator=rng)
        places = zip(rows.tolist(), columns.tolist())
        crops = [image[:, y : y + CROP, x : x + CROP] for y, x in places]
        self.features.append(self.inception(torch.stack(crops).clamp(-1, 1)))

    def report(self, reference: Detail) -> dict[str, float]:
        """Mean log10 power by band, and KID to the reference's crops."""
        means = torch.stack(self.powers).mean(0).tolist()
        report = {f"{low}–{high} cycles": round(m, 3) for (low, high), m in zip(BANDS, means)}
        distance = kernel_distance(torch.cat(self.features), torch.cat(reference.features))
        return {**report, "KID × 1000": round(1000 * distance, 2)}


@torch.no_grad()
def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--inner", action="store_true", help="crops of the inner face only")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name = arguments.model or DEFAULT
    model = wplus.load(name)
    inception = InceptionFeatures()
    kinds = {
        kind: Detail(inception, arguments.inner) for kind in ("samples", "W+ only", "corrected")
    }
    sheet: list[Image.Image] = []
    for index, (stem, photograph) in enumerate(
        judging.photographs(arguments.data, arguments.first, arguments.limit)
    ):
        pixels = images.to_tensor(photograph)
        codes = model.encode(pixels)
        decoded = {
            "samples": model.decode(model.sample(1, PSI, seed=index)),
            "W+ only": model.decode(codes),
            "corrected": model.decode(codes, corrections=model.correct(pixels, codes)),
        }
        for kind, image in decoded.items():
            kinds[kind].add(image[0], index)
        if len(sheet) < SHOWN:
            side = model.resolution
            box = (side // 4, side * 3 // 8, side * 3 // 4, side * 5 // 8)
            pair = [images.to_picture(decoded[kind]).crop(box) for kind in list(kinds)[1:]]
            sheet.append(images.side_by_side(pair, list(kinds)[1:]))
        print(f"{stem} done", flush=True)
    report = {kind: detail.report(kinds["samples"]) for kind, detail in kinds.items()}
    del report["samples"]["KID × 1000"]
    for kind, figures in report.items():
        print(kind, *(f"{key}: {value}" for key, value in figures.items()), sep="  ")
    judging.finish(arguments, "detail", report, sheet, {"model": name})


if __name__ == "__main__":
    main()
