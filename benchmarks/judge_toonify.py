"""How good drawings of photographs are: likeness to the person, and nearness to other drawings.

python benchmarks/judge_toonify.py --data photos256 --first 00700 --limit 50 --drawings drawings256

Identity is the cosine of EdgeFace-S to the photograph: a net of photographs, so it is lower for any
drawing, and means something between rows only. FID is to a folder of drawings that the generator of
drawings was not made from, if one is named. Both depend on how many pictures there are (FID is far
too large below 2,048, for all rows alike). Plain alternatives: the photograph itself (identity 1,
and what FID to drawings is when nothing is drawn), what `faces` makes of it, and a filter that
smooths and posterizes. While no model for the task is shipped or named, its row is left out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import judging
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from wplus import images, models
from wplus.errors import WeightsError
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance
from wplus.evaluate.networks import InceptionFeatures
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference.run import open_inference
from wplus.psp import PSP
from wplus.tasks import TASKS

METRICS = ("identity", "lpips_alexnet", "seconds")
Way = Callable[[Tensor], Tensor]
"""From a photograph (1, 3, 256, 256) in [-1, 1] to a drawing, of the same kind."""


def posterized(picture: Image.Image) -> Image.Image:
    """A photograph in few flat colors, as image editors draw."""
    smooth = picture
    for _ in range(3):
        smooth = smooth.filter(ImageFilter.MedianFilter(5))
    return ImageOps.posterize(smooth, 3)


def drawn(model: PSP, seen: Tensor) -> Tensor:
    return images.resize(model.decode(model.encode(seen)), SIZE).clamp(-1, 1)


def toon_model(name: str | None) -> tuple[PSP | None, str]:
    """The model that draws, or None where none is shipped and none was named."""
    try:
        inference = open_inference(TASKS["toonify"], name)
        return inference.model, inference.name
    except WeightsError as error:
        if name is not None:
            raise
        print(f"without the model's row: {error}")
        return None, "none"


def statistics_of(folder: Path, limit: int, inception: InceptionFeatures) -> FeatureStatistics:
    """Features of the first drawings of a folder."""
    found = FeatureStatistics(inception.dimension)
    for _, picture in judging.photographs(folder, "", limit):
        found.update(inception(images.to_tensor(picture)))
    return found


def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores by way, FID among them; writes toonify.json and its sheet."""
    faces = models.load("faces")
    toon, name = toon_model(arguments.model)
    ways: dict[str, Way] = {
        "photograph": lambda seen: seen,
        "posterized": lambda seen: images.to_tensor(posterized(images.to_picture(seen))),
        "faces": lambda seen: drawn(faces, seen),
    }
    if toon is not None:
        model = toon  # for the closure: it is no None any more
        ways["toonify"] = lambda seen: drawn(model, seen)
    inception = InceptionFeatures() if arguments.drawings else None
    features = {way: FeatureStatistics(InceptionFeatures.dimension) for way in ways}
    scores, sheet = judging.Scores(), []
    pictures = judging.photographs(arguments.data, arguments.first, arguments.limit)
    for stem, picture in pictures:
        original = images.to_tensor(picture)
        row = []
        for way, make in ways.items():
            started = time.perf_counter()
            with torch.no_grad():
                made = make(original)
            seconds = math.nan if way == "photograph" else time.perf_counter() - started
            scores.add(way, made, original, seconds=seconds)
            row.append(images.to_picture(made))
            if inception is not None:
                features[way].update(inception(images.to_tensor(row[-1])))
        sheet.append(images.side_by_side(row, [stem, *list(ways)[1:]]))
        print(f"{stem} done", flush=True)
    report = scores.report()
    metrics, extra = list(METRICS), {"model": name}
    if inception is not None:
        real = statistics_of(arguments.drawings, arguments.most, inception)
        for way, found in features.items():
            value = frechet_distance(found, real)
            report[way]["fid"] = {"mean": value, "low": None, "high": None, "count": found.count}
        metrics.insert(1, "fid")
        extra["drawings"] = str(real.count)
        print(f"\nFID: {len(sheet)} pictures a row, {real.count} drawings")
    print(f"\n{len(sheet)} photographs\n")
    judging.show(report, metrics)
    reports = {"photographs": report}
    judging.finish(arguments, "toonify", reports, sheet, extra)
    return reports


def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--drawings", type=Path, help="folder of drawings, aligned alike, for FID")
    parser.add_argument("--most", type=int, default=5000, help="at most so many of them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    judge(arguments)


if __name__ == "__main__":
    main()
