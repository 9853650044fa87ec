"""Overlap of label maps: against sets of pixels."""

from __future__ import annotations

import math

import pytest
import torch
from overlap import overlap
from torch import Tensor

from wplus.errors import ConfigError


def maps(seed: int, classes: int = 7, shape: tuple[int, ...] = (3, 11, 9)) -> tuple[Tensor, Tensor]:
    """Two that agree on about half of the pixels; the last two classes are in none or in one."""
    rng = torch.Generator().manual_seed(seed)
    one = torch.randint(0, classes - 2, shape, generator=rng)
    other = torch.randint(0, classes - 1, shape, generator=rng)
    return one, torch.where(torch.rand(shape, generator=rng) < 0.5, one, other)


def slow(one: Tensor, other: Tensor, classes: int) -> list[float | None]:
    """IoU by sets of places; None for a class that is nowhere."""
    found: list[float | None] = []
    for label in range(classes):
        first = {i for i, value in enumerate(one.flatten().tolist()) if value == label}
        second = {i for i, value in enumerate(other.flatten().tolist()) if value == label}
        found.append(len(first & second) / len(first | second) if first | second else None)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_against_sets(seed: int) -> None:
    one, other = maps(seed)
    found = overlap(one, other, 7)
    expected = slow(one, other, 7)
    assert expected[6] is None and expected[5] == 0
    for value, wanted in zip(found.iou.tolist(), expected):
        assert math.isnan(value) if wanted is None else value == pytest.approx(wanted)
    known = [value for value in expected if value is not None]
    assert found.mean_iou == pytest.approx(sum(known) / len(known))
    assert found.same == pytest.approx(float((one == other).double().mean()))
    assert overlap(other, one, 7).mean_iou == pytest.approx(found.mean_iou)


def test_sum_is_that_of_one_large_map() -> None:
    one, other = maps(5)
    parts = [overlap(a, b, 7) for a, b in zip(one, other)]
    total, whole = parts[0] + parts[1] + parts[2], overlap(one, other, 7)
    torch.testing.assert_close(total.iou, whole.iou, equal_nan=True)
    assert total.same == pytest.approx(whole.same)


def test_equal_disjoint_and_empty() -> None:
    one = torch.arange(19).reshape(1, 19)
    assert overlap(one, one).mean_iou == 1 and overlap(one, one).same == 1
    apart = overlap(one, (one + 1) % 19)
    assert apart.mean_iou == 0 and apart.same == 0
    nothing = overlap(one[:0], one[:0])
    assert math.isnan(nothing.mean_iou) and math.isnan(nothing.same)
    # Maps of files are of 8 bits: sums must not overflow.
    small = torch.full((300, 300), 3, dtype=torch.uint8)
    assert overlap(small, small).either[3] == 90_000


def test_what_cannot_be_compared() -> None:
    one, other = maps(0)
    with pytest.raises(ConfigError, match="cannot be compared"):
        overlap(one, other[:, 1:])
    with pytest.raises(ConfigError, match="0 to 5: with 5 classes they are 0 to 4"):
        overlap(one, other.clamp(max=4) + torch.eye(11, 9).long() * (5 - other.clamp(max=4)), 5)
    with pytest.raises(ConfigError, match="integers"):
        overlap(one.double(), other.double())
    with pytest.raises(ConfigError, match="labels -1"):
        overlap(one - 1, one - 1)
