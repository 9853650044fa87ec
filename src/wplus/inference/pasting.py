"""An answer back in the photograph that its input was cut out of."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from wplus.errors import FaceError
from wplus.faces import CropGeometry
from wplus.faces.parser import FaceParser, load_parser
from wplus.faces.paste import paste
from wplus.faces.regions import paste_mask
from wplus.images import WORKING_SIZE as SIZE

LARGEST = 8192  # pixels a side of an enlarged photograph


def put_back(
    photograph: Image.Image, made: Image.Image, geometry: CropGeometry, factor: float | None = None
) -> Image.Image:
    """The photograph with the answer in the place of the face.

    What is replaced is what the face parser sees as face in the photograph or in the answer, or an
    ellipse where it sees none.

    Args:
        photograph: upright, RGB.
        made: the generator's picture.
        geometry: where the face was cut out.
        factor: super-resolution's: the photograph is enlarged by it, so that the face has 256
            pixels and its surroundings what goes with them.

    Raises:
        FaceError: the enlarged photograph would have more than `LARGEST` pixels a side.
        WeightsError: the face parser cannot be fetched.
    """
    if factor is None:
        face = paste_mask("face", photograph, made, geometry, _parser())
        return paste(photograph, made, geometry, mask=face)
    if factor > 1:
        photograph, geometry = _enlarged(photograph, geometry, factor)
    # All of the square agrees with the small photograph, so sharp hair need not end at the face.
    return paste(photograph, made, geometry, mask=np.ones((SIZE, SIZE), np.bool_))


@cache
def _parser() -> FaceParser:
    return load_parser()


def _enlarged(
    photograph: Image.Image, geometry: CropGeometry, factor: float
) -> tuple[Image.Image, CropGeometry]:
    size = round(photograph.width * factor), round(photograph.height * factor)
    if max(size) > LARGEST:
        raise FaceError(
            f"--paste would enlarge the photograph to {size[0]}x{size[1]} pixels;"
            f" crop it so that {LARGEST} a side are enough"
        )
    scale = np.array(size) / photograph.size
    quad = tuple(tuple(point) for point in (np.array(geometry.quad) + 0.5) * scale - 0.5)
    larger = photograph.resize(size, Image.Resampling.BICUBIC)
    return larger, CropGeometry(quad, size, SIZE)  # type: ignore[arg-type]
