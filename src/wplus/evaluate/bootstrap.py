"""Means with bootstrap intervals (Efron 1979, percentile method).

Images are drawn with replacement, and all columns of values share the draws. So the values of an
image stay together, and the interval of a difference between two columns is the paired one, which
is much narrower than an interval of unpaired images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95
_CELLS = 4_000_000  # of the table of counts in memory


@dataclass(frozen=True)
class Interval:
    """The mean of a metric over images, and the interval around it.

    Attributes:
        mean: None where no image has a value.
        low: lower end of the interval; None for fewer than two values.
        high: upper end.
        count: images that have a value.
    """

    mean: float | None
    low: float | None
    high: float | None
    count: int


def intervals(
    values: NDArray[np.float64], seed: int = 0, draws: int = DRAWS, level: float = LEVEL
) -> list[Interval]:
    """Mean and interval of every column.

    Args:
        values: (N, K), a row for each image; NaN where an image has no value.
        seed: equal seeds and equal N give equal draws.
        draws: number of draws of N images.
        level: share of the draws inside of the interval.

    Returns:
        K intervals.
    """
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    counts = present.sum(axis=0)
    drawn = _drawn_means(filled, present.astype(np.float64), seed, draws)
    tails = [50 - 50 * level, 50 + 50 * level]
    found = []
    for column, count in enumerate(counts.tolist()):
        mean = low = high = None
        if count:
            mean = float(filled[:, column].sum() / count)
        if count > 1:
            low, high = np.nanpercentile(drawn[:, column], tails).tolist()
        found.append(Interval(mean, low, high, count))
    return found


def _drawn_means(
    filled: NDArray[np.float64], present: NDArray[np.float64], seed: int, draws: int
) -> NDArray[np.float64]:
    """(draws, K) means over drawn images; NaN where a draw has no value."""
    images = len(filled)
    if images == 0:
        return np.full((draws, filled.shape[1]), np.nan)
    rng = np.random.default_rng(seed)
    even = np.full(images, 1 / images)
    parts = []
    for start in range(0, draws, max(1, _CELLS // images)):
        rows = min(draws - start, max(1, _CELLS // images))
        # A mean needs only how often each image is drawn.
        times = rng.multinomial(images, even, size=rows).astype(np.float64)
        with np.errstate(invalid="ignore"):
            parts.append((times @ filled) / (times @ present))
    return np.concatenate(parts)
