"""The square of a photograph that is translated: the face's, or the picture's middle."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from wplus import faces
from wplus.faces import CropGeometry
from wplus.images import WORKING_SIZE as SIZE


def square_of(picture: Image.Image, align: bool) -> CropGeometry:
    """The FFHQ square of the largest face, or the middle square of a picture that is a crop.

    Raises:
        FaceError: no face is found.
        WeightsError: the detector cannot be fetched.
    """
    if align:
        return faces.align(picture, "largest", SIZE)[0].geometry
    side = min(picture.size)
    left, top = (picture.width - side) // 2 - 0.5, (picture.height - side) // 2 - 0.5
    right, bottom = left + side, top + side
    quad = ((left, top), (left, bottom), (right, bottom), (right, top))
    return CropGeometry(quad, picture.size, SIZE)


def cut(
    picture: Image.Image, geometry: CropGeometry, size: int = SIZE, *, padding: bool = True
) -> Image.Image:
    """The square at `size` pixels a side; untouched where that is what it has already.

    Args:
        picture: what the geometry belongs to.
        geometry: the square.
        size: pixels a side.
        padding: see `faces.crop`.
    """
    (left, top), _, (right, bottom), _ = geometry.quad
    upright = geometry.quad[0][0] == geometry.quad[1][0]
    whole = all(float(value + 0.5).is_integer() for value in (left, top, right, bottom))
    if upright and whole and geometry.side == size:
        box = (left + 0.5, top + 0.5, right + 0.5, bottom + 0.5)
        inside = min(box) >= 0 and box[2] <= picture.width and box[3] <= picture.height
        if inside:
            return picture.crop(tuple(map(int, box)))  # type: ignore[arg-type]
    placed = replace(geometry, output_size=size)
    return faces.crop(picture, placed, transform_size=4 * size, padding=padding)
