"""The source of super-resolution: photographs shrunk as in the published training."""

from __future__ import annotations

import os
import zlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.sources.kind import Kind, Pixels, SourceOptions, as_image, check_images, check_size


class LowResolution(Kind):
    """A small photograph enlarged to the encoder's size, or a sharp one shrunk first."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        pixels = images.to_tensor(image)
        if options.factor is None:
            return images.resize(pixels, options.size)
        return shrink_and_enlarge(pixels, options.factor, options.size)

    def derived(
        self, photo: Pixels, options: SourceOptions, name: str, rng: np.random.Generator | None
    ) -> Tensor:
        """See `Kind.derived`: the factor is drawn; in validation, it follows from the name."""
        number = zlib.crc32(os.fsencode(name)) if rng is None else int(rng.integers(1 << 32))
        factor = options.factors[number % len(options.factors)]
        return shrink_and_enlarge(images.to_tensor(as_image(photo)), factor, options.size)[0]


def degrade(batch: Tensor, factor: int) -> Tensor:
    """Shrink as in super-resolution training: bicubic with antialiasing, on centers of cells.

    Separable and normalized, with the kernel of a = -1/2 stretched by the factor to a support of
    4·factor pixels; borders are mirrored. Factor 1 is filtered too, which shifts the image by half
    a pixel and softens it, as in the training of the published checkpoints. (Their result was
    also truncated to 8 bits, which darkens by half a level and is left out here.)

    Args:
        batch: (N, C, H, W) float in [0, 1].
        factor: a whole number; of sides that are no multiple of it, the remainder is cut off.

    Returns:
        (N, C, H // factor, W // factor) in [0, 1].

    Raises:
        ImageError: another shape, integers, or sides of 1.5·factor pixels or less.
        ConfigError: a factor below 1.
    """
    if factor < 1:
        raise ConfigError(f"an image cannot be shrunk by {factor}; use a factor of 1 or more")
    check_images(batch, "images to shrink")
    count, channels, height, width = batch.shape
    before = 3 * factor // 2
    after = 3 * factor - before
    if min(height, width) <= after:
        raise ImageError(f"{height}x{width} pixels are too few to shrink by {factor}")
    kernel = _bicubic(factor).to(batch)
    x = batch.reshape(count * channels, 1, height, width)
    x = functional.pad(x, (before, after, before, after), mode="reflect")
    x = functional.conv2d(x, kernel.view(1, 1, -1, 1), stride=(factor, 1))
    x = functional.conv2d(x, kernel.view(1, 1, 1, -1), stride=(1, factor))
    return x.reshape(count, channels, *x.shape[2:]).clamp(0, 1)


def _bicubic(factor: int) -> Tensor:
    """(4·factor,) float64 weights that sum to one: Keys' cubic with a = -1/2, sampled mid-cell."""
    a = -0.5
    x = ((torch.arange(4 * factor, dtype=torch.float64) + 0.5) / factor - 2).abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    weights = torch.where(x <= 1, near, far)
    return weights / weights.sum()


def shrink_and_enlarge(batch: Tensor, factor: int, size: int = 256) -> Tensor:
    """The source of super-resolution: `degrade`, then enlarged back bilinearly.

    Args:
        batch: (N, C, H, W) float in [-1, 1]; resized to `size` first, so that the factor refers
            to the encoder's input.
        factor: one of `FACTORS`, or any other that leaves enough pixels.
        size: side of the result.

    Returns:
        (N, C, size, size) in [-1, 1].

    Raises:
        ImageError: another shape, integers, or a size of 1.5·factor pixels or less.
        ConfigError: a size or a factor below 1.
    """
    check_images(batch, "images to shrink")
    check_size(size)
    shrunk = degrade((images.resize(batch, size) + 1) / 2, factor)
    return images.resize(shrunk * 2 - 1, size)
