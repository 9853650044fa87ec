"""How good inpainting is on photographs with holes: beside the originals, and `cv2.inpaint`.

python benchmarks/judge_inpainting.py --data photos256 --first 00700 --limit 20

Two holes for every photograph, the same in every run: a box over an eye or the mouth, and strokes
of a brush as inpainting is trained on. Scores are of the filled photographs, which equal the
originals outside of the holes; `hole_mse` is of the hole alone, and `hole_lpips` of a square around
it. OpenCV is no dependency (`pip install opencv-python-headless`); without it its rows are left
out.
"""

from __future__ import annotations

import math
import time
from typing import Any

import judging
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference import inpainting
from wplus.inference.options import Options
from wplus.inference.run import Inference, open_inference
from wplus.losses import LPIPS, LossNetworks
from wplus.sources.masks import draw_mask
from wplus.tasks import TASKS

METRICS = ("lpips_alexnet", "hole_lpips", "hole_mse", "identity", "seconds")
Hole = NDArray[np.bool_]
EYES, MOUTH = ((70, 100), (130, 100)), (98, 165)  # left and top, in an FFHQ crop of 256²
COVERAGE = (0.1, 0.25)  # share of the picture that strokes remove
AROUND = 96  # side of the square in which a hole is looked at, at least


def box(rng: np.random.Generator) -> Hole:
    left, top = (*EYES, MOUTH)[rng.integers(3)]
    left, top = left + int(rng.integers(-6, 7)), top + int(rng.integers(-6, 7))
    hole = np.zeros((SIZE, SIZE), np.bool_)
    hole[top : top + 42, left : left + 60] = True
    return hole


def strokes(rng: np.random.Generator) -> Hole:
    return draw_mask(SIZE, rng, "strokes", COVERAGE) > 0


def around(hole: Hole) -> tuple[slice, slice]:
    """A square of the picture with the hole in it."""
    rows, columns = np.nonzero(hole)
    side = max(AROUND, int(np.ptp(rows)) + 33, int(np.ptp(columns)) + 33)
    side = min(side, SIZE)
    top, left = (
        int(np.clip((places.min() + places.max()) // 2 - side // 2, 0, SIZE - side))
        for places in (rows, columns)
    )
    return slice(top, top + side), slice(left, left + side)


def in_hole(made: Tensor, original: Tensor, hole: Hole, lpips: LPIPS) -> dict[str, float]:
    rows, columns = around(hole)
    near = float(lpips(made[..., rows, columns], original[..., rows, columns]))
    missing = torch.from_numpy(hole)
    error = (made - original)[0, :, missing].square().mean()
    return {"hole_lpips": near, "hole_mse": float(error)}


def opencv() -> Any:
    try:
        import cv2
    except ImportError:
        print("cv2 is not installed: no rows of cv2.inpaint")
        return None
    return cv2


def by_opencv(cv2: Any, picture: Image.Image, hole: Hole) -> Image.Image:
    levels, mask = np.asarray(picture).copy(), hole.astype(np.uint8)
    return Image.fromarray(cv2.inpaint(levels, mask, 3, cv2.INPAINT_TELEA))


def main() -> None:
    arguments = judging.parser(__doc__ or "").parse_args()
    torch.set_num_threads(arguments.threads)
    task = TASKS["inpainting"]
    opened = open_inference(task, arguments.model, options=Options(refine=arguments.refine))
    model, name, steps = opened.model, opened.name, opened.steps
    networks, cv2 = LossNetworks(), opencv()
    reports, sheet = {}, []
    for kind, draw in (("box", box), ("strokes", strokes)):
        scores = judging.Scores()
        pictures = judging.photographs(arguments.data, arguments.first, arguments.limit)
        for index, (stem, picture) in enumerate(pictures):
            hole = draw(np.random.default_rng(index))
            original = images.to_tensor(picture)
            ways: dict[str, Image.Image] = {"membrane": inpainting.fill_smoothly(picture, hole)}
            seconds = {"membrane": math.nan, "cv2.inpaint": math.nan}
            if cv2 is not None:
                ways["cv2.inpaint"] = by_opencv(cv2, picture, hole)
            counts = {"one pass": 0} if model.encoder is not None else {}
            if steps:
                counts[f"refined {steps}"] = steps
            for way, count in counts.items():
                options = Options(refine=count, align=False, mask=Image.fromarray(hole))
                inference = Inference(model, task, options)
                inference.networks = networks
                samples = inference.read(picture)
                started = time.perf_counter()
                [[output]] = inference.generate(samples)
                seconds[way] = time.perf_counter() - started
                ways[way] = output.image
            for way, filled in ways.items():
                made = images.to_tensor(filled)
                near = in_hole(made, original, hole, networks.lpips)
                scores.add(way, made, original, **near, seconds=seconds[way])
            row = [picture, inpainting.hatched(picture, hole), *ways.values()]
            sheet.append(images.side_by_side(row, [stem, kind, *ways]))
            print(f"{kind} {stem} done", flush=True)
        reports[kind] = scores.report()
        print(f"\n{kind}, {len(scores.values['membrane'])} photographs\n")
        judging.show(reports[kind], METRICS)
    judging.finish(arguments, "inpainting", reports, sheet, {"model": name, "steps": steps})


if __name__ == "__main__":
    main()
