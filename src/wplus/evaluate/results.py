"""Results of an evaluation: the scores of every image, means with intervals, failures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wplus.evaluate.bootstrap import Interval, intervals
from wplus.evaluate.metrics import METRICS


@dataclass(frozen=True)
class Failure:
    """An image that has no score, or not every score.

    Attributes:
        data: name of the dataset.
        name: of the image.
        kind: "unreadable" or "no face" for an image of the dataset; "broken result" where a method
            gave values that are not finite; "no identity" where only that metric has no value.
        reason: one line.
        method: that gave the result, for a broken result.
    """

    data: str
    name: str
    kind: str
    reason: str
    method: str = ""

    @property
    def line(self) -> str:
        """The reason, with the image named once."""
        if self.kind == "unreadable" and self.name in self.reason:  # it starts with the path
            return self.reason
        return f"{self.label}: {self.reason}"

    @property
    def label(self) -> str:
        """The image, and the method that failed on it."""
        return f"{self.name} ({self.method})" if self.method else self.name


@dataclass(frozen=True)
class SetValue:
    """A metric of whole sets: its value, None for too few images, and the images in either set."""

    value: float | None
    images: int


@dataclass(frozen=True, eq=False)
class MethodScores:
    """The scores of one method on one dataset.

    Attributes:
        data: name of the dataset.
        method: name of the method.
        names: of the N images.
        values: metrics of images by name, (N,) float64; NaN where undefined.
        sets: metrics of sets by name.
        seconds: per image, (N,) (images of a batch share its time); None for existing files.
        batch: images per batch.
        seed: of the bootstrap.
    """

    data: str
    method: str
    names: list[str]
    values: Mapping[str, NDArray[np.float64]]
    sets: Mapping[str, SetValue] = field(default_factory=dict)
    seconds: NDArray[np.float64] | None = None
    batch: int = 1
    seed: int = 0

    @cached_property
    def means(self) -> dict[str, Interval]:
        """Mean and interval of every metric of images; all of them from the same draws."""
        table = np.stack(list(self.values.values()), axis=1)
        return dict(zip(self.values, intervals(table, self.seed)))

    def change_from(self, other: MethodScores) -> dict[str, Interval]:
        """Mean difference to another method on the same images, with paired intervals.

        Raises:
            ValueError: the other scores are of other images.
        """
        if self.names != other.names or self.data != other.data:
            raise ValueError(f"{self.method} and {other.method} were not run on the same images")
        table = np.stack([self.values[name] - other.values[name] for name in self.values], axis=1)
        return dict(zip(self.values, intervals(table, self.seed)))

    @property
    def median_seconds(self) -> float | None:
        """Median seconds per image."""
        return None if self.seconds is None else statistics.median(self.seconds.tolist())


@dataclass(frozen=True, eq=False)
class Report:
    """An evaluation.

    Attributes:
        results: dataset by dataset, each with all its methods.
        failures: in the order in which they occurred.
        notes: remarks on the datasets.
        networks: names of the networks behind metrics, by metric.
        settings: of the run, to repeat it.
    """

    results: list[MethodScores]
    failures: list[Failure]
    notes: list[str] = field(default_factory=list)
    networks: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def title(self, metric: str) -> str:
        """Title of a metric with its network and its better direction."""
        row = METRICS[metric]
        title = row.title.format(network=self.networks.get(metric, ""))
        return f"{title} {'↓' if row.lower_is_better else '↑'}"

    def baseline(self, data: str) -> MethodScores:
        """The first method on this dataset, with which the others are compared."""
        return next(result for result in self.results if result.data == data)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, texts, lists and dictionaries; None for NaN and infinities."""
        content = {
            "settings": dict(self.settings),
            "results": [self._entry(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
            "notes": self.notes,
        }
        cleaned: dict[str, Any] = _plain(content)
        return cleaned

    def _entry(self, result: MethodScores) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "data": result.data,
            "method": result.method,
            "images": len(result.names),
            "metrics": {
                name: {**asdict(interval), "better": _better(name)}
                for name, interval in result.means.items()
            },
        }
        for name, of_set in result.sets.items():
            if of_set.value is not None:
                biased = of_set.images < METRICS[name].unbiased_from
                entry[name] = {**asdict(of_set), "biased": biased}
        if result.seconds is not None:
            entry["seconds"] = {"median": result.median_seconds, "batch": result.batch}
        first = self.baseline(result.data)
        if first is not result:
            changes = result.change_from(first)
            entry["change"] = {
                "from": first.method,
                "metrics": {name: asdict(interval) for name, interval in changes.items()},
            }
        entry["per_image"] = [
            {"name": name, **{metric: column[i] for metric, column in result.values.items()}}
            for i, name in enumerate(result.names)
        ]
        return entry


def _better(metric: str) -> str:
    return "lower" if METRICS[metric].lower_is_better else "higher"


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return str(content) if isinstance(content, Path) else content
