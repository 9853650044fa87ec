"""How well faces are turned to the front: yaw and identity by bins of the photograph's yaw.

python benchmarks/judge_frontalization.py --data photos256 --first 00700 --limit 20

At most `--limit` photographs of every bin. Beside the model: the photograph itself, what `faces`
makes of it, and what turns a face without having learned to: photograph and mirror image averaged
(warped so that their eyes, noses and mouths meet), the average of the codes that `faces` gives the
two, and the code moved along the direction `yaw` by the yaw of its picture. Yaw is measured from
the five points of the face detector (`pose.py`), and its error on these very
photographs is printed too; a picture that is its own mirror image has no yaw, whether or not it
shows a face. Identity is the cosine of EdgeFace-S to the photograph. While no model for the task is
shipped or named, its row is left out.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import judging
import numpy as np
import torch
import yaw
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images, models
from wplus.editing import apply, shipped
from wplus.editing.attributes import read_attributes
from wplus.errors import WeightsError
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference.run import open_inference
from wplus.psp import PSP
from wplus.tasks import TASKS

METRICS = ("yaw", "identity", "unseen", "seconds")
BINS = (0, 15, 30, 45, 90)
MIRRORED = [1, 0, 2, 4, 3]  # the points of a mirrored face
Way = Callable[[Tensor], Tensor]
"""From a photograph (1, 3, 256, 256) in [-1, 1] to the output, of the same kind."""


def mirror_average(picture: Image.Image) -> Image.Image:
    """Photograph and mirror image, both warped so that their five points meet halfway."""
    points = yaw.points_of(picture)
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if points is None:
        return Image.blend(picture, mirrored, 0.5)
    other = (points * (-1, 1) + (SIZE - 1, 0))[MIRRORED]
    middle = (points + other) / 2
    return Image.blend(warped(picture, points, middle), warped(mirrored, other, middle), 0.5)


def warped(
    picture: Image.Image, points: NDArray[np.float64], wanted: NDArray[np.float64]
) -> Image.Image:
    """The picture under the affine map that brings its points nearest to the wanted ones."""
    # Pillow asks where each pixel of the result comes from, and counts from the pixels' corners.
    known = np.concatenate([wanted + 0.5, np.ones((len(wanted), 1))], axis=1)
    rows = np.linalg.lstsq(known, points + 0.5, rcond=None)[0].T
    places = tuple(rows.flatten().tolist())
    return picture.transform(picture.size, Image.Transform.AFFINE, places, Image.Resampling.BICUBIC)


def ways_of(faces: PSP, frontal: PSP | None) -> dict[str, Way]:
    """Every way to turn a face, by name."""
    turn = shipped(faces.generator)["yaw"]

    def drawn(model: PSP, code: Tensor) -> Tensor:
        return images.resize(model.decode(code), SIZE).clamp(-1, 1)

    def moved(seen: Tensor) -> Tensor:
        code = faces.encode(seen)
        found = yaw.measure(images.to_picture(drawn(faces, code)))
        amount = 0.0 if math.isnan(found) else -found
        return drawn(faces, apply(code, [(turn, amount)]))

    def averaged(seen: Tensor) -> Tensor:
        return drawn(faces, faces.encode(torch.cat([seen, seen.flip(3)])).mean(0, keepdim=True))

    ways: dict[str, Way] = {
        "photograph": lambda seen: seen,
        "faces": lambda seen: drawn(faces, faces.encode(seen)),
        "mirror, pixels": lambda seen: images.to_tensor(mirror_average(images.to_picture(seen))),
        "mirror, codes": averaged,
        "direction yaw": moved,
    }
    if frontal is not None:
        ways["frontalization"] = lambda seen: drawn(frontal, frontal.encode(seen))
    return ways


def frontal_model(name: str | None) -> tuple[PSP | None, str]:
    """The model that turns faces, or None where none is shipped and none was named."""
    try:
        inference = open_inference(TASKS["frontalization"], name)
        return inference.model, inference.name
    except WeightsError as error:
        if name is not None:
            raise
        print(f"without the model's row: {error}")
        return None, "none"


def binned(arguments: argparse.Namespace) -> dict[str, list[tuple[str, Image.Image, float]]]:
    """Name, picture and true yaw of the first photographs of every bin."""
    found = read_attributes(arguments.attributes, ["yaw"])
    true = dict(zip(found.ids, found.values[:, 0].tolist()))
    bins: dict[str, list[tuple[str, Image.Image, float]]] = {
        f"{low}-{high}" if high < BINS[-1] else f"{low} and more": []
        for low, high in itertools.pairwise(BINS)
    }
    everything = len(list(arguments.data.iterdir()))
    lists = list(bins.values())
    for stem, picture in judging.photographs(arguments.data, arguments.first, everything):
        angle = true.get(stem, math.nan)
        if not math.isnan(angle):
            chosen = lists[int(np.digitize(abs(angle), BINS[1:-1]))]
            if len(chosen) < arguments.limit:
                chosen.append((stem, picture, angle))
    return {name: chosen for name, chosen in bins.items() if chosen}


def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores by bin and way; writes frontalization.json and its sheet."""
    faces = models.load("faces")
    frontal, name = frontal_model(arguments.model)
    ways = ways_of(faces, frontal)
    reports: dict[str, Any] = {}
    sheet, errors = [], []
    for which, chosen in binned(arguments).items():
        scores = judging.Scores()
        for stem, picture, angle in chosen:
            original = images.to_tensor(picture)
            row, labels = [], []
            for way, turned in ways.items():
                started = time.perf_counter()
                with torch.no_grad():
                    made = turned(original)
                seconds = math.nan if way == "photograph" else time.perf_counter() - started
                shown = images.to_picture(made)
                found = yaw.measure(shown)
                more = {"yaw": abs(found), "unseen": float(math.isnan(found)), "seconds": seconds}
                scores.add(way, made, original, **more)
                row.append(shown)
                labels.append(f"{way} {found:+.0f}°")
                if way == "photograph":
                    errors.append(found - angle)
            labels[0] = f"{stem} {labels[0]}, true {angle:+.0f}°"
            sheet.append(images.side_by_side(row, labels))
            print(f"{which} {stem} done", flush=True)
        reports[which] = scores.report()
        print(f"\n|yaw| {which}°, {len(chosen)} photographs\n")
        judging.show(reports[which], METRICS)
    error = float(np.nanmean(np.abs(errors)))
    print(f"\nthe measured yaw of the {len(errors)} photographs is off by {error:.1f}° on average")
    extra = {"model": name, "yaw_error_degrees": error}
    judging.finish(arguments, "frontalization", reports, sheet[::-1], extra)  # most turned first
    return reports


def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--attributes", type=Path, help="CSV; without it, beside the folder")
    arguments = parser.parse_args()
    arguments.attributes = arguments.attributes or arguments.data.parent / "attributes.csv"
    torch.set_num_threads(arguments.threads)
    judge(arguments)


if __name__ == "__main__":
    main()
