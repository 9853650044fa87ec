"""The walk: every set, batch after batch, every way, every metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wplus.errors import ConfigError, ImageError
from wplus.evaluate.data import Batch, DataSet
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance
from wplus.evaluate.metrics import Judge, Target
from wplus.evaluate.results import Failure, Report, Result
from wplus.evaluate.sheets import Cell, Row, Sheet
from wplus.evaluate.ways import Outcome, Way


def evaluate(
    data: Sequence[DataSet],
    ways: Sequence[Way],
    judge: Judge,
    *,
    batch: int = 8,
    seed: int = 0,
    device: torch.device | str = "cpu",
    settings: Mapping[str, Any] | None = None,
    sheets: Mapping[str, Sequence[Sheet]] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Reconstruct every image of every set in every way, and score it.

    An image that cannot be read is named among the failures and the others go on. Equal arguments
    give equal reports, but for the seconds.

    Args:
        data: the sets, of different names.
        ways: how to reconstruct.
        judge: the metrics; its nets are on `device`.
        batch: images at once. The last batch has what is left.
        seed: of the bootstrap.
        device: where LPIPS is computed.
        settings: to be kept in the report.
        sheets: pictures to be collected, by name of the set.
        progress: called with a set's name, images done, and images in the set.

    Raises:
        ConfigError: no set, no way, two of one name, or a batch below 1.
    """
    for what, names in (("set", [one.name for one in data]), ("way", [way.name for way in ways])):
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"evaluation needs {what}s of different names, not {names}")
    if batch < 1:
        raise ConfigError(f"a batch has at least 1 image, not {batch}")
    report = Report(settings or {}, [], [], judge.face.name if judge.face else "")
    warm: set[str] = set()
    for one in data:
        tallies = [_Tally(one.name, way.name, judge) for way in ways]
        for group in one.batches(batch, report.failures):
            target = judge.target(group.targets.to(device))
            outputs = []
            for way, tally in zip(ways, tallies):
                if way.name not in warm:
                    way.warm_up(group)
                    warm.add(way.name)
                outcome = way.run(group)
                tally.take(group.names, target, outcome, report.failures)
                outputs.append(outcome.images)
            _show((sheets or {}).get(one.name, ()), group, tallies, outputs)
            if progress is not None:
                progress(one.name, len(tallies[0].names), len(one))
        if not tallies[0].names:
            reason = next(f.reason for f in report.failures if f.data == one.name)
            raise ConfigError(f"{one.name}: none of {len(one)} pictures can be used ({reason})")
        report.results.extend(tally.result(batch, seed) for tally in tallies)
        report.notes.extend(_notes(one, report.results[-1]))
    return report


class _Tally:
    """Scores of one way on one set, as they come."""

    def __init__(self, data: str, way: str, judge: Judge) -> None:
        self.data, self.way, self.judge = data, way, judge
        self.names: list[str] = []
        self.values: dict[str, list[float]] = {name: [] for name in judge.metrics}
        self.seconds: list[float] = []
        dimension = 0 if judge.inception is None else judge.inception.dimension
        self.wanted, self.found = FeatureStatistics(dimension), FeatureStatistics(dimension)

    def take(
        self, names: list[str], target: Target, outcome: Outcome, failures: list[Failure]
    ) -> None:
        """Score a batch; results that are no pictures count as images, but have no values."""
        good = []
        for index, image in enumerate(outcome.images):
            if isinstance(image, Tensor):
                good.append(index)
            else:
                reason = str(image)
                failures.append(Failure(self.data, names[index], "broken result", reason, self.way))
        rows = {name: np.full(len(names), np.nan) for name in self.values}
        if good:
            pictures = [image for image in outcome.images if isinstance(image, Tensor)]
            target = target if len(good) == len(names) else target.of(good)
            scores = self.judge.compare(torch.cat(pictures).to(target.images), target)
            for name, row in rows.items():
                row[good] = scores.values[name].numpy()
            if target.inception is not None and scores.inception is not None:
                self.wanted.update(target.inception)
                self.found.update(scores.inception)
        for index in good:
            if np.isnan(rows.get("identity", [0.0] * len(names))[index]):
                reason = "the face net makes nothing of the picture or of its target"
                failures.append(
                    Failure(self.data, names[index], "not recognized", reason, self.way)
                )
        self.names += names
        for name, row in rows.items():
            self.values[name] += row.tolist()
        if outcome.seconds is not None:
            self.seconds += [outcome.seconds / len(names)] * len(names)

    def result(self, batch: int, seed: int) -> Result:
        """Everything so far."""
        enough = self.found.count >= 2  # nothing is counted where FID was not asked for
        return Result(
            self.data,
            self.way,
            self.names,
            {name: np.array(column) for name, column in self.values.items()},
            np.array(self.seconds) if self.seconds else None,
            batch,
            frechet_distance(self.wanted, self.found) if enough else None,
            self.found.count,
            seed,
        )


def _notes(data: DataSet, result: Result) -> list[str]:
    notes = []
    if data.cut:
        notes.append(
            f"{data.name}: {data.cut} not square, so cut to the middle square, as wplus invert"
            " --no-align cuts them (training stretches them, as published); are they aligned?"
        )
    if 0 < result.fid_images < 2:
        notes.append(f"{data.name}: no FID, which needs at least 2 pictures")
    return notes


def _show(
    sheets: Sequence[Sheet],
    group: Batch,
    tallies: Sequence[_Tally],
    outputs: Sequence[Sequence[Tensor | ImageError]],
) -> None:
    """Offer the images of a batch to the sheets."""
    first = len(tallies[0].names) - len(group.names)
    for i, name in enumerate(group.names):
        cells = [
            Cell(
                tally.way,
                image if isinstance(image := column[i], Tensor) else None,
                {metric: values[first + i] for metric, values in tally.values.items()},
            )
            for tally, column in zip(tallies, outputs)
        ]
        for sheet in sheets:
            sheet.offer(Row(name, group.targets[i : i + 1], cells))
