"""White paper and dark lines from drawings as programs, scanners and cameras store them."""

from __future__ import annotations

import logging

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from wplus import images
from wplus.errors import ImageError

logger = logging.getLogger(__name__)

# Measured on 100 FFHQ photographs and 40 drawings, clean and badly lit. Drawings leave at least
# 68 % of the paper blank, even shaded ones; photographs 39 % in the median and up to 67 %.
BLANK = 0.6
# The rest of a drawing is lines: areas of middle gray are no wider than a soft pencil's stroke.
# (Drawings: at most 1.8 %. Photographs: 10 % and more, or 3 % with a wide white frame.)
TONES = 0.03
_PAPER = 0.9  # brightness relative to the surrounding paper from which on a pixel is blank …
_BLACK = 0.3  # … and below which it is filled with ink
_WIDE = 6  # side of the squares in which areas are counted, at the size below
_WHITE = 242  # if all paper is at least as bright, the sketch stays unchanged
_ANALYZED_AT = 256  # longer side at which the paper is measured
_CELLS = 16  # along it; the paper's brightness is measured in each cell


def page(image: Image.Image) -> Image.Image:
    """The sketch as mode L, dark lines on white paper, for any paper and lighting.

    White paper stays exactly as it is. Gray, yellowed or unevenly lit paper becomes white and its
    darkest lines dark; light lines on a dark ground are inverted.

    Raises:
        ImageError: it is a photograph, not a line drawing.
    """
    return whitened(image)[0]


def is_drawing(image: Image.Image) -> bool:
    """Whether `page` accepts it."""
    try:
        page(image)
    except ImageError:
        return False
    return True


def whitened(image: Image.Image) -> tuple[Image.Image, bool]:
    """The result of `page`, and whether the image was inverted."""
    gray, inverted = to_gray(image), False
    small = np.asarray(shrunk(gray, _ANALYZED_AT).filter(ImageFilter.MedianFilter(3)), np.float32)
    paper = _paper(small)
    blank, tones = _shares(small, paper)
    if blank < BLANK or tones > TONES:
        negative = 255 - small
        paper_inverted = _paper(negative)
        other_blank, other_tones = _shares(negative, paper_inverted)
        # The ground must be dark, not just the image.
        if np.median(paper_inverted) < 128 or other_blank < BLANK or other_tones > TONES:
            raise ImageError(
                f"looks like a photograph, not like a sketch: {_excess(blank, tones)}; use dark"
                " lines on light paper, as wplus prepare sketches draws them from photographs"
            )
        logger.info("light lines on a dark ground: inverted")
        gray, paper, inverted = ImageOps.invert(gray), paper_inverted, True
    if np.percentile(paper, 5) >= _WHITE:
        return gray, inverted
    light = Image.fromarray(paper).resize(gray.size, Image.Resampling.BICUBIC)
    flat = np.asarray(gray, np.float32) / np.maximum(np.asarray(light), 1)
    # White is below the paper's own grain: half of the paper is darker than its median.
    middle = float(np.median(flat))
    white = max(middle - 3 * float(np.median(np.abs(flat - middle))), 0.75 * middle)
    black = min(float(np.percentile(flat, 0.5)), 0.7 * white)
    even = np.clip((flat - black) / (white - black), 0, 1)
    return Image.fromarray(np.rint(255 * even).astype(np.uint8)), inverted


def _excess(blank: float, tones: float) -> str:
    """The measurement that rules out a drawing, for the message."""
    if tones > TONES:
        return f"{tones:.1%} of it is areas of gray; drawings have at most {TONES:.0%}"
    return f"{blank:.0%} of it is blank paper; drawings have at least {BLANK:.0%}"


def to_gray(image: Image.Image) -> Image.Image:
    """Mode L of an image of any mode, transparency laid over white."""
    return image if image.mode == "L" else images.to_rgb(image).convert("L")


def shrunk(gray: Image.Image, side: int) -> Image.Image:
    """The image with a longer side of at most `side`, by area averaging."""
    scale = min(1.0, side / max(gray.size))
    size = (max(1, round(gray.width * scale)), max(1, round(gray.height * scale)))
    return gray if scale == 1 else gray.resize(size, Image.Resampling.BOX)


def _paper(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of the paper in each cell: of its bright pixels, or those of a cell beside it."""
    rows, columns = (max(1, round(_CELLS * side / max(small.shape))) for side in small.shape)
    cells = np.empty((rows, columns), np.float32)
    for row, band in enumerate(np.array_split(small, rows)):
        for column, cell in enumerate(np.array_split(band, columns, axis=1)):
            cells[row, column] = np.percentile(cell, 90)
    # A closing: it removes dark cells between bright ones and keeps a slope of the light.
    return -_brightest_near(-_brightest_near(cells))


def _brightest_near(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    if min(cells.shape) == 1:
        return cells
    wide = np.pad(cells, 1, "reflect", reflect_type="odd")
    brightest: NDArray[np.float32] = sliding_window_view(wide, (3, 3)).max(axis=(2, 3))
    return brightest


def _shares(small: NDArray[np.float32], paper: NDArray[np.float32]) -> tuple[float, float]:
    """The shares of the page that are blank, and that are areas of gray."""
    size = (small.shape[1], small.shape[0])
    light = np.asarray(Image.fromarray(paper).resize(size, Image.Resampling.BILINEAR))
    relative = small / np.maximum(light, 1)
    blank = relative > _PAPER
    toned = ~blank & (relative > _BLACK)
    rows, columns = (side // _WIDE for side in toned.shape)
    squares = toned[: rows * _WIDE, : columns * _WIDE].reshape(rows, _WIDE, columns, _WIDE)
    return float(blank.mean()), float(squares.all(axis=(1, 3)).mean()) if squares.size else 0.0
