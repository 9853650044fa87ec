"""Agreement of lines: against all pairs of pixels, and on drawings that are the same or are not."""

from __future__ import annotations

import math

import lines
import numpy as np
import pytest
from lines import Agreement, agreement, head, lines_in, near
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wplus.errors import ConfigError


def scattered(seed: int, share: float = 0.03, size: tuple[int, int] = (23, 31)) -> lines.Mask:
    return np.random.default_rng(seed).random(size) < share


def slow(
    made: lines.Mask, drawn: lines.Mask, tolerance: float, within: lines.Mask
) -> tuple[float, float]:
    """Precision and recall by the distance of every pixel to every other."""

    def share(of: lines.Mask, to: lines.Mask) -> float:
        found = []
        for row, column in np.argwhere(of & within).tolist():
            distances = [math.hypot(row - r, column - c) for r, c in np.argwhere(to).tolist()]
            found.append(min(distances, default=math.inf) <= tolerance)
        return sum(found) / len(found)

    return share(made, drawn), share(drawn, made)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2, 3.2])
def test_against_all_pairs(tolerance: float) -> None:
    for seed in range(4):
        made, drawn = scattered(seed), scattered(seed + 50, 0.05)
        within = np.zeros_like(made)
        within[3:20, 5:26] = True
        for judged in (None, within):
            found = agreement(made, drawn, tolerance, judged)
            area = np.ones_like(made) if judged is None else judged
            expected = slow(made, drawn, tolerance, area)
            assert (found.precision, found.recall) == pytest.approx(expected)


def test_near_does_not_reach_around_the_edges() -> None:
    dot = np.zeros((7, 9), np.bool_)
    dot[0, 0] = True
    assert np.argwhere(near(dot, 1)).tolist() == [[0, 0], [0, 1], [1, 0]]
    assert near(dot, 0).sum() == 1
    assert near(dot, 1.5).sum() == 4  # the diagonal neighbor is 1.41 away
    assert near(dot, 100).all()


def test_f_score() -> None:
    assert Agreement(0.5, 1.0).f_score == pytest.approx(2 / 3)
    assert Agreement(0.0, 0.0).f_score == 0
    one, other = scattered(1), scattered(2)
    assert agreement(one, other).f_score == pytest.approx(agreement(other, one).f_score)
    assert agreement(one, one) == Agreement(1.0, 1.0)
    blank = np.zeros_like(one)
    assert agreement(one, blank).f_score == 0 and agreement(blank, one).f_score == 0
    assert math.isnan(agreement(blank, blank).f_score)


def drawing(seed: int, width: int = 2, shift: float = 0, size: int = 256) -> Image.Image:
    """Strokes of a pen on white paper."""
    rng = np.random.default_rng(seed)
    page = Image.new("L", (1024, 1024), 255)
    pen = ImageDraw.Draw(page)
    for _ in range(12):
        center, angle = rng.uniform(250, 770, 2) + 4 * shift, rng.uniform(0, 360)
        across = rng.uniform(120, 300)
        box = [*(center - across), *(center + across)]
        pen.arc(box, angle, angle + 50, fill=20, width=4 * width)
    return page.resize((size, size), Image.Resampling.BOX)


def score(one: Image.Image, other: Image.Image) -> float:
    return agreement(lines_in(one), lines_in(other), within=head()).f_score


def test_drawings() -> None:
    one = drawing(0)
    assert score(one, one) == 1
    assert score(drawing(0, width=4), one) > 0.9  # another pen
    assert score(drawing(0, size=700), one) > 0.9  # another size
    assert score(drawing(0, shift=1), one) > 0.9
    unrelated = [score(drawing(seed), one) for seed in range(1, 6)]
    assert max(unrelated) < 0.5
    assert score(drawing(0, shift=8), one) < 0.6


def test_lines_of_a_picture_of_any_mode() -> None:
    picture = drawing(3)
    found = lines_in(picture)
    assert found.shape == (256, 256) and found.dtype == np.bool_ and 300 < found.sum() < 4000
    np.testing.assert_array_equal(lines_in(picture.convert("RGB")), found)
    ink: NDArray[np.uint8] = np.asarray(picture)
    assert (ink[found] < 200).mean() > 0.95  # lines are where ink is
    assert not lines_in(Image.new("RGB", (64, 80), "white")).any()


def test_head_is_where_sketches_are_focused() -> None:
    inside = head(100)
    assert inside[52, 50] and inside[4, 50] and inside[99, 50] and inside[52, 15]
    assert not inside[52, 12] and not inside[10, 20] and not inside[0, 50]
    assert inside.mean() == pytest.approx(math.pi * 0.36 * 0.5, rel=0.02)
    np.testing.assert_array_equal(inside, inside[:, ::-1])


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="cannot be compared"):
        agreement(scattered(0), scattered(0)[1:])
    with pytest.raises(ConfigError, match="cannot be compared"):
        agreement(scattered(0), scattered(1), within=head())
    for tolerance in (-1, math.nan):
        with pytest.raises(ConfigError, match="0 or more"):
            near(scattered(0), tolerance)
