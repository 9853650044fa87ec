"""The square of an image that an encoder reads: a face's FFHQ crop, or the middle square."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from wplus import faces, images
from wplus.faces import CropGeometry
from wplus.images import WORKING_SIZE

PREVIEW_SIZE = 512  # pixels a side of an input in comparison sheets


def find_crops(image: Image.Image, align: bool, all_faces: bool = False) -> list[CropGeometry]:
    """The FFHQ crops of the faces, the largest first; without alignment, the middle square.

    Raises:
        FaceError: no face is found.
        WeightsError: the detector cannot be fetched.
    """
    if not align:
        return [faces.middle_square(image.size, WORKING_SIZE)]
    found = faces.find(image, "all" if all_faces else "largest")
    return [faces.from_points(face.points, image.size, WORKING_SIZE) for face in found]


def cut(
    image: Image.Image,
    geometry: CropGeometry,
    size: int = WORKING_SIZE,
    *,
    padding: bool = True,
    oversampling: int = 4,
) -> Image.Image:
    """The square at `size` pixels a side: what every command gives its encoder.

    Args:
        image: that the geometry belongs to.
        geometry: from `find_crops`. The middle square is resampled as training resamples images.
        size: pixels a side.
        padding: see `faces.crop`.
        oversampling: factor of the size at which a face is transformed before it is shrunk.
    """
    if geometry.quad == faces.middle_square(image.size).quad:
        return images.middle_square(image, size)
    placed = replace(geometry, output_size=size)
    return faces.crop(image, placed, transform_size=oversampling * size, padding=padding)
