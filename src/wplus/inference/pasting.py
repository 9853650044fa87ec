"""An output laid back into the photograph that its input was cut out of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wplus import codes as code_files
from wplus import images
from wplus.errors import ConfigError, FaceError
from wplus.faces import CropGeometry
from wplus.faces.parser import FaceParser, load_parser
from wplus.faces.paste import FEATHER, paste
from wplus.faces.regions import REGIONS, paste_mask
from wplus.images import WORKING_SIZE
from wplus.inference.destination import refuse_inputs

LARGEST = 8192  # pixels a side of an enlarged photograph


def paste_back(
    photograph: Image.Image,
    generated: Image.Image,
    geometry: CropGeometry,
    factor: float | None = None,
) -> Image.Image:
    """The photograph with the output in place of the face.

    The mask is the face that the parser finds in the photograph or in the output, or an ellipse
    where it finds none.

    Args:
        photograph: upright, RGB.
        generated: the generator's image.
        geometry: where the face was cut out.
        factor: of super-resolution: the photograph is enlarged by it, so that the face has 256
            pixels.

    Raises:
        FaceError: the enlarged photograph would have more than `LARGEST` pixels a side.
        WeightsError: the face parser cannot be fetched.
    """
    if factor is None:
        face = paste_mask("face", photograph, generated, geometry, _parser())
        return paste(photograph, generated, geometry, mask=face)
    if factor > 1:
        photograph, geometry = _enlarged(photograph, geometry, factor)
    # The whole square is consistent with the small photograph, so hair may be replaced as well.
    return paste(
        photograph, generated, geometry, mask=np.ones((WORKING_SIZE, WORKING_SIZE), np.bool_)
    )


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
    return larger, CropGeometry(quad, size, WORKING_SIZE)  # type: ignore[arg-type]


def paste_file(
    photo: Path,
    result: Path,
    codes: Path,
    out: Path,
    mask: str = "face",
    feather: float = FEATHER,
    match_light: bool = True,
) -> None:
    """Write a photograph with an image of its crop laid back into it.

    Args:
        photo: the photograph's file.
        result: a square image of its crop.
        codes: the codes file that says where the crop is.
        out: file to write.
        mask: a name of `faces.regions.REGIONS`, or a square image, white where the result shows.
        feather, match_light: see `faces.paste.paste`.

    Raises:
        ConfigError: the codes file has no crop, or `out` is one of the inputs.
        FaceError: the crop is of another photograph, or the mask is empty.
        ImageError: a file cannot be read or written.
        WeightsError: the face parser cannot be fetched.
    """
    refuse_inputs(out, [photo, result, codes, mask])
    original, image = images.read(photo), images.read(result)
    _, metadata = code_files.load(codes)
    if not isinstance(metadata.get("crop"), dict):
        raise ConfigError(f"{codes}: has no crop; wplus invert writes such files")
    try:
        geometry = CropGeometry.from_dict(metadata["crop"])
        if mask in REGIONS:
            area: Any = paste_mask(mask, original, image, geometry)
        else:
            area = images.read(mask).convert("L")
        pasted = paste(
            original, image, geometry, mask=area, feather=feather, match_light=match_light
        )
    except FaceError as error:
        raise FaceError(f"{photo}: {error}") from error
    images.save(pasted, out)
