"""What an evaluation found out: numbers of every image, means with intervals, what failed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wplus.evaluate.bootstrap import Interval, intervals
from wplus.evaluate.frechet import UNBIASED_FROM
from wplus.evaluate.metrics import METRICS

FailureKind = Literal["unreadable", "no face", "broken result", "not recognized"]


@dataclass(frozen=True)
class Failure:
    """An image that is not scored, or not by every metric.

    Attributes:
        data: name of the set.
        name: of the image.
        kind: "unreadable" and "no face" in the set itself; "broken result" where a model gave
            numbers that are no picture; "not recognized" where only identity is missing.
        reason: one line.
        way: what made the result, where it is its fault.
    """

    data: str
    name: str
    kind: FailureKind
    reason: str
    way: str = ""

    @property
    def line(self) -> str:
        """The reason, with the image named once."""
        if (
            self.kind == "unreadable" and self.name in self.reason
        ):  # the reason starts with the file
            return self.reason
        name = f"{self.name} ({self.way})" if self.way else self.name
        return f"{name}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Result:
    """One way of reconstruction on one set.

    Attributes:
        data: name of the set.
        way: how the images were reconstructed.
        names: of the N images.
        values: by name of `METRICS`, (N,) float64; NaN where there is none.
        seconds: a picture, for each image, (N,) (images of one batch share its time); None for
            pictures that were there before.
        batch: images reconstructed at once.
        fid: None where it was not asked for, or there are too few images.
        fid_images: of either set, that FID was computed from.
        seed: of the bootstrap.
    """

    data: str
    way: str
    names: list[str]
    values: Mapping[str, NDArray[np.float64]]
    seconds: NDArray[np.float64] | None
    batch: int
    fid: float | None
    fid_images: int
    seed: int = 0

    @cached_property
    def means(self) -> dict[str, Interval]:
        """Mean and interval of every metric; all of them from the same draws."""
        table = np.stack(list(self.values.values()), axis=1)
        return dict(zip(self.values, intervals(table, self.seed)))

    def mean(self, metric: str) -> Interval:
        """Mean and interval of one metric."""
        return self.means[metric]

    def change_from(self, other: Result) -> dict[str, Interval]:
        """Mean of the differences to another way on the same images, with paired intervals.

        Raises:
            ValueError: the other result is of other images.
        """
        if self.names != other.names or self.data != other.data:
            raise ValueError(f"{self.way} and {other.way} were not run on the same images")
        common = [name for name in self.values if name in other.values]
        table = np.stack([self.values[name] - other.values[name] for name in common], axis=1)
        return dict(zip(common, intervals(table, self.seed)))

    @property
    def median_seconds(self) -> float | None:
        """Seconds a picture."""
        return None if self.seconds is None else statistics.median(self.seconds.tolist())

    @property
    def fid_is_biased(self) -> bool:
        """Whether there are fewer images than FID has features."""
        return self.fid_images < UNBIASED_FROM


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that was found out.

    Attributes:
        settings: what was run, for whoever wants to repeat it.
        results: sets one after the other, each with all its ways.
        failures: in the order in which they came.
        face_net: name of the net behind "identity", if there is one.
    """

    settings: Mapping[str, Any]
    results: list[Result]
    failures: list[Failure]
    face_net: str = ""
    notes: list[str] = field(default_factory=list)

    def first_way(self, data: str) -> Result:
        """The result that the other ways on this set are compared with."""
        return next(result for result in self.results if result.data == data)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: no NaN, no infinity."""
        content = {
            "settings": dict(self.settings),
            "results": [self._entry(result) for result in self.results],
            "failures": [asdict(failure) for failure in self.failures],
            "notes": self.notes,
        }
        cleaned: dict[str, Any] = _finite(content)
        return cleaned

    def _entry(self, result: Result) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "data": result.data,
            "way": result.way,
            "images": len(result.names),
            "metrics": {
                name: {**asdict(interval), "better": "lower" if METRICS[name].lower else "higher"}
                for name, interval in result.means.items()
            },
        }
        if result.fid is not None:
            entry["fid"] = {
                "value": result.fid,
                "images": result.fid_images,
                "biased": result.fid_is_biased,
            }
        if result.seconds is not None:
            entry["seconds"] = {"median": result.median_seconds, "batch": result.batch}
        first = self.first_way(result.data)
        if first is not result:
            changes = result.change_from(first)
            entry["change"] = {
                "from": first.way,
                "metrics": {name: asdict(interval) for name, interval in changes.items()},
            }
        entry["per_image"] = [
            {"name": name, **{metric: column[i] for metric, column in result.values.items()}}
            for i, name in enumerate(result.names)
        ]
        return entry


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if math.isfinite(content) else None
    return content
