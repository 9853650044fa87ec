"""Files and images to the encoder's input, whatever the kind of source."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from wplus.sources.kind import File, SourceOptions, naming
from wplus.sources.registry import SOURCES


def from_file(file: File, source: str, size: int = 256, **options: Any) -> Tensor:
    """The encoder's input of one file.

    Args:
        file: a photograph, a sketch (also a photograph of one, see `whitening.page`), or a label
            map (class numbers or the colors of `label_colors.PALETTE`).
        source: a name of `SOURCES`.
        size: side of the encoder's input in pixels.
        options: see `SourceOptions`.

    Returns:
        (1, C, size, size) float32: C = 3 in [-1, 1] for photo, low_resolution and masked (0 in the
        hole), C = 1 in [0, 1] for sketch, C = classes, one-hot, for labels.

    Raises:
        ImageError: the file cannot be read, or is not of this kind (the message names it).
        ConfigError: no such source, or an option out of range.
    """
    row, settings = SOURCES.find(source), SourceOptions(size=size, **options)
    image = row.kind.read(file)
    with naming(file):
        return row.kind.tensor(image, settings)


def from_image(image: Image.Image, source: str, size: int = 256, **options: Any) -> Tensor:
    """The encoder's input of an image that is already read or cropped; see `from_file`.

    Raises:
        ImageError: the image is not of this kind.
        ConfigError: no such source, or an option out of range.
    """
    row = SOURCES.find(source)
    return row.kind.tensor(image, SourceOptions(size=size, **options))
