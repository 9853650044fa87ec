"""What the judges of faces made of drawings and of label maps share.

Many faces answer to one drawing, so beside the distance to the photograph that was drawn there are
two figures of sets: FID, of all first answers to all photographs, and diversity, the mean LPIPS
between the answers to one input.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

import judging
import torch
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.evaluate import Measure, load_scorer
from wplus.evaluate.metrics import Statistics
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference.options import Options
from wplus.inference.run import Inference
from wplus.psp import PSP
from wplus.tasks import Task

ROWS = 24  # of the sheet, at most


def parser(description: str) -> argparse.ArgumentParser:
    found = judging.parser(description)
    found.add_argument("--outputs", type=int, default=4, help="answers to each input")
    found.add_argument("--layers", help="styles that are drawn anew; without it, the task's")
    found.add_argument("--stock", type=int, help="look for the nearest among so many; all without")
    return found


class Scores(judging.Scores):
    """Values as `judging.Scores` has them, FID of each way, and what several answers share."""

    def __init__(self) -> None:
        super().__init__()
        self.scorer = load_scorer(without=("lpips_vgg16",))
        self.lpips: Measure = self.scorer.measures["lpips_alexnet"]
        self.fid = self.scorer.measures["fid"]
        self.photographs = self._statistics()
        self.features: dict[str, Statistics] = {}

    def _statistics(self) -> Statistics:
        assert self.fid.statistics is not None
        return self.fid.statistics()

    def look_at(self, original: Tensor) -> None:
        """Make a photograph (1, 3, 256, 256) the one that images are scored against."""
        self.target = self.scorer.features(original)
        self.photographs.update(self.target["fid"])

    def add_all(self, way: str, pictures: Sequence[Tensor], **more: float) -> None:
        """Score several answers as one: the mean of their values, the first one for FID."""
        rows: list[judging.Values] = []
        for number, picture in enumerate(pictures):
            features = self.scorer.features(picture)
            found = self.scorer.compare(features, self.target)
            rows.append({name: float(value) for name, value in found.items()})
            if not number:
                self.features.setdefault(way, self._statistics()).update(features["fid"])
        means = {name: mean([row[name] for row in rows]) for name in rows[0]}
        self.values.setdefault(way, []).append({**means, **more})

    def report(self) -> dict[str, dict[str, Any]]:
        """As before, with FID, which has no interval."""
        report = super().report()
        for way, features in self.features.items():
            count = features.count
            if count > 1 and way != "original":
                value = self.fid.score(self.photographs, features)
                report[way]["fid"] = {"mean": value, "low": None, "high": None, "count": count}
        return report


def mean(values: Sequence[float]) -> float:
    """Of those that are there; NaN if none is."""
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else math.nan


def diversity(pictures: Sequence[Tensor], lpips: Measure) -> float:
    """Mean LPIPS of all pairs of pictures (1, 3, 256, 256); NaN for fewer than two."""
    features = [lpips.features(picture) for picture in pictures]
    pairs = itertools.combinations(features, 2)
    return mean([float(lpips.score(one, other)) for one, other in pairs])


def rounded(made: Tensor) -> Tensor:
    """(1, 3, 256, 256), as its file of 8 bits would be looked at."""
    return images.resize(images.to_tensor(images.to_picture(made)), SIZE)


def answered(
    source: Image.Image, model: PSP, task: Task, arguments: argparse.Namespace, number: int
) -> tuple[list[Tensor], float]:
    """The answers to one input as the command makes them, and the seconds that the first one took.

    Args:
        source: the drawing or label map.
        model, task: see `Inference`.
        arguments: outputs and layers.
        number: of the input, the seed of its answers: one seed for all would give all the same
            colors, and FID of the answers would be that of few colors.
    """
    options = Options(layers=arguments.layers, outputs=arguments.outputs, seed=number)
    inference, once = Inference(model, task, options), Inference(model, task)
    samples = inference.read(source)
    started = time.perf_counter()
    once.generate(samples)
    seconds = time.perf_counter() - started
    [outputs] = inference.generate(samples)
    return [rounded(output.pixels) for output in outputs], seconds


@torch.no_grad()
def reconstructed(model: PSP, original: Tensor) -> Tensor:
    """The photograph by an inversion encoder: what faces of this generator can score."""
    return rounded(model.decode(model.encode(original))[0])


Way = tuple[str, list[Tensor], float, list[Tensor]]
"""Its name, the pictures that are scored, the seconds they took, and those compared in pairs."""


def ways(
    original: Tensor,
    inversion: PSP,
    answers: list[Tensor],
    seconds: float,
    near: list[Tensor],
    looking: float,
    other: Tensor,
) -> list[Way]:
    """What is scored against one input, the best that can be reached first and the floor last.

    Args:
        original: (1, 3, 256, 256), the photograph that the input was made of.
        inversion: see `reconstructed`.
        answers: of the model, and the seconds of the first.
        near: the training photographs nearest to the input, and the seconds it took to find them.
        other: any other photograph.
    """
    found: list[Way] = [
        ("original", [original], math.nan, []),
        ("reconstruction", [reconstructed(inversion, original)], math.nan, []),
        ("one pass", answers[:1], seconds, []),
        ("further answers", answers[1:], math.nan, answers),
        ("nearest", near[:1], looking, []),
        ("next nearest", near[1:], math.nan, near),
        ("other", [other], math.nan, []),
    ]
    return [way for way in found if way[1]]
