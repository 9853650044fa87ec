"""Small photographs: reading them, and shrinking large ones likewise ("Encoding in Style", 4.4)."""

from __future__ import annotations

import logging

from PIL import Image, ImageOps
from torch import Tensor

from wplus import images
from wplus.errors import ImageError
from wplus.images import WORKING_SIZE
from wplus.sources.kind import FACTORS
from wplus.sources.low_resolution import degrade

logger = logging.getLogger(__name__)

SMALLEST = WORKING_SIZE // FACTORS[-1]
"""Pixels a side of a face shrunk by the largest factor."""


def read_small(given: str) -> Image.Image:
    """`images.read`, down to `SMALLEST` pixels a side instead of its own limit.

    Raises:
        ImageError: the file cannot be read, or is smaller still.
    """
    try:
        return images.read(given)
    except ImageError:
        tiny = _tiny(given)
        if tiny is None:
            raise
        if min(tiny.size) < SMALLEST:
            raise ImageError(
                f"{given}: {tiny.width}x{tiny.height} is too small, there is no face to be seen in"
                f" it; {SMALLEST} pixels a side needed"
            ) from None
        return tiny


def _tiny(path: str) -> Image.Image | None:
    """The picture of a readable file that is only too small for `images.read`."""
    try:
        with Image.open(path, formats=[f for f in images.FORMATS if f in Image.OPEN]) as file:
            if min(file.size) < images.MIN_SIDE and max(file.size) <= WORKING_SIZE:
                return images.to_rgb(ImageOps.exif_transpose(file))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        logger.debug("%s: is not a tiny picture either", path)
    return None


def shrink(photos: Tensor, size: int) -> Tensor:
    """Photographs as super-resolution sees them, at any size: the degradation of training.

    A size of 256 divided by a whole number is exactly `sources.degrade` of the picture at 256².
    Others are shrunk by the nearest whole number from the size that fits it, which is near 256.
    From 171 pixels up that number is 1, and nothing is filtered: it would only blur.

    Args:
        photos: (N, 3, S, S) in [-1, 1].
        size: side of the result, `SMALLEST` to 256.

    Returns:
        (N, 3, size, size) in [-1, 1].

    Raises:
        ImageError: a size out of range.
    """
    if not SMALLEST <= size <= WORKING_SIZE:
        raise ImageError(f"a small face has {SMALLEST} to {WORKING_SIZE} pixels a side, not {size}")
    factor = max(1, round(WORKING_SIZE / size))
    photos = images.resize(photos, size * factor)
    return photos if factor == 1 else degrade((photos + 1) / 2, factor) * 2 - 1
