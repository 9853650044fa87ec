"""What a kind of source implements: a file to an image, an image to the encoder's input."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError

File = str | os.PathLike[str]
Pixels = NDArray[Any]
"""(size, size) or (size, size, 3) integers: what training keeps of a file in memory."""

FACTORS = (1, 2, 4, 8, 16, 32)
"""By how much super-resolution training shrinks, one factor per image, drawn uniformly."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is made.

    Attributes:
        size: side of the encoder's input in pixels. Images that are not square are stretched.
        channels: of the encoder's input; None for the kind's own number. For labels, the number of
            classes; a photograph with 1 is gray.
        bilinear: labels only, see `labels.one_hot_labels`.
        label_order: labels only: what the numbers mean, one of `faces.labels.ORDERS`; empty for the
            order of the model.
        factor: low_resolution only: shrink a sharp photograph by it first. None takes the image as
            the low-resolution one, whatever its size.
        factors: low_resolution only: those that training draws from.
        mask: masked only: an image of the same size, white where the photograph is removed, besides
            what is transparent or painted in `masked.HOLE`.

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
    """One kind of source. A subclass needs `tensor`, and the rest where it differs."""

    def read(self, file: File) -> Image.Image:
        """The image of a file, as `tensor` takes it.

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
        """An encoder's input (C, H, W) as an RGB image for people.

        By default its first three channels are colors in [-1, 1]; of one or two, the first is gray.
        """
        return images.to_picture(source[:3] if len(source) > 2 else source[:1].expand(3, -1, -1))

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """A training file at the encoder's size. Raises ImageError."""
        return np.asarray(images.resample(self.read(file), options.size))

    def mirror(self, pixels: Pixels, options: SourceOptions) -> Pixels:
        """Left and right exchanged."""
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
            options: how.
            name: of the example; in validation it decides everything random.
            rng: None in validation.
        """
        return self.paired(photo, photo, options)


@contextmanager
def naming(file: File) -> Iterator[None]:
    """Put the file's name before an ImageError about its content."""
    try:
        yield
    except ImageError as error:
        name = os.fsdecode(file)
        raise ImageError(
            str(error) if str(error).startswith(f"{name}: ") else f"{name}: {error}"
        ) from error


def as_image(pixels: Pixels) -> Image.Image:
    """Pixels as an image, also where they are a mirrored view."""
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
