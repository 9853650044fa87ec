"""Drawings: lines where the picture has them, a hand of their own, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wplus.prepare.sketch import Style, draw_style, pencil, sketch
from wplus.sources import whitening


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(size: int = 128) -> Image.Image:
    """A light disk with dark rim and two eyes, on a ground that gets darker to the right."""
    ground = np.linspace(200, 90, size)[None].repeat(size, 0)
    picture = Image.fromarray(ground.astype(np.uint8)).convert("RGB")
    draw, u = ImageDraw.Draw(picture), size / 128
    draw.ellipse((24 * u, 24 * u, 104 * u, 104 * u), fill=(220, 190, 170), outline=(60, 30, 20))
    for x in (50, 78):
        draw.ellipse(((x - 5) * u, 55 * u, (x + 5) * u, 60 * u), fill=(40, 30, 30))
    return picture


PLAIN = Style(shortest=4)


def ink(page: Image.Image) -> np.ndarray:
    return np.asarray(page) < 128


@pytest.mark.parametrize("size", [128, 256, 900])
def test_lines_are_where_the_picture_has_them(size: int) -> None:
    page = sketch(scene(size), rng(0), PLAIN)
    assert (page.mode, page.size) == ("L", (size, size))
    dark = ink(page)
    assert 0.01 < dark.mean() < 0.12
    rows, columns = np.nonzero(dark)
    away = np.hypot(columns - size / 2, rows - size / 2) / size * 128
    rim = np.abs(away - 40) < 4
    eyes = (np.abs(rows - size * 57 / 128) < 6 * size / 128) & (away < 25)
    assert (rim | eyes).mean() > 0.95
    assert rim.sum() > 100 and eyes.sum() > 10
    angles = np.arctan2(rows[rim] - size / 2, columns[rim] - size / 2)
    assert len(np.unique(np.round(angles * 6))) > 30  # all around, in light and in shadow


def test_what_is_flat_gives_white_paper() -> None:
    gray = Image.new("RGB", (64, 64), (120, 100, 90))
    assert np.asarray(sketch(gray, rng(0), PLAIN)).min() == 255
    assert np.asarray(sketch(gray, rng(0), Style(lines=False))).min() >= 254


def test_the_same_seed_draws_the_same() -> None:
    pages = [sketch(scene(), rng(seed)).tobytes() for seed in (1, 1, 2, 3)]
    assert pages[0] == pages[1] and len(set(pages)) == 3


def test_the_style_shows() -> None:
    plain = ink(sketch(scene(), rng(0), PLAIN)).sum()
    assert ink(sketch(scene(), rng(0), replace(PLAIN, width=3.0))).sum() > 1.4 * plain
    assert np.asarray(sketch(scene(), rng(0), replace(PLAIN, gray=100))).min() >= 100
    interrupted = ink(sketch(scene(256), rng(0), replace(PLAIN, gaps=1.0))).sum()
    assert interrupted < 0.97 * ink(sketch(scene(256), rng(0), PLAIN)).sum()
    wobbly = ink(sketch(scene(), rng(0), replace(PLAIN, wobble=2.0)))
    assert 0.7 * plain < wobbly.sum() < 1.4 * plain
    assert (wobbly & ink(sketch(scene(), rng(0), PLAIN))).sum() < 0.8 * plain
    shaded = np.asarray(sketch(scene(), rng(0), replace(PLAIN, shading=1.0)))
    assert (shaded < 250).sum() > 1.1 * (np.asarray(sketch(scene(), rng(0), PLAIN)) < 250).sum()
    far = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(far).rectangle((5, 5, 25, 250), outline="black", width=2)
    assert ink(sketch(far, rng(0), PLAIN)).any()
    assert not ink(sketch(far, rng(0), replace(PLAIN, focus=1.0))).any()


def test_styles_vary_and_are_within_reason() -> None:
    styles = [draw_style(rng(seed)) for seed in range(300)]
    assert 0.7 < np.mean([style.lines and not style.shading for style in styles]) < 0.9
    assert any(not style.lines for style in styles)
    assert {style.focus for style in styles} == {0.0, 0.5, 1.0}
    assert min(style.width for style in styles) < 1 and max(s.width for s in styles) > 2.8
    assert sum(style.wobble == 0 for style in styles) > 50


def test_drawings_are_read_as_they_are() -> None:
    """What the maker writes passes for a sketch, and its white paper is not touched."""
    for seed in range(12):
        page = sketch(scene(256), rng(seed))
        assert whitening.page(page).tobytes() == page.tobytes()


def test_pencil_is_paper_where_nothing_changes() -> None:
    gray = np.full((40, 40), 0.3, np.float32)
    np.testing.assert_allclose(pencil(gray), 1, atol=1e-5)
    gray[:, 20] = 0.1
    found = pencil(gray)
    assert found[:, 20].max() < 0.7 and found[:, :8].min() > 0.99
