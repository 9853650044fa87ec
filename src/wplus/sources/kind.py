"""The interface of a kind of source, its plainest kind (photographs), and files to inputs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.image_files import printable
from wplus.sources.registry import SOURCES

File = str | os.PathLike[str]
Pixels = NDArray[Any]
"""(size, size) or (size, size, 3) integers: a training file, decoded, as it is kept in memory."""

FACTORS = (1, 2, 4, 8, 16, 32)
"""Shrinking factors of super-resolution training; one is drawn uniformly for each image."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How an image becomes the encoder's input.

    Attributes:
        size: side of the encoder's input in pixels. Images that are not square are stretched.
        channels: of the encoder's input; None for the kind's own number. For labels, the number of
            classes; photographs with 1 channel are gray.
        bilinear: labels only, see `labels.one_hot_labels`.
        label_order: labels only: the order of the class numbers, one of `faces.labels.ORDERS`;
            empty for that of the model.
        factor: low_resolution only: shrink a sharp photograph by this factor first. None takes the
            image itself as the low-resolution input, at any size.
        factors: low_resolution only: the factors that training draws from.
        mask: masked only: an image of the same size, white where the photograph is removed; added
            to regions that are transparent or painted in `masked.HOLE`.

    Raises:
        ConfigError: a value is out of range.
    """

    size: int = 256
    channels: int | None = None
    bilinear: bool = False
    label_order: str = ""
    factor: int | None = None
    factors: tuple[int, ...] = FACTORS
    mask: File | Image.Image | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        check_size(self.size)
        if not self.factors or min(self.factors) < 1 or self.channels == 0:
            raise ConfigError("factors and channels must be 1 or more")


class Kind(ABC):
    """One kind of source. A subclass implements `tensor` and overrides the rest where it differs.

    Messages of ImageErrors about an image's content do not name the file; the caller adds it.
    """

    def read(self, file: File) -> Image.Image:
        """The image of a file, in the form that `tensor` takes.

        Raises:
            ImageError: the file cannot be read.
        """
        return images.read(file)

    @abstractmethod
    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """The encoder's input (1, C, size, size) float32 of an image that is already cropped.

        Raises:
            ImageError: the image is not of this kind.
            ConfigError: an option is out of range.
        """

    def preview(self, source: Tensor) -> Image.Image:
        """An encoder's input (C, H, W) as an RGB image for display.

        By default its first three channels are colors in [-1, 1]; of one or two, the first is gray.
        """
        return images.to_picture(source[:3] if len(source) > 2 else source[:1].expand(3, -1, -1))

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """A training file, decoded, at the encoder's size. Raises ImageError."""
        return np.asarray(images.resample(self.read(file), options.size))

    def mirror(self, pixels: Pixels, options: SourceOptions) -> Pixels:
        """Exchange left and right."""
        return pixels[:, ::-1]

    def paired(self, source: Pixels, target: Pixels, options: SourceOptions) -> Tensor:
        """The encoder's input (C, size, size) of a pair of training files."""
        return self.tensor(as_image(source), options)[0]

    def derived(
        self, photo: Pixels, options: SourceOptions, name: str, rng: np.random.Generator | None
    ) -> Tensor:
        """The encoder's input (C, size, size) of a training photograph that is source and target.

        Args:
            photo: (size, size, 3).
            options: of the encoder's input.
            name: of the example; in validation it seeds everything random.
            rng: None in validation.
        """
        return self.paired(photo, photo, options)


class Photo(Kind):
    """A photograph in [-1, 1], in color, or gray for an encoder with one channel."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        image = images.resample(image, options.size)
        if options.channels == 1:
            return images.to_tensor(image.convert("L"))[:, :1]
        if options.channels not in (None, 3):
            raise ConfigError(f"a photograph has 3 channels or 1, not {options.channels}")
        return images.to_tensor(image)


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
        ConfigError: there is no such source, or an option is out of range.
    """
    image = SOURCES.find(source).kind.read(file)
    try:
        return from_image(image, source, size, **options)
    except ImageError as error:
        raise named(error, file) from error


def from_image(image: Image.Image, source: str, size: int = 256, **options: Any) -> Tensor:
    """The encoder's input of an image that is already read and cropped; see `from_file`.

    Raises:
        ImageError: the image is not of this kind.
        ConfigError: there is no such source, or an option is out of range.
    """
    return SOURCES.find(source).kind.tensor(image, SourceOptions(size=size, **options))


def named(error: ImageError, file: File) -> ImageError:
    """An error about the content of a file, with the file's name in front."""
    name = printable(file)
    return error if str(error).startswith(f"{name}: ") else ImageError(f"{name}: {error}")


def as_image(pixels: Pixels) -> Image.Image:
    """Pixels as an image; they may be a mirrored view."""
    return Image.fromarray(np.ascontiguousarray(pixels))


def check_size(size: int) -> None:
    """Raises ConfigError for a size below 1."""
    if size < 1:
        raise ConfigError(f"the encoder's input cannot be {size} pixels wide; use 1 or more")


def check_images(batch: Tensor, what: str) -> None:
    """Raises ImageError for anything but a float tensor (N, C, H, W)."""
    if batch.ndim != 4 or not batch.is_floating_point():
        raise ImageError(
            f"{what} are a float tensor (N, C, H, W), not {batch.dtype} {tuple(batch.shape)}"
        )
