"""Intervals: against one drawn by hand, image by image."""

from __future__ import annotations

import random

import numpy as np
import pytest

from wplus.evaluate import bootstrap
from wplus.evaluate.bootstrap import Interval, intervals


def test_against_a_slow_script() -> None:
    values = np.random.default_rng(0).gamma(2.0, 1.0, 40)
    draw = random.Random(1)
    means = sorted(sum(draw.choices(values.tolist(), k=40)) / 40 for _ in range(20_000))
    [found] = intervals(values[:, None], draws=20_000)
    assert found.count == 40
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(means[500], abs=0.01)
    assert found.high == pytest.approx(means[19_500], abs=0.01)


def test_columns_share_their_draws() -> None:
    one = np.random.default_rng(0).normal(size=30)
    found = intervals(np.stack([one, one + 5, 2 * one], axis=1))
    assert found[1].low == pytest.approx(found[0].low + 5)
    assert found[2].high == pytest.approx(2 * found[0].high)
    # So a difference that is the same in every image has an interval of no width.
    [difference] = intervals(((one + 5) - one)[:, None])
    assert difference.low == pytest.approx(5)
    assert difference.high == pytest.approx(5)


def test_missing_values_are_left_out_and_counted() -> None:
    values = np.array([[1.0, np.nan], [2.0, 4.0], [3.0, np.nan], [4.0, np.nan]])
    whole, lonely = intervals(values)
    assert (whole.mean, whole.count) == (2.5, 4)
    assert lonely == Interval(4.0, None, None, 1)
    [none] = intervals(np.full((3, 1), np.nan))
    assert none == Interval(None, None, None, 0)
    assert intervals(np.zeros((0, 1))) == [Interval(None, None, None, 0)]
    # A value in two of many images: most draws have one of them, some have none.
    sparse = np.full((8, 1), np.nan)
    sparse[:2, 0] = 1.0, 3.0
    [found] = intervals(sparse)
    assert (found.mean, found.low, found.high, found.count) == (2.0, 1.0, 3.0, 2)


def test_seeds_and_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2))
    assert intervals(values, seed=3) == intervals(values, seed=3)
    assert intervals(values, seed=3) != intervals(values, seed=4)
    whole = intervals(values)
    monkeypatch.setattr(bootstrap, "_CELLS", 170)  # three draws at a time, and two at the end
    for small, large in zip(intervals(values), whole):
        assert small.low == pytest.approx(large.low)
        assert small.high == pytest.approx(large.high)
