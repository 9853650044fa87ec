"""Masks: of the share that was asked for, of both kinds, the same for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wplus.errors import ConfigError
from wplus.sources.masks import COVERAGE, Kind, draw_mask


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", ["strokes", "boxes", "mixed"])
@pytest.mark.parametrize("size", [64, 100])
def test_shares(kind: Kind, size: int) -> None:
    masks = [draw_mask(size, rng(seed), kind) for seed in range(80)]
    for mask in masks:
        assert (mask.shape, mask.dtype) == ((size, size), np.uint8)
        assert set(np.unique(mask)) == {0, 255}
    shares = np.array([(mask > 0).mean() for mask in masks])
    assert shares.max() <= COVERAGE[1]
    assert (shares >= 0.8 * COVERAGE[0]).all()
    assert shares.min() < 0.12 and shares.max() > 0.38  # all over the range


def test_narrow_ranges_are_kept() -> None:
    for kind in ("strokes", "boxes"):
        shares = [(draw_mask(128, rng(s), kind, (0.2, 0.25)) > 0).mean() for s in range(30)]  # type: ignore[arg-type]
        assert max(shares) <= 0.25 and np.mean(np.array(shares) >= 0.17) > 0.9


def test_boxes_are_boxes_and_strokes_are_not() -> None:
    """Every corner of a union of upright boxes is a right angle of straight edges."""

    def diagonal(mask: np.ndarray[Any, Any]) -> float:
        edges = mask[1:, 1:] != mask[:-1, :-1]
        straight = (mask[1:, 1:] != mask[1:, :-1]) ^ (mask[1:, 1:] != mask[:-1, 1:])
        return float((edges & ~straight).sum() / max(1, edges.sum()))

    boxes = [diagonal(draw_mask(128, rng(s), "boxes")) for s in range(20)]
    strokes = [diagonal(draw_mask(128, rng(s), "strokes")) for s in range(20)]
    assert max(boxes) < 0.05 < min(strokes)


def test_seeds() -> None:
    masks = [draw_mask(64, rng(seed)).tobytes() for seed in (1, 1, 2, 3)]
    assert masks[0] == masks[1] and len(set(masks)) == 3


@pytest.mark.parametrize("coverage", [(0.0, 0.5), (0.5, 0.2), (0.2, 1.0)])
def test_ranges_that_are_none(coverage: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="cannot cover"):
        draw_mask(64, rng(0), "boxes", coverage)


def test_unknown_kinds() -> None:
    with pytest.raises(ConfigError, match="strokes, boxes, mixed, not 'stars'"):
        draw_mask(64, rng(0), "stars")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="4 pixels"):
        draw_mask(4, rng(0))
