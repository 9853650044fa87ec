"""Filling a hole in a photograph without a seam and without changing a pixel outside of it.

The generator's pixels in the hole are shifted by the smooth function (a membrane) that equals, all
around the hole, the difference between the surroundings and the generator's image: Pérez et al.
2003, "Poisson Image Editing". `faces.paste` fades from one image to the other instead, which needs
both; in a hole there is nothing to fade from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import FaceError, ImageError
from wplus.faces import CropGeometry
from wplus.faces.paste import membrane
from wplus.inference.options import Box

Hole = NDArray[np.bool_]
"""(H, W) of a photograph, True where it is missing."""
Floats = NDArray[np.float32]
Window = tuple[int, int, int, int]  # left, top, right, bottom


def mask_of_box(box: Box, size: tuple[int, int]) -> Image.Image:
    """A mask (mode L, white in the box) for a photograph of this size.

    Raises:
        ImageError: the box reaches out of the photograph, or covers all of it.
    """
    left, top, width, height = box
    if left + width > size[0] or top + height > size[1]:
        raise ImageError(
            f"--box {','.join(map(str, box))} reaches out of the photograph, which is"
            f" {size[0]}x{size[1]}"
        )
    if (left, top, width, height) == (0, 0, *size):
        raise ImageError("--box covers all of it, nothing is left to go by")
    mask = Image.new("L", size)
    mask.paste(255, (left, top, left + width, top + height))
    return mask


def check_inside(hole: Hole, geometry: CropGeometry) -> None:
    """Refuse a hole that reaches out of the crop: the generator's image does not cover it.

    Raises:
        FaceError: it does.
    """
    rows, columns = np.nonzero(hole)
    places = geometry.from_picture(np.stack([columns, rows], axis=1))
    if places.min() < -0.5 or places.max() > geometry.output_size - 0.5:
        raise FaceError(
            "the hole reaches out of the square around the face, where nothing can be generated;"
            " keep it near the face, or crop the photograph and use --no-align"
        )


def fill_smoothly(image: Image.Image, hole: Hole) -> Image.Image:
    """The image (RGB) with the hole filled smoothly from its rim.

    Raises:
        ImageError: the hole is the whole image.
    """
    window = _window(hole)
    known = ~_cut(hole, window)
    return _with(image, hole, membrane(_levels(image, window), known))


def fill(
    image: Image.Image, hole: Hole, geometry: CropGeometry, generated: Image.Image
) -> Image.Image:
    """The image with the hole filled by the generator's image of its crop, without a seam.

    Args:
        image: RGB.
        hole: within the crop.
        geometry: where the crop is.
        generated: the generator's image of the crop, square, of any size.

    Returns:
        The image at its own size; equal to `image` outside of the hole.

    Raises:
        ImageError: the hole is the whole image.
    """
    window = _window(hole)
    other: Floats = np.asarray(placed(generated, geometry, window), np.float32)
    offset: Floats = membrane(_levels(image, window) - other, ~_cut(hole, window))
    return _with(image, hole, other + offset)


def placed(square: Image.Image, geometry: CropGeometry, window: Window) -> Image.Image:
    """A square image of the crop as it lies in a window of the photograph."""
    side = max(1, round(geometry.side))
    if square.width > side:  # the transform below reads few pixels: smooth first
        square = square.resize((side, side), Image.Resampling.LANCZOS)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5)]) + np.array(window[:2])
    share = (geometry.from_picture(corners) + 0.5) / geometry.output_size * square.width
    (x, y), (dx, dy), (ex, ey) = share[0], share[1] - share[0], share[2] - share[0]
    return square.transform(
        (window[2] - window[0], window[3] - window[1]),
        Image.Transform.AFFINE,
        (dx, ex, x, dy, ey, y),
        Image.Resampling.BICUBIC,
    )


def hatched(image: Image.Image, hole: Hole) -> Image.Image:
    """The image with gray stripes in the hole, for people."""
    rows, columns = np.indices(hole.shape)
    width = max(2, min(hole.shape) // 64)
    stripes = np.where((rows + columns) // width % 2, 170, 130).astype(np.uint8)
    pixels = np.array(image)
    pixels[hole] = stripes[hole][:, None]
    return Image.fromarray(pixels)


def _window(hole: Hole) -> Window:
    """The hole and a rim of one pixel, within the image: all that the membrane needs."""
    if hole.all():
        raise ImageError("everything is missing, so there is nothing to continue")
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    height, width = hole.shape
    left, right = max(0, int(columns[0]) - 1), min(width, int(columns[-1]) + 2)
    top, bottom = max(0, int(rows[0]) - 1), min(height, int(rows[-1]) + 2)
    return left, top, right, bottom


def _cut(hole: Hole, window: Window) -> Hole:
    left, top, right, bottom = window
    return hole[top:bottom, left:right]


def _levels(image: Image.Image, window: Window) -> Floats:
    return np.asarray(image.crop(window), np.float32)


def _with(image: Image.Image, hole: Hole, values: Floats) -> Image.Image:
    """The image with the values of the hole's window where the hole is."""
    window = _window(hole)
    part, missing = np.array(image.crop(window)), _cut(hole, window)
    part[missing] = np.clip(np.rint(values), 0, 255).astype(np.uint8)[missing]
    filled = image.copy()
    filled.paste(Image.fromarray(part), window[:2])
    return filled
