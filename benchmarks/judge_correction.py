"""Edits with corrections beside edits of the code alone.

python benchmarks/judge_correction.py --data photos256 --first 00712 --limit 12 --model MODEL

Exact edits: samples v of the generator and v + d, d every shipped direction at 80 % of its range
either way: LPIPS of the edit of the inverted sample to the image of v + d. Photographs: identity of
the edit to the photograph (EdgeFace-S), and its change relative to the change of the W+ edit (root
mean squares at 256²).
"""

from __future__ import annotations

import judging
import torch
from PIL import Image
from torch import Tensor

import wplus
from wplus import images
from wplus.editing.directions import shipped
from wplus.evaluate.networks import FaceNet
from wplus.losses import load_lpips
from wplus.models import DEFAULT

AMOUNTS = {"smile": 2.0, "age": 1.0, "yaw": 15.0, "glasses": 1.5, "bald": 1.5, "gender": 1.5}
SHOWN = 6  # photographs on the sheet
REACH, SAMPLES, FIRST_SEED, PSI = 0.8, 2, 90_000, 0.8


class Edits:
    """One model's edits, with and without corrections, at 256²."""

    def __init__(self, model: wplus.PSP) -> None:
        self.model = model

    def both(self, image: Tensor, codes: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The image of `target` by W+ alone and corrected, (1, 3, 256, 256) each."""
        corrections = self.model.correct(image, codes, target)
        found = (self.model.decode(target), self.model.decode(target, corrections=corrections))
        plain, corrected = (images.resize(each, 256).clamp(-1, 1) for each in found)
        return plain, corrected


def exact(model: wplus.PSP) -> dict[str, list[float]]:
    """LPIPS to the exact edit by direction: W+ alone, corrected."""
    edits, lpips, report = Edits(model), load_lpips(), {}
    for name, direction in shipped(model.generator).items():
        rows = []
        for number in range(SAMPLES):
            sample = model.sample(1, PSI, FIRST_SEED + number)
            image = images.resize(model.decode(sample), 256).clamp(-1, 1)
            codes = model.encode(image)
            for end in (direction.low, direction.high):
                move = direction.vector * (REACH * end)
                goal = images.resize(model.decode(sample + move), 256).clamp(-1, 1)
                made = edits.both(image, codes, codes + move)
                rows.append([float(lpips(each, goal)) for each in made])
        report[name] = torch.tensor(rows).mean(0).tolist()
    return report


@torch.no_grad()
def main() -> None:
    arguments = judging.parser(__doc__ or "").parse_args()
    torch.set_num_threads(arguments.threads)
    name = arguments.model or DEFAULT
    model, face_net = wplus.load(name), FaceNet()
    model.lower_precision(torch.bfloat16)
    report: dict[str, dict[str, list[float]]] = {"exact edits, LPIPS": exact(model)}
    edits, directions = Edits(model), shipped(model.generator)
    sheet: list[Image.Image] = []
    rows: dict[str, list[list[float]]] = {edit: [] for edit in AMOUNTS}
    for _, photograph in judging.photographs(arguments.data, arguments.first, arguments.limit):
        image = images.to_tensor(photograph)
        codes, person = model.encode(image), face_net.embed(image)
        start = edits.both(image, codes, codes)
        shown = [[photograph, images.to_picture(each)] for each in start]
        for edit, amount in AMOUNTS.items():
            made = edits.both(image, codes, codes + amount * directions[edit].vector)
            change = [float((a - b).square().mean().sqrt()) for a, b in zip(made, start)]
            kept = [float(face_net.embed(each)[0] @ person[0]) for each in made]
            rows[edit].append([*kept, change[1] / change[0]])
            for row, each in zip(shown, made):
                row.append(images.to_picture(each))
        if len(sheet) < 2 * SHOWN:
            labels = ["photograph", "", *AMOUNTS]
            sheet += [images.side_by_side(row, labels) for row in shown]
    report["photographs: identity of W+ alone, corrected; change"] = {
        edit: torch.tensor(values).nanmean(0).tolist() for edit, values in rows.items()
    }
    for kind, figures in report.items():
        print(kind)
        for label, values in figures.items():
            print(f"  {label:12}", *(f"{value:.3f}" for value in values))
    judging.finish(arguments, "correction", report, sheet, {"model": name})


if __name__ == "__main__":
    main()
