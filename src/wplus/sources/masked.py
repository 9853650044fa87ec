"""The source of inpainting: a photograph with a region removed.

The region is filled with middle gray, 0 of [-1, 1]. It is near the mean of photographs, so it
disturbs the first layers of an encoder of photographs least; and since no 8-bit level is exactly 0,
a hole differs from gray skin. The input keeps the three channels of a photograph, so weights of
photograph encoders fit.
"""

from __future__ import annotations

import os
import zlib

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter
from torch import Tensor
from torch.nn import functional

from wplus import images
from wplus.errors import ImageError
from wplus.image_files import printable, read_stored
from wplus.sources.kind import (
    File,
    Kind,
    Pixels,
    SourceOptions,
    as_image,
    check_images,
    check_size,
)
from wplus.sources.masks import draw_mask

HOLE = (255, 0, 255)
"""The color in which a region to be removed may be painted: pure magenta."""

_TOLERANCE = 48  # of each channel, for JPEG artifacts
_LEAST = 5e-4  # share of the image; a few magenta pixels are no painted region
_GRAY = 0.2  # share of a mask that may be neither dark nor bright: soft edges
_SOFT = 5  # side of the square by which a painted region grows: brushes have soft edges


class Masked(Kind):
    """A photograph with a hole. Its training files are masks; without files, masks are drawn."""

    def read(self, file: File) -> Image.Image:
        """See `Kind.read`: with its transparency, which is a hole."""
        return read_stored(file)

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        hole = torch.from_numpy(np.array(find_hole(image, options.mask)))
        return remove_region(images.to_tensor(image), hole[None, None], options.size)

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """See `Kind.pixels`: (size, size), 255 where the target is removed."""
        hole = read_mask(file)
        if hole.size == (options.size, options.size):
            return np.asarray(hole)
        levels = torch.from_numpy(np.array(hole, np.float32))[None, None]
        # A pixel is in the hole if any part of it is.
        return np.uint8(255) * (images.resize(levels, options.size)[0, 0] > 0).numpy()

    def paired(self, source: Pixels, target: Pixels, options: SourceOptions) -> Tensor:
        """See `Kind.paired`: the target without the masked region."""
        whole = images.to_tensor(as_image(target))
        return remove_region(whole, torch.from_numpy(source.copy())[None, None])[0]

    def derived(
        self, photo: Pixels, options: SourceOptions, name: str, rng: np.random.Generator | None
    ) -> Tensor:
        """See `Kind.derived`: the mask is drawn; in validation, it follows from the name."""
        if rng is None:
            rng = np.random.default_rng(zlib.crc32(os.fsencode(name)))
        return self.paired(draw_mask(options.size, rng), photo, options)


def remove_region(batch: Tensor, masks: Tensor, size: int | None = None) -> Tensor:
    """Photographs with holes.

    A pixel of the result is gray where any part of it lies in the hole, so that no removed content
    remains visible after shrinking.

    Args:
        batch: (N, 3, H, W) float in [-1, 1].
        masks: (N, 1, H, W) or (1, 1, H, W); the hole is where they are above 0.
        size: side of the result; None keeps H and W.

    Returns:
        (N, 3, size, size) in [-1, 1], 0 in the hole.

    Raises:
        ImageError: the shapes do not fit.
        ConfigError: size below 1.
    """
    check_images(batch, "images with holes")
    count, _, height, width = batch.shape
    if masks.shape not in {(count, 1, height, width), (1, 1, height, width)}:
        raise ImageError(
            f"masks {tuple(masks.shape)} do not fit images {tuple(batch.shape)}:"
            f" ({count}, 1, {height}, {width}) is needed"
        )
    hole = (masks > 0).to(batch)
    if size is not None:
        check_size(size)
        smaller = (min(size, height), min(size, width))
        hole = images.resize(functional.adaptive_max_pool2d(hole, smaller), size)
        batch = images.resize(batch, size)
    return batch * (hole == 0)


def find_hole(image: Image.Image, mask: File | Image.Image | None = None) -> Image.Image:
    """The removed region, mode L with 255 in it: the union of the mask and `hole_in`.

    Args:
        image: as it is stored, with its transparency.
        mask: an image of the same size, white where the photograph is removed.

    Raises:
        ImageError: the mask cannot be read, sizes differ, or nothing or everything is removed.
    """
    hole = hole_in(image)
    if mask is None:
        if hole is None:
            raise ImageError(
                "nothing is removed from it; give a mask, or make the region transparent or pure"
                f" magenta {HOLE}"
            )
        return hole
    if isinstance(mask, Image.Image):
        name, removed = "the mask", _binary(mask)
    else:
        name, removed = printable(mask), read_mask(mask)
    if removed.size != image.size:
        raise ImageError(
            f"{name}: a mask of {removed.width}x{removed.height} does not fit an image of"
            f" {image.width}x{image.height}; make them equal"
        )
    _check_some(removed, name)
    return removed if hole is None else ImageChops.lighter(hole, removed)


def hole_in(image: Image.Image) -> Image.Image | None:
    """The region that is transparent or painted in `HOLE`, mode L with 255 in it; None for none.

    The region is grown by two pixels, because brushes have soft edges.

    Raises:
        ImageError: it is the whole image.
    """
    if image.has_transparency_data:
        removed = np.asarray(image.convert("RGBA").getchannel("A")) < 128
    else:
        colors = np.asarray(images.to_rgb(image)).astype(np.int16)
        removed = np.all(np.abs(colors - np.array(HOLE, np.int16)) <= _TOLERANCE, axis=2)
    if removed.mean() < _LEAST:
        return None
    grown = Image.fromarray(np.uint8(255) * removed).filter(ImageFilter.MaxFilter(_SOFT))
    if np.asarray(grown).all():
        raise ImageError("everything is removed; leave some of the image")
    return grown


def read_mask(path: File) -> Image.Image:
    """Mode L, 255 where the file is bright and opaque, else 0.

    Raises:
        ImageError: the file cannot be read, is gray (a photograph), or is all dark or all bright.
    """
    stored, name = read_stored(path), printable(path)
    mask = _binary(stored)
    _check_some(mask, name)
    levels = np.asarray(images.to_rgb(stored).convert("L"))
    gray = float(((levels > 48) & (levels < 208)).mean())
    if gray > _GRAY:
        raise ImageError(
            f"{name}: is no mask, {gray:.0%} of it is gray; white is removed, black is kept"
        )
    return mask


def _binary(mask: Image.Image) -> Image.Image:
    """Mode L, 255 where the mask is bright and opaque, else 0."""
    bright = np.asarray(images.to_rgb(mask).convert("L")) >= 128
    if mask.has_transparency_data:
        bright = bright & (np.asarray(mask.convert("RGBA").getchannel("A")) >= 128)
    return Image.fromarray(np.uint8(255) * bright)


def _check_some(mask: Image.Image, name: str) -> None:
    low, high = mask.getextrema()
    if low == high:
        what = "everything" if high else "nothing"
        raise ImageError(f"{name}: a mask that removes {what}; white is removed, black is kept")
