"""The evaluation loop: every dataset, batch after batch, every method, every metric."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wplus.errors import ConfigError, ImageError
from wplus.evaluate.datasets import Dataset, Example, as_saved
from wplus.evaluate.methods import Method
from wplus.evaluate.metrics import METRICS, Scorer
from wplus.evaluate.results import Failure, MethodScores, Report, SetValue
from wplus.evaluate.sheets import Cell, Row, Sheet
from wplus.progress import ProgressFor, silent

FILES = "files"  # stands for a method where the outputs exist already


@torch.no_grad()
def evaluate(
    datasets: Sequence[Dataset],
    methods: Sequence[Method],
    scorer: Scorer,
    *,
    batch: int = 8,
    seed: int = 0,
    sheets: Mapping[str, Sequence[Sheet]] | None = None,
    progress: ProgressFor = lambda name: silent,
) -> Report:
    """Reconstruct every image of every dataset by every method, and score it.

    An image that cannot be read becomes a failure; the others are scored. Equal arguments give
    equal reports, but for the seconds.

    Args:
        datasets: of different names.
        methods: of different names; the later ones are compared with the first. Datasets of pairs
            come with their outputs and use none.
        scorer: the metrics.
        batch: images per batch; the last one may be smaller.
        seed: of the bootstrap.
        sheets: collect rows of images, by name of the dataset.
        progress: of each dataset, in images.

    Raises:
        ConfigError: no dataset, no method, two of one name, a batch below 1, or a dataset without
            a usable image.
    """
    _check_names("dataset", [dataset.name for dataset in datasets])
    if not all(dataset.paired for dataset in datasets):
        _check_names("method", [method.name for method in methods])
    if batch < 1:
        raise ConfigError(f"a batch has at least 1 image, not {batch}")
    networks = {name: measure.network for name, measure in scorer.measures.items()}
    report = Report([], [], networks=networks)
    warm: set[str] = set()
    for dataset in datasets:
        advance = progress(dataset.name)
        used = [None] if dataset.paired else methods
        tallies = [
            _Tally(dataset.name, method.name if method else FILES, scorer) for method in used
        ]
        for group in dataset.batches(batch, report.failures):
            targets = scorer.features(_targets(group))
            made = [_reconstruct(method, group, warm) for method in used]
            for tally, one in zip(tallies, made):
                tally.add(group, targets, one, report.failures)
            _offer((sheets or {}).get(dataset.name, ()), group, tallies, made)
            advance(len(tallies[0].names), len(dataset))
        if not tallies[0].names:
            reason = next(f.reason for f in report.failures if f.data == dataset.name)
            raise ConfigError(
                f"{dataset.name}: none of {len(dataset)} images can be used ({reason})"
            )
        report.results.extend(tally.scores(batch, seed) for tally in tallies)
        report.notes.extend(_notes(dataset, report.results[-1]))
    return report


def _check_names(what: str, names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"evaluation needs {what}s of different names, not {list(names)}")


@dataclass(frozen=True, eq=False)
class _Made:
    """Reconstructions of a batch, (1, 3, 256, 256) or an error each; seconds for all."""

    images: Sequence[Tensor | ImageError]
    seconds: float | None = None


def _targets(group: Sequence[Example]) -> Tensor:
    return torch.cat([example.target for example in group])


def _reconstruct(method: Method | None, group: Sequence[Example], warm: set[str]) -> _Made:
    """Run a method, after a warm-up the first time; or take the outputs that exist."""
    if method is None:
        return _Made([example.output for example in group if example.output is not None])
    targets = _targets(group)
    if method.name not in warm:
        (method.warm_up or method.run)(targets)
        warm.add(method.name)
    started = time.perf_counter()  # nothing is pending: scores were moved to the CPU
    outputs = method.run(targets)
    _synchronize(outputs.device)
    seconds = time.perf_counter() - started
    images: list[Tensor | ImageError] = []
    for output in outputs:
        try:
            images.append(as_saved(output))
        except ImageError as error:
            images.append(error)
    return _Made(images, seconds)


def _synchronize(device: torch.device) -> None:
    """Wait until the device has finished, so that the whole work is timed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class _Tally:
    """Accumulates the scores of one method on one dataset."""

    def __init__(self, data: str, method: str, scorer: Scorer) -> None:
        self.data, self.method, self.scorer = data, method, scorer
        self.names: list[str] = []
        self.values: dict[str, list[float]] = {name: [] for name in scorer.names()}
        self.seconds: list[float] = []
        makers = {name: measure.statistics for name, measure in scorer.measures.items()}
        self.sets = {name: (make(), make()) for name, make in makers.items() if make is not None}

    def add(
        self,
        group: Sequence[Example],
        targets: Mapping[str, Any],
        made: _Made,
        failures: list[Failure],
    ) -> None:
        """Score a batch; a broken result counts as an image, but has no values."""

        def fail(index: int, kind: str, reason: str) -> None:
            failures.append(Failure(self.data, group[index].name, kind, reason, self.method))

        columns = {name: np.full(len(group), np.nan) for name in self.values}
        good = {i: image for i, image in enumerate(made.images) if isinstance(image, Tensor)}
        for index, image in enumerate(made.images):
            if index not in good:
                fail(index, "broken result", str(image))
        if good:
            rows = list(good)
            outputs = self.scorer.features(torch.cat(list(good.values())))
            if len(good) < len(group):
                targets = self.scorer.features(_targets([group[i] for i in rows]))
            for name, values in self.scorer.compare(outputs, targets).items():
                columns[name][rows] = values.numpy()
                for index in (i for i in rows if np.isnan(columns[name][i])):
                    fail(index, f"no {name}", METRICS[name].undefined)
            for name, (of_outputs, of_targets) in self.sets.items():
                of_outputs.update(outputs[name])
                of_targets.update(targets[name])
        self.names += [example.name for example in group]
        for name, column in columns.items():
            self.values[name] += column.tolist()
        if made.seconds is not None:
            self.seconds += [made.seconds / len(group)] * len(group)

    def scores(self, batch: int, seed: int) -> MethodScores:
        """The scores so far."""
        sets = {}
        for name, (outputs, targets) in self.sets.items():
            enough = outputs.count >= METRICS[name].least
            value = self.scorer.measures[name].score(outputs, targets) if enough else None
            sets[name] = SetValue(value, outputs.count)
        values = {name: np.array(column) for name, column in self.values.items()}
        seconds = np.array(self.seconds) if self.seconds else None
        return MethodScores(self.data, self.method, self.names, values, sets, seconds, batch, seed)


def _notes(dataset: Dataset, scores: MethodScores) -> list[str]:
    notes = []
    if dataset.cut:
        notes.append(
            f"{dataset.name}: {dataset.cut} images are not square; their middle square is scored,"
            " as wplus invert --no-align takes it (training stretches them, as published)."
            " Are they aligned?"
        )
    for name, of_set in scores.sets.items():
        if of_set.images and of_set.value is None:
            row = METRICS[name]
            notes.append(f"{dataset.name}: no {row.title}, which needs {row.least} images")
    return notes


def _offer(
    sheets: Sequence[Sheet],
    group: Sequence[Example],
    tallies: Sequence[_Tally],
    made: Sequence[_Made],
) -> None:
    """Offer the images of a batch, with their scores, to the sheets."""
    first = len(tallies[0].names) - len(group)
    for i, example in enumerate(group):
        cells = []
        for tally, one in zip(tallies, made):
            image = one.images[i]
            scores = {metric: values[first + i] for metric, values in tally.values.items()}
            cells.append(Cell(tally.method, image if isinstance(image, Tensor) else None, scores))
        for sheet in sheets:
            sheet.offer(Row(example.name, example.target, cells))
