"""Drawings as users have them to drawings as encoders are trained on them.

People draw in the middle of a sheet, or photograph the sheet with a margin. The encoder is trained
on faces that fill a square, all in one place. So the paper is whitened, faint lines are darkened,
and the square around the face is cut out. The face detector works on line drawings too; where it
finds no face, the extent of the lines decides.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus import faces, images
from wplus.errors import FaceError, ImageError, WeightsError
from wplus.sources.label_colors import PALETTE
from wplus.sources.whitening import shrunk, whitened

logger = logging.getLogger(__name__)

Quad = NDArray[np.float64]
"""(4, 2) corners x, y: left top, left bottom, right bottom, right top. The center of the first
pixel is 0, 0."""

_LARGEST_PAGE = 2048  # longer side of an analyzed page: a face in its middle still has 500
_ANALYZED_AT = 256
_PAPER = 235  # gray levels from here on are paper
_LINES = 0.002  # least share of the page that is lines: one stroke across half of it
_FAINT = 130  # lines lighter than this gray are darkened …
_DARK = 60  # … to this one
_LEVEL = 10  # percentile of the lines' pixels that is their gray: most are half paper
_FILLS = 0.75  # share of the side of a square page that a drawing made for it has
_SQUARE = 1.05  # ratio of sides up to which a page counts as square
_MARGIN = 1.05  # around the lines, where no face is found
_LEAST_FACE = 0.3  # of the lines' extent; smaller detections are details that resemble a face
_STRAY = 0.002  # share of the ink that is ignored at each end: specks of dirt
_LARGEST = 1024  # pixels a side of the result


def clean_drawing(
    stored: Image.Image, align: bool | None = None, name: str = "the drawing"
) -> Image.Image:
    """A drawing in the form that `sketch.sketch_input` takes.

    Badly lit paper becomes white and faint pencil dark, light lines on a dark ground are inverted
    (which is logged as a warning), and a drawing in the middle of a larger sheet is cut out.

    Args:
        stored: drawn, scanned or photographed, with its transparency.
        align: see `framed`.
        name: for the warning.

    Returns:
        Mode L, square: dark lines on white.

    Raises:
        ImageError: it is a photograph, a label map or blank.
        FaceError: align is True, and there is no face.
        WeightsError: align is True, and the detector cannot be fetched.
    """
    image = images.to_rgb(stored).copy()
    image.thumbnail((_LARGEST_PAGE, _LARGEST_PAGE), Image.Resampling.LANCZOS)
    try:
        page, inverted = whitened(image)
        if _is_blank(page):
            page, inverted = _from_transparency(stored) or page, False
    except ImageError as error:
        if _in_label_colors(image):
            raise ImageError(
                "holds the colors of a label map, not a sketch; use --task labels for it"
            ) from error
        raise
    if _is_blank(page):
        raise ImageError("holds no lines, the page is blank; draw dark lines on it")
    if inverted:
        logger.warning("%s: light lines on a dark ground, taken as a negative of a drawing", name)
    return framed(_darkened(page), align)


def _is_blank(page: Image.Image) -> bool:
    size = tuple(min(_ANALYZED_AT, side) for side in page.size)
    small = np.asarray(page.resize(size, Image.Resampling.BOX))  # type: ignore[arg-type]
    return float((small < _PAPER).mean()) < _LINES


def _from_transparency(stored: Image.Image) -> Image.Image | None:
    """White lines on a transparent ground, which vanish on white; None for opaque images."""
    if not stored.has_transparency_data:
        return None
    alpha = stored.convert("RGBA").getchannel("A")
    alpha.thumbnail((_LARGEST_PAGE, _LARGEST_PAGE), Image.Resampling.LANCZOS)
    return whitened(Image.eval(alpha, lambda value: 255 - value))[0]


def _darkened(page: Image.Image) -> Image.Image:
    """Darken faint lines; other pages stay exactly as they are."""
    pixels = np.asarray(page)
    level = float(np.percentile(pixels[pixels < _PAPER], _LEVEL)) if (pixels < _PAPER).any() else 0
    if level <= _FAINT:
        return page
    gain = (255 - _DARK) / (255 - level)
    dark = 255 - gain * (255 - pixels.astype(np.float32))
    return Image.fromarray(np.clip(np.rint(dark), 0, 255).astype(np.uint8))


def _in_label_colors(image: Image.Image) -> bool:
    colors = {color for _, color in image.getcolors(len(PALETTE)) or ()}
    return len(colors) > 1 and colors <= set(PALETTE)


def framed(page: Image.Image, align: bool | None = None) -> Image.Image:
    """The square of a page that the drawing fills; white where it leaves the page.

    Args:
        page: mode L, dark lines on white paper.
        align: find the face. None does so unless the page is a square that the drawing fills;
            False takes the whole page.

    Returns:
        Mode L, square; the page itself if it is square and nothing is to be cut away.

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
        geometry = faces.align(page.convert("RGB"), "largest", _ANALYZED_AT)[0].geometry
        if align or geometry.side >= _LEAST_FACE * extent:
            return cut_out(page, np.asarray(geometry.quad, np.float64))
    except (FaceError, WeightsError) as error:
        if align:
            raise
        logger.debug("framed by its lines: %s", error)
    middle = (box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2
    return cut_out(page, _upright(*middle, _MARGIN * extent))


def ink_box(page: Image.Image) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the lines on a page of mode L; the whole of a blank page."""
    ink = 255 - np.asarray(shrunk(page, _ANALYZED_AT), np.float64)
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
    corners = quad + 0.5
    if scale < 1:  # the transform reads only the pixels next to each point
        small = tuple(max(1, round(value * scale)) for value in page.size)
        corners = corners * np.divide(small, page.size)
        page = page.resize(small, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    size = max(_ANALYZED_AT, round(side * scale))
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
