"""Thinning and tracing against their definitions; strokes of the width that was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from wplus.prepare.strokes import Paper, blur, smooth, thin, trace


def slow_thin(lines: np.ndarray) -> np.ndarray:
    """Zhang and Suen's rules, pixel by pixel."""
    image = np.pad(lines.astype(int), 1)
    while True:
        changed = False
        for step in (0, 1):
            gone = []
            for y, x in zip(*np.nonzero(image)):
                ring = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
                p = [image[y + a, x + b] for a, b in ring]
                rises = sum(p[i] == 0 and p[(i + 1) % 8] == 1 for i in range(8))
                first = (p[0] * p[2] * p[4], p[2] * p[4] * p[6])
                second = (p[0] * p[2] * p[6], p[0] * p[4] * p[6])
                if 2 <= sum(p) <= 6 and rises == 1 and not any((first, second)[step]):
                    gone.append((y, x))
            for spot in gone:
                image[spot] = 0
            changed |= bool(gone)
        if not changed:
            return image[1:-1, 1:-1].astype(bool)


def test_thinning_equals_the_slow_rules() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        lines = blur(rng.random((30, 41)).astype(np.float32), 2.0) > 0.5
        found = thin(lines)
        assert 0 < found.sum() < lines.sum()
        assert np.array_equal(found, slow_thin(lines))


def test_blur_keeps_means_and_spreads() -> None:
    plane = np.zeros((41, 51), np.float32)
    plane[20, 25] = 1
    found = blur(plane, 2.0)
    rows, columns = np.indices(plane.shape)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert ((columns - 25) ** 2 * found).sum() == pytest.approx(4, rel=0.06)
    assert ((rows - 20) ** 2 * found).sum() == pytest.approx(4, rel=0.06)
    np.testing.assert_allclose(blur(np.full((9, 7), 3.0), 5.0), 3.0, rtol=1e-5)


def test_chains_cover_every_pixel_once_and_go_from_neighbor_to_neighbor() -> None:
    rng = np.random.default_rng(1)
    lines = thin(blur(rng.random((60, 60)).astype(np.float32), 2.0) > 0.5)
    chains = trace(lines)
    spots = np.concatenate(chains).astype(int)
    assert len(spots) == len({tuple(spot) for spot in spots.tolist()}) == lines.sum()
    assert lines[spots[:, 1], spots[:, 0]].all()
    for chain in chains:
        assert np.abs(np.diff(chain, axis=0)).max(initial=0) <= 1


def test_crossings_are_gone_through_straight() -> None:
    lines = np.zeros((41, 41), bool)
    lines[20, 3:38] = lines[3:38, 20] = True
    lengths = sorted(len(chain) for chain in trace(lines))
    assert lengths[-1] == 35 and sum(lengths) == 69
    assert len(trace(np.eye(30, dtype=bool))) == 1
    ring = np.zeros((20, 20), bool)
    ring[4:16, 4:16] = True
    ring[5:15, 5:15] = False
    assert [len(chain) for chain in trace(ring)] == [44]


def test_smoothing_keeps_the_ends_and_takes_the_staircase() -> None:
    steps = np.stack([np.arange(40), np.arange(40) // 2], axis=1).astype(float)
    found = smooth(steps, 2.0)
    np.testing.assert_allclose(found[[0, -1]], steps[[0, -1]], atol=1e-9)
    away = found[:, 1] - (found[:, 0] / 2 - 0.25)
    assert np.abs(away[5:-5]).max() < 0.05
    assert np.array_equal(smooth(steps[:2], 2.0), steps[:2])


@pytest.mark.parametrize("width", [1.0, 2.0, 3.5])
def test_strokes_have_their_width_and_gray(width: float) -> None:
    paper = Paper((80, 40))
    paper.stroke(np.stack([np.arange(10.0, 70.0), np.full(60, 20.0)], axis=1), width, 60)
    page = np.asarray(paper.image(), np.float64)
    assert page.shape == (40, 80)
    ink = (255 - page) / (255 - 60)
    across = ink[:, 30:50].sum(axis=0)
    assert np.abs(across - width).max() < 0.3
    middle = (ink[:, 40] * np.arange(40)).sum() / ink[:, 40].sum()
    assert middle == pytest.approx(20, abs=0.2)
    assert page[:10].min() == 255 and page[:, :6].min() == 255
    dot = Paper((20, 20))
    dot.stroke(np.array([[10.0, 10.0]]), 2.0, 0)
    assert np.asarray(dot.image()).min() < 128
