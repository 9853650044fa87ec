from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from wplus import images
from wplus.editing.directions import Direction
from wplus.editing.tables import amounts_of, explore
from wplus.errors import ConfigError


def some(name: str, low: float = -2.0, high: float = 4.0) -> Direction:
    vector = torch.randn(6, 12, generator=torch.Generator().manual_seed(len(name)))
    return Direction(name, vector, low=low, high=high)


def test_amounts_go_from_end_to_end_through_zero() -> None:
    assert amounts_of(some("a"), 5) == [-2, -1, 0, 2, 4]
    assert amounts_of(some("a"), 3, reach=6) == [-6, 0, 6]
    for count in (1, 4, 0):
        with pytest.raises(ConfigError, match="odd"):
            amounts_of(some("a"), count)
    for reach in (0.0, -1.0, float("inf")):
        with pytest.raises(ConfigError, match="above 0"):
            amounts_of(some("a"), 3, reach)


def test_the_grid_shows_the_edits() -> None:
    model = tiny.model("stylegan2", None)
    code = torch.randn(6, 12)
    rows = [some("a"), some("bb")]
    page = np.asarray(explore(code, rows, model, 3, size=16))
    for i, direction in enumerate(rows):
        for k, amount in enumerate((-2.0, 0.0, 4.0)):
            moved = model.decode((code + amount * direction.vector)[None])
            picture = np.asarray(images.to_picture(moved))
            top = page.shape[0] - 36 + 20 * i
            left = page.shape[1] - 56 + 20 * k
            assert np.array_equal(page[top : top + 16, left : left + 16], picture)


def test_rows_of_different_ranges_say_so() -> None:
    model = tiny.model("stylegan2", None)
    same = explore(torch.randn(6, 12), [some("a"), some("b")], model, 3, size=16)
    differ = explore(torch.randn(6, 12), [some("a"), some("b", -9)], model, 3, size=16)
    assert differ.width > same.width  # ranges in the rows' labels
    assert differ.height < same.height  # and none above the columns


def test_nothing_to_explore() -> None:
    with pytest.raises(ConfigError, match="no directions"):
        explore(torch.randn(6, 12), [], tiny.model("stylegan2", None))
    wrong = Direction("w", torch.ones(7, 12))
    with pytest.raises(ConfigError, match="another generator"):
        explore(torch.randn(6, 12), [wrong], tiny.model("stylegan2", None), 3)
