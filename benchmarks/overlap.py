"""How well two label maps agree: intersection over union, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wplus.errors import ConfigError
from wplus.faces.labels import LABELS


@dataclass(frozen=True, eq=False)
class Overlap:
    """Pixels of each class in two maps, or in many pairs of maps added up.

    Attributes:
        both: (C,) int64, pixels that have the class in both maps.
        either: (C,) int64, pixels that have it in at least one.
    """

    both: Tensor
    either: Tensor

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.either + other.either)

    @property
    def iou(self) -> Tensor:
        """(C,) float64: intersection over union; NaN for a class that no map has."""
        return self.both.double() / self.either.double()

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that at least one map has.

        Of one pair of maps it is about a picture. Of the sum of many pairs it is what is published
        for segmentation, where a rare class counts once and not once for each picture.
        """
        return float(self.iou.nanmean())

    @property
    def same(self) -> float:
        """Share of the pixels whose class is the same in both maps."""
        # A pixel whose classes differ is in two unions, one whose classes agree in a single one.
        both, either = int(self.both.sum()), int(self.either.sum())
        return 2 * both / (both + either) if either else float("nan")


def overlap(found: Tensor, expected: Tensor, classes: int = len(LABELS)) -> Overlap:
    """Compare label maps of one shape, whatever it is, with labels 0 to `classes` − 1.

    Raises:
        ConfigError: maps of different shapes or of floats, or a label out of range.
    """
    if found.shape != expected.shape:
        raise ConfigError(
            f"label maps of {tuple(found.shape)} and {tuple(expected.shape)} cannot be compared"
        )
    counts = [_counted(each, classes) for each in (found, expected)]
    both = _counted(found[found == expected], classes)
    return Overlap(both, counts[0] + counts[1] - both)


def _counted(labels: Tensor, classes: int) -> Tensor:
    """(classes,) int64 on the CPU: pixels of each class."""
    if labels.is_floating_point():
        raise ConfigError(f"label maps are integers, not {labels.dtype}")
    flat = labels.flatten().long().cpu()
    if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < classes:
        raise ConfigError(
            f"labels {int(flat.min())} to {int(flat.max())}: with {classes} classes they are 0 to"
            f" {classes - 1}"
        )
    return torch.bincount(flat, minlength=classes)
