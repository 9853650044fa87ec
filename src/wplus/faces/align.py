"""Photograph to aligned faces: detection and crop in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from wplus.errors import FaceError
from wplus.faces.crop import crop
from wplus.faces.detector import Face, detect
from wplus.faces.geometry import CropGeometry, from_points
from wplus.images import to_rgb

Which = Literal["largest", "all"]


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """The FFHQ crop of a face.

    Attributes:
        image: the crop, RGB.
        geometry: its position in the photograph, with which a result can be pasted back.
        face: the detection.
    """

    image: Image.Image
    geometry: CropGeometry
    face: Face


def find(image: Image.Image, which: Which = "largest") -> list[Face]:
    """The largest face of an upright image, or all of them, the largest first.

    Raises:
        FaceError: no face is found.
        WeightsError: the detector cannot be fetched.
    """
    faces = detect(image)
    if not faces:
        raise FaceError(
            "no face found; if this is an aligned face already or needs no alignment,"
            " use --no-align"
        )
    return faces[:1] if which == "largest" else faces


def align(
    image: Image.Image,
    which: Which = "largest",
    output_size: int = 256,
    recipe: Literal["ffhq", "psp"] = "ffhq",
) -> list[AlignedFace]:
    """The FFHQ crops of the faces in an upright image, the largest first.

    Args:
        image: any Pillow image; `wplus.images.read` gives upright ones.
        which: the largest face only, or every face.
        output_size: pixels a side of a crop.
        recipe: "ffhq" transforms at four times the output size and shrinks, as FFHQ was made, on
            which generators and encoders are trained; "psp" transforms at the output size, as the
            published pSp does, which leaves some aliasing.

    Raises:
        FaceError: no face is found.
        WeightsError: the detector cannot be fetched.
    """
    if image.mode != "RGB":
        image = to_rgb(image)
    transform_size = {"ffhq": 4, "psp": 1}[recipe] * output_size
    aligned = []
    for face in find(image, which):
        geometry = from_points(face.points, image.size, output_size)
        square = crop(image, geometry, transform_size=transform_size)
        aligned.append(AlignedFace(square, geometry, face))
    return aligned
