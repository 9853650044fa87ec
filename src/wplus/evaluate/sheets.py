"""Pictures to look at: the first images of a set and its worst, beside their reconstructions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from wplus import images
from wplus.evaluate.metrics import METRICS, SIZE

_CAPTION = (("lpips_alexnet", "LPIPS"), ("mse", "MSE"), ("identity", "id"))
_COLUMNS = 2  # rows of a sheet stand in two columns, so that twenty can be looked at


@dataclass(frozen=True, eq=False)
class Cell:
    """One reconstruction: the way, (1, 3, 256, 256) or None for a broken one, and its values."""

    way: str
    image: Tensor | None
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Row:
    """One image of a set, (1, 3, 256, 256), and its reconstructions."""

    name: str
    target: Tensor
    cells: Sequence[Cell]


class Sheet(ABC):
    """Keeps some of the rows that it is offered.

    Args:
        count: at most so many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.rows: list[Row] = []

    @abstractmethod
    def offer(self, row: Row) -> None:
        """Keep a row, or not."""

    def draw(self) -> Image.Image:
        """The rows, each with its name and what it scored.

        Raises:
            ImageError: no row was offered.
        """
        return images.grid([_drawn(row) for row in self.rows], min(_COLUMNS, len(self.rows)), 12)

    def save(self, path: Path) -> None:
        """Write `draw`; the suffix says how."""
        images.save(self.draw(), path)


class First(Sheet):
    """The first images."""

    def offer(self, row: Row) -> None:
        """Keep it if there is room."""
        if len(self.rows) < self.count:
            self.rows.append(row)


class Worst(Sheet):
    """The images on which the first way does worst, the very worst first.

    Args:
        count: at most so many.
        metric: a name of `METRICS`.
    """

    def __init__(self, count: int, metric: str) -> None:
        super().__init__(count)
        self.metric = metric

    def offer(self, row: Row) -> None:
        """Keep it if it is worse than one of those that are kept."""
        self.rows.append(row)
        self.rows.sort(key=self._badness, reverse=True)  # stable: of equal ones the first stays
        del self.rows[self.count :]

    def _badness(self, row: Row) -> float:
        value = row.cells[0].values[self.metric]
        if math.isnan(value):  # no picture at all is worse than any
            return math.inf
        return value if METRICS[self.metric].lower else -value


def _drawn(row: Row) -> Image.Image:
    pictures = [images.to_picture(row.target)]
    labels = [row.name]
    for cell in row.cells:
        empty = Image.new("RGB", (SIZE, SIZE), "gray")
        pictures.append(empty if cell.image is None else images.to_picture(cell.image))
        values = [
            f"{short} {cell.values[key]:.2f}" for key, short in _CAPTION if key in cell.values
        ]
        labels.append(": ".join([cell.way, " ".join(values)]))
    return images.side_by_side(pictures, labels)
