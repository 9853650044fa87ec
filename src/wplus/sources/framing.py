"""Where on its page a drawing is, and the square of it that shows a face as FFHQ does.

People draw in the middle of a sheet, or photograph the sheet with a margin around. An encoder has
learned from faces that fill a square, all in one place. The detector of faces sees faces in line
drawings too: what it finds is cropped as a photograph would be. Where it finds none, the lines say.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus import faces
from wplus.errors import FaceError, WeightsError

logger = logging.getLogger(__name__)

Quad = NDArray[np.float64]
"""(4, 2) corners x, y: left top, left bottom, right bottom, right top; pixel centers are whole."""

_FILLS = 0.75  # share of a square page's side that a drawing has which was made for it
_SQUARE = 1.05  # ratio of sides up to which a page is square
_MARGIN = 1.05  # around the lines, where no face is found
_LEAST = 0.3  # of the lines' extent; a smaller face is a detail that looks like one
_STRAY = 0.002  # of the ink, at each end; specks of dirt are no drawing
_COUNTED_AT = 256
_LARGEST = 1024  # pixels a side of what is cut out


def framed(page: Image.Image, align: bool | None = None) -> Image.Image:
    """The square of a page that the drawing fills; white where it leaves the page.

    Args:
        page: mode L, dark lines on white paper.
        align: find the face. None does so unless the page is a square that the drawing fills;
            False takes the whole page.

    Returns:
        Mode L, square; the page itself if it is so already and nothing is to be cut away.

    Raises:
        FaceError: align is True, and there is no face.
        WeightsError: align is True, and the detector cannot be fetched.
    """
    width, height = page.size
    square = max(width, height) <= _SQUARE * min(width, height)
    box = ink_box(page)
    extent = max(box[2] - box[0], box[3] - box[1])
    if align is False or (align is None and square and extent >= _FILLS * max(width, height)):
        middle = (width - 1) / 2, (height - 1) / 2
        return page if square else cut_out(page, _upright(*middle, max(width, height)))
    try:
        geometry = faces.align(page.convert("RGB"), "largest", _COUNTED_AT)[0].geometry
        if align or geometry.side >= _LEAST * extent:
            return cut_out(page, np.asarray(geometry.quad, np.float64))
    except (FaceError, WeightsError) as error:
        if align:
            raise
        logger.debug("framed by its lines: %s", error)
    middle = (box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2
    return cut_out(page, _upright(*middle, _MARGIN * extent))


def ink_box(page: Image.Image) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the lines of a page of mode L; all of a blank one."""
    scale = max(1.0, max(page.size) / _COUNTED_AT)
    size = (max(1, round(page.width / scale)), max(1, round(page.height / scale)))
    ink = 255 - np.asarray(page.resize(size, Image.Resampling.BOX), np.float64)
    ink[ink < 32] = 0  # the grain of the paper
    if not ink.any():
        return 0.0, 0.0, float(page.width), float(page.height)
    ends = []
    for axis, side in ((0, page.width), (1, page.height)):
        share = np.cumsum(ink.sum(axis=axis)) / ink.sum()
        first = int(np.searchsorted(share, _STRAY, "right"))
        last = int(np.searchsorted(share, 1 - _STRAY)) + 1
        ends.append((first * side / len(share), min(last, len(share)) * side / len(share)))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def cut_out(page: Image.Image, quad: Quad) -> Image.Image:
    """The square as mode L, at about its own size; white outside of the page."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    scale = min(1.0, _LARGEST / side)
    if scale < 1:  # the transform reads only the pixels next to each point
        small = tuple(max(1, round(value * scale)) for value in page.size)
        corners = (quad + 0.5) * np.divide(small, page.size)
        page = page.resize(small, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    else:
        corners = quad + 0.5
    size = max(_COUNTED_AT, round(side * scale))
    return page.transform(
        (size, size),
        Image.Transform.QUAD,
        tuple(corners.flatten().tolist()),
        Image.Resampling.BILINEAR,
        fillcolor=255,
    )


def _upright(x: float, y: float, side: float) -> Quad:
    half = side / 2
    left, top, right, bottom = x - half, y - half, x + half, y + half
    return np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
