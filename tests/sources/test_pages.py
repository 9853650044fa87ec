"""Sketches on any paper in any light, and photographs that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wplus import images
from wplus.errors import ImageError
from wplus.sources import whitening
from wplus.sources.kind import from_file, from_image
from wplus.sources.sketch import sketch_input

PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


def drawing(size: tuple[int, int] = (300, 260), width: int = 3) -> Image.Image:
    page = Image.new("L", size, 255)
    draw = ImageDraw.Draw(page)
    draw.ellipse((60, 30, 240, 240), outline=0, width=width)
    for box in ((100, 100, 130, 115), (170, 100, 200, 115), (120, 180, 180, 200)):
        draw.ellipse(box, outline=0, width=width)
    draw.line((150, 120, 140, 160, 155, 165), fill=40, width=width)
    return page


def on_paper(page: Image.Image, seed: int) -> Image.Image:
    """Photographed: tinted paper, light from one side, pencil instead of ink, grain."""
    rng = np.random.default_rng(seed)
    ink = np.asarray(page, np.float64)[..., None] / 255
    y, x = np.indices(page.size[::-1]) / max(page.size)
    light = (0.5 + 0.35 * np.cos(rng.uniform(0, 6)) * (x - 0.5) + 0.3 * (y - 0.5))[..., None]
    pixels = (0.4 + 0.6 * ink) * light * (1.0, 0.96, 0.85) + rng.normal(
        0, 0.015, (*light.shape[:2], 3)
    )
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 1) * 255))


def test_white_paper_stays_exactly() -> None:
    page = drawing()
    for width in (1, 3, 6):
        page = drawing(width=width)
        assert whitening.page(page).tobytes() == page.tobytes()
    off_white = Image.eval(drawing(), lambda value: min(value, 246))
    assert whitening.page(off_white).tobytes() == off_white.tobytes()
    assert whitening.page(Image.new("L", (50, 50), 255)).getextrema() == (255, 255)


@pytest.mark.parametrize("seed", range(6))
def test_paper_becomes_white_and_pencil_dark(seed: int) -> None:
    page = drawing()
    photographed = on_paper(page, seed)
    assert np.asarray(photographed.convert("L")).max() < 235
    found = np.asarray(whitening.page(photographed), np.float64)
    ink = np.asarray(page) < 128
    assert found[~ink].mean() > 245
    assert found[ink].mean() < 90
    whitened = np.asarray(from_image(photographed, "sketch", 128))
    plain = np.asarray(from_image(page, "sketch", 128))
    assert np.abs(whitened - plain).mean() < 0.04
    assert np.abs(np.asarray(sketch_input(photographed, 128)) - plain).mean() > 0.2


def test_chalk_on_slate_is_inverted() -> None:
    chalk = Image.eval(drawing(), lambda value: 230 - round(value * 200 / 255))
    found = np.asarray(whitening.page(chalk))
    ink = np.asarray(drawing()) < 128
    assert found[~ink].mean() > 250 and found[ink].mean() < 60
    exact = Image.eval(drawing(), lambda value: 255 - value)
    assert whitening.page(exact).tobytes() == drawing().tobytes()


def test_photographs_are_no_sketches(tmp_path: Path) -> None:
    portrait = images.read(PORTRAIT)
    framed = Image.new("RGB", (1800, 1800), "white")
    framed.paste(portrait.resize((1000, 1000)), (400, 400))
    pictures = {"color": portrait, "gray": portrait.convert("L"), "framed": framed}
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    pictures["noise"] = Image.fromarray(noise)
    pictures["gradient"] = Image.linear_gradient("L")
    for name, picture in pictures.items():
        file = tmp_path / f"{name}.png"
        picture.save(file)
        with pytest.raises(
            ImageError, match="looks like a photograph, not like a sketch"
        ) as caught:
            from_file(file, "sketch")
        assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_filled_drawings_are_sketches() -> None:
    """Black hair, as comics have it."""
    page = drawing()
    ImageDraw.Draw(page).pieslice((60, 20, 240, 160), 180, 360, fill=0)
    assert whitening.page(page).tobytes() == page.tobytes()


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (1000, 40)])
def test_any_size(size: tuple[int, int]) -> None:
    page = Image.new("RGB", size, (200, 200, 190))
    ImageDraw.Draw(page).line((2, 2, size[0] - 3, size[1] - 3), fill=(50, 50, 60), width=1)
    assert whitening.page(page).size == size
    assert from_image(page, "sketch", 64).max() == 1
