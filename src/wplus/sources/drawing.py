"""A drawing as people have it to one as an encoder learned them: on white, dark, in its frame."""

from __future__ import annotations

import logging
import os

import numpy as np
from PIL import Image

from wplus import images
from wplus.errors import ImageError
from wplus.sources.framing import framed
from wplus.sources.kind import File, naming
from wplus.sources.label_colors import PALETTE
from wplus.sources.stored import read_as_stored
from wplus.sources.whitening import whitened

logger = logging.getLogger(__name__)

_LARGEST = 2048  # longer side of an analyzed page: a face in its middle still has 500
_COUNTED_AT = 256
_MARK = 235  # what is darker is no paper
_LINES = 0.002  # share of the page that is lines, at least: one stroke across half of it
_FAINT = 130  # gray of the lines from which on they are made darker
_DARK = 60  # and what they become
_LEVEL = 10  # percentile of the lines' pixels that is their gray: most are half paper


def read_drawing(file: File, align: bool | None = None) -> Image.Image:
    """A file as `clean_drawing` takes it; messages name the file.

    Raises:
        ImageError: the file cannot be read, or see `clean_drawing`.
        FaceError, WeightsError: see `clean_drawing`.
    """
    stored = read_as_stored(file)
    with naming(file):
        return clean_drawing(stored, align, os.fsdecode(file))


def clean_drawing(
    stored: Image.Image, align: bool | None = None, name: str = "the drawing"
) -> Image.Image:
    """A drawing as people have it to one as `sketch_input` takes it.

    Badly lit paper becomes white and faint pencil dark, light lines on a dark ground are inverted
    (which is logged as a warning), and a drawing in the middle of a larger sheet is cut out.

    Args:
        stored: drawn, scanned or photographed, with its transparency.
        align: see `framed`.
        name: for the warning.

    Returns:
        Mode L, square: dark lines on white.

    Raises:
        ImageError: it looks like a photograph or a label map, or is blank.
        FaceError: align is True, and there is no face.
        WeightsError: align is True, and the detector cannot be fetched.
    """
    image = images.to_rgb(stored).copy()
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
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
    size = tuple(min(_COUNTED_AT, side) for side in page.size)
    small = np.asarray(page.resize(size, Image.Resampling.BOX))  # type: ignore[arg-type]
    return float((small < _MARK).mean()) < _LINES


def _from_transparency(stored: Image.Image) -> Image.Image | None:
    """White lines on a transparent ground, which vanish on white; None if none is transparent."""
    if not stored.has_transparency_data:
        return None
    alpha = stored.convert("RGBA").getchannel("A")
    alpha.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    page, _ = whitened(Image.eval(alpha, lambda value: 255 - value))
    return page


def _darkened(page: Image.Image) -> Image.Image:
    """Faint lines as dark as most are; others stay exactly as they are."""
    pixels = np.asarray(page)
    level = float(np.percentile(pixels[pixels < _MARK], _LEVEL)) if (pixels < _MARK).any() else 0
    if level <= _FAINT:
        return page
    gain = (255 - _DARK) / (255 - level)
    dark = 255 - gain * (255 - pixels.astype(np.float32))
    return Image.fromarray(np.clip(np.rint(dark), 0, 255).astype(np.uint8))


def _in_label_colors(image: Image.Image) -> bool:
    colors = image.getcolors(len(PALETTE))
    if colors is None:
        return False
    found = {color for _, color in colors}
    return len(found) > 1 and found <= set(PALETTE)
