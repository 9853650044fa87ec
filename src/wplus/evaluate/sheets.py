"""Sheets: the first and the worst images of a dataset, with their reconstructions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from wplus import images
from wplus.evaluate.metrics import METRICS, SIZE

_COLUMNS = 2  # of rows, so that twenty fit a screen


@dataclass(frozen=True, eq=False)
class Cell:
    """A reconstruction by a method: (1, 3, 256, 256) in [-1, 1], or None, and its scores."""

    method: str
    image: Tensor | None
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Row:
    """An image of a dataset, (1, 3, 256, 256) in [-1, 1], and its reconstructions."""

    name: str
    target: Tensor
    cells: Sequence[Cell]


class Sheet:
    """Keeps some of the rows that it is offered.

    Args:
        kind: in the file's name.
        count: at most this many.
        metric: keep those with the worst scores of the first method, the worst first; without it,
            the first ones.
    """

    def __init__(self, kind: str, count: int, metric: str | None = None) -> None:
        self.kind, self.count = kind, count
        self.metric = metric
        self.rows: list[Row] = []

    def offer(self, row: Row) -> None:
        """Keep a row, or not."""
        self.rows.append(row)
        self.rows.sort(key=self._badness, reverse=True)  # stable: of equal ones the first stays
        del self.rows[self.count :]

    def _badness(self, row: Row) -> float:
        if self.metric is None:
            return 0.0
        score = row.cells[0].scores[self.metric]
        if math.isnan(score):  # a missing image is worst
            return math.inf
        return score if METRICS[self.metric].lower_is_better else -score

    def draw(self) -> Image.Image:
        """The rows, each with its name and scores.

        Raises:
            ImageError: no row was offered.
        """
        return images.grid([_drawn(row) for row in self.rows], min(_COLUMNS, len(self.rows)), 12)


def _drawn(row: Row) -> Image.Image:
    shown, labels = [images.to_picture(row.target)], [row.name]
    for cell in row.cells:
        gray = Image.new("RGB", (SIZE, SIZE), "gray")
        shown.append(gray if cell.image is None else images.to_picture(cell.image))
        captions = {name: METRICS[name].caption for name in cell.scores}
        scores = [f"{captions[n]} {value:.2f}" for n, value in cell.scores.items() if captions[n]]
        labels.append(f"{cell.method}: {' '.join(scores)}")
    return images.side_by_side(shown, labels)
