"""Files and pictures to the encoder's input, whatever the source."""

from __future__ import annotations

import os

from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.sources import holes, shrinking, sketches
from wplus.sources.labels import LABELS, class_numbers, one_hot_labels
from wplus.sources.raw import read_as_stored
from wplus.sources.sizes import check_size

FROM_PICTURES = ("photo", "sketch", "labels", "low_resolution", "masked")


def from_file(
    path: str | os.PathLike[str],
    source: str,
    size: int = 256,
    *,
    factor: int | None = None,
    num_classes: int = len(LABELS),
    bilinear: bool = False,
    mask: str | os.PathLike[str] | Image.Image | None = None,
) -> Tensor:
    """The encoder's input of one file.

    Args:
        path: a photograph, a sketch (also a photograph of one, see `sketches.page`), or a label map
            (class numbers or the colors of `labels.PALETTE`).
        source: one of `FROM_PICTURES`.
        size: side of the encoder's input in pixels. Pictures that are not square are stretched.
        factor: low_resolution only: shrink a sharp photograph by it first. None takes the picture
            as the low-resolution one, whatever its size.
        num_classes: labels only.
        bilinear: labels only, see `one_hot_labels`.
        mask: masked only: a picture of the same size, white where the photograph is removed.
            Without one, the region must be transparent or painted in magenta.

    Returns:
        (1, C, size, size) float32: C = 3 in [-1, 1] for photo, low_resolution and masked (0 in the
        hole), C = 1 in [0, 1] for sketch, C = num_classes, one-hot, for labels.

    Raises:
        ImageError: the file cannot be read, or is no label map, sketch or photograph with a hole
            (the message names it), or `size` is too small to be shrunk by `factor`.
        ConfigError: no such source, or a size, a factor or a number of classes out of range.
    """
    _check_source(source)  # before the file: a wrong setting is not the picture's fault
    check_size(size)
    if source == "masked":
        picture, hole = holes.read_masked(path, mask)
        return holes.masked(images.to_tensor(picture), holes.as_tensor(hole), size)
    if source == "labels":
        picture = read_as_stored(path, exact=True)
    else:
        picture = images.read(path)
        if source != "sketch":
            return from_picture(picture, source, size, factor=factor)
    try:
        return from_picture(picture, source, size, num_classes=num_classes, bilinear=bilinear)
    except ImageError as error:
        raise ImageError(f"{os.fsdecode(path)}: {error}") from error


def from_picture(
    picture: Image.Image,
    source: str,
    size: int = 256,
    *,
    factor: int | None = None,
    num_classes: int = len(LABELS),
    bilinear: bool = False,
    mask: Image.Image | None = None,
) -> Tensor:
    """The encoder's input of a picture that is already read or cropped; see `from_file`.

    Raises:
        ImageError: the picture is no label map, sketch or photograph with a hole.
        ConfigError: no such source, or a size, a factor or a number of classes out of range.
    """
    _check_source(source)
    check_size(size)
    if source == "labels":
        numbers = class_numbers(picture, num_classes)
        return one_hot_labels(numbers, num_classes, size, bilinear=bilinear)
    if source == "sketch":
        return sketches.sketch_input(sketches.page(picture), size)
    pixels = images.to_tensor(picture)
    if source == "masked":
        hole = holes.hole_in(picture) if mask is None else holes.fitting(mask, picture.size)
        if hole is None:
            raise ImageError("nothing is removed from this picture; give a mask")
        return holes.masked(pixels, holes.as_tensor(hole), size)
    if source == "low_resolution" and factor is not None:
        return shrinking.low_resolution(pixels, factor, size)
    return images.resize(pixels, size)


def _check_source(source: str) -> None:
    if source not in FROM_PICTURES:
        known = ", ".join(FROM_PICTURES)
        raise ConfigError(f"no source {source!r} from one picture; there are: {known}")
