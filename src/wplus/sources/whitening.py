"""White paper and dark lines from drawings as programs, scanners and cameras store them."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from wplus import images
from wplus.errors import ImageError

logger = logging.getLogger(__name__)

# Measured on 100 FFHQ photographs and 40 drawings, clean and badly lit. Drawings leave 68 % of the
# paper blank at least, even when they are shaded; photographs 39 % in the median and up to 67 %.
BLANK = 0.6
# The rest of a drawing is lines: areas of middle gray are no wider than a soft pencil's stroke.
# (Drawings: 1.8 % at most. Photographs: 10 % and more, or 3 % with a wide white frame around.)
TONES = 0.03
_PAPER = 0.9  # brightness against the paper around that counts as blank
_BLACK = 0.3  # and that counts as filled with ink
_WIDE = 6  # side of the squares that areas are counted in, at the size below
_WHITE = 242  # paper at least so bright everywhere is white: the sketch stays as it is
_LOOKED_AT = 256  # longer side at which the paper is judged
_CELLS = 16  # along it; the paper's brightness may change from cell to cell


def page(image: Image.Image) -> Image.Image:
    """The sketch as mode L: dark lines on white paper, whatever the paper and the light were.

    White paper stays exactly as it is. Gray, yellowed or unevenly lit paper becomes white and its
    darkest lines dark; light lines on a dark ground are inverted.

    Raises:
        ImageError: this is no line drawing but looks like a photograph.
    """
    return whitened(image)[0]


def is_drawing(image: Image.Image) -> bool:
    """Whether `page` takes it."""
    try:
        page(image)
    except ImageError:
        return False
    return True


def whitened(image: Image.Image) -> tuple[Image.Image, bool]:
    """What `page` gives, and whether the image was inverted for it."""
    gray, inverted = to_gray(image), False
    small = _small(gray)
    paper = _paper(small)
    blank, tones = _shares(small, paper)
    if blank < BLANK or tones > TONES:
        negative = 255 - small
        paper_inverted = _paper(negative)
        other_blank, other_tones = _shares(negative, paper_inverted)
        # A dark ground, not just a dark image.
        if np.median(paper_inverted) < 128 or other_blank < BLANK or other_tones > TONES:
            raise ImageError(
                f"looks like a photograph, not like a sketch: {_too_much(blank, tones)}; give dark"
                " lines on light paper, as wplus prepare sketches draws them of photographs"
            )
        logger.info("light lines on a dark ground: inverted")
        gray, paper, inverted = ImageOps.invert(gray), paper_inverted, True
    if np.percentile(paper, 5) >= _WHITE:
        return gray, inverted
    light = Image.fromarray(paper).resize(gray.size, Image.Resampling.BICUBIC)
    flat = np.asarray(gray, np.float32) / np.maximum(np.asarray(light), 1)
    white = _white_point(flat)
    black = min(float(np.percentile(flat, 0.5)), 0.7 * white)
    even = np.clip((flat - black) / (white - black), 0, 1)
    return Image.fromarray(np.rint(255 * even).astype(np.uint8)), inverted


def _too_much(blank: float, tones: float) -> str:
    """What a drawing does not have so much of."""
    if tones > TONES:
        return f"{tones:.1%} of it is areas of gray, and {TONES:.0%} at most of a drawing"
    return f"{blank:.0%} of it is blank paper, and {BLANK:.0%} or more of a drawing"


def to_gray(image: Image.Image) -> Image.Image:
    """Mode L of an image of any mode, transparency laid over white."""
    return image if image.mode == "L" else images.to_rgb(image).convert("L")


def _small(gray: Image.Image) -> NDArray[np.float32]:
    scale = min(1.0, _LOOKED_AT / max(gray.size))
    size = (max(1, round(gray.width * scale)), max(1, round(gray.height * scale)))
    small = gray if scale == 1 else gray.resize(size, Image.Resampling.BOX)
    return np.asarray(small.filter(ImageFilter.MedianFilter(3)), np.float32)


def _paper(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of the paper, cell by cell: what is bright there or in a cell beside."""
    rows, columns = (max(1, round(_CELLS * side / max(small.shape))) for side in small.shape)
    cells = np.empty((rows, columns), np.float32)
    for row, band in enumerate(np.array_split(small, rows)):
        for column, cell in enumerate(np.array_split(band, columns, axis=1)):
            cells[row, column] = np.percentile(cell, 90)
    # A closing: dark cells between bright ones go, and a slope of the light stays as it is.
    return -_brightest_near(-_brightest_near(cells))


def _brightest_near(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = cells.shape
    wide = np.pad(cells, 1, "reflect", reflect_type="odd") if min(rows, columns) > 1 else cells
    if wide is cells:
        return cells
    near = [wide[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    brightest: NDArray[np.float32] = np.max(near, axis=0)
    return brightest


def _shares(small: NDArray[np.float32], paper: NDArray[np.float32]) -> tuple[float, float]:
    """Of the page: how much is blank, and how much is areas of gray."""
    size = (small.shape[1], small.shape[0])
    light = np.asarray(Image.fromarray(paper).resize(size, Image.Resampling.BILINEAR))
    against = small / np.maximum(light, 1)
    blank = against > _PAPER
    toned = ~blank & (against > _BLACK)
    rows, columns = (side // _WIDE for side in toned.shape)
    squares = toned[: rows * _WIDE, : columns * _WIDE].reshape(rows, _WIDE, columns, _WIDE)
    return float(blank.mean()), float(squares.all(axis=(1, 3)).mean()) if squares.size else 0.0


def _white_point(flat: NDArray[np.float32]) -> float:
    """Below the paper's own grain: most pixels are paper, and half of them below their median."""
    middle = float(np.median(flat))
    grain = float(np.median(np.abs(flat - middle)))
    return max(middle - 3 * grain, 0.75 * middle)
