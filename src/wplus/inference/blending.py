"""Filling a region of a photograph without a seam, and without touching a pixel outside of it.

What the generator made of the region is shifted by the smooth function (a membrane) that equals,
all around the region, the difference between the surroundings and what was made: Pérez et al. 2003,
"Poisson Image Editing". `faces.paste` fades from one picture to the other instead, which needs to
know both; in a hole there is nothing to fade from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import ImageError
from wplus.faces import CropGeometry
from wplus.faces.paste import membrane

Hole = NDArray[np.bool_]
Floats = NDArray[np.float32]
Box = tuple[int, int, int, int]  # left, top, right, bottom


def without(picture: Image.Image, hole: Hole) -> Image.Image:
    """The picture (RGB) with the hole (H, W) filled smoothly from its rim.

    Raises:
        ImageError: the hole is the whole picture.
    """
    box = _window(hole)
    return _with(picture, hole, membrane(_levels(picture, box), ~_cut(hole, box)))


def fill(
    picture: Image.Image, hole: Hole, made: Image.Image, geometry: CropGeometry
) -> Image.Image:
    """The picture with the hole filled by what was made of its crop, without a seam.

    Args:
        picture: RGB.
        hole: (H, W) of the picture, within the crop.
        made: what the generator made of the crop, square, of any size.
        geometry: where the crop is.

    Returns:
        The picture at its own size; equal to `picture` outside of the hole.

    Raises:
        ImageError: the hole is the whole picture.
    """
    box = _window(hole)
    other: Floats = np.asarray(laid_out(made, geometry, box), np.float32)
    offset: Floats = membrane(_levels(picture, box) - other, ~_cut(hole, box))
    return _with(picture, hole, other + offset)


def laid_out(made: Image.Image, geometry: CropGeometry, box: Box) -> Image.Image:
    """A square picture of the crop as it lies in a box of the photograph."""
    side = max(1, round(geometry.side))
    if made.width > side:  # the transform below reads few pixels: smooth first
        made = made.resize((side, side), Image.Resampling.LANCZOS)
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5)]) + np.array(box[:2])
    share = (geometry.from_picture(corners) + 0.5) / geometry.output_size * made.width
    (x, y), (dx, dy), (ex, ey) = share[0], share[1] - share[0], share[2] - share[0]
    return made.transform(
        (box[2] - box[0], box[3] - box[1]),
        Image.Transform.AFFINE,
        (dx, ex, x, dy, ey, y),
        Image.Resampling.BICUBIC,
    )


def hatched(picture: Image.Image, hole: Hole) -> Image.Image:
    """The picture with stripes of gray where the hole is, for people."""
    rows, columns = np.indices(hole.shape)
    width = max(2, min(hole.shape) // 64)
    stripes = np.where((rows + columns) // width % 2, 170, 130).astype(np.uint8)
    pixels = np.array(picture)
    pixels[hole] = stripes[hole][:, None]
    return Image.fromarray(pixels)


def _window(hole: Hole) -> Box:
    """The hole's box and a rim of one pixel, within the picture: all that the membrane looks at."""
    if hole.all():
        raise ImageError("everything is missing, so there is nothing to continue")
    rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    height, width = hole.shape
    left, right = max(0, int(columns[0]) - 1), min(width, int(columns[-1]) + 2)
    top, bottom = max(0, int(rows[0]) - 1), min(height, int(rows[-1]) + 2)
    return left, top, right, bottom


def _cut(hole: Hole, box: Box) -> Hole:
    left, top, right, bottom = box
    return hole[top:bottom, left:right]


def _levels(picture: Image.Image, box: Box) -> Floats:
    return np.asarray(picture.crop(box), np.float32)


def _with(picture: Image.Image, hole: Hole, values: Floats) -> Image.Image:
    """The picture with the values of the hole's window where the hole is."""
    box = _window(hole)
    part, missing = np.array(picture.crop(box)), _cut(hole, box)
    part[missing] = np.clip(np.rint(values), 0, 255).astype(np.uint8)[missing]
    filled = picture.copy()
    filled.paste(Image.fromarray(part), box[:2])
    return filled
