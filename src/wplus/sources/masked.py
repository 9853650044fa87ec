"""The source of inpainting: a photograph with a region removed.

The region is filled with middle gray, 0 of [-1, 1]. It is what the mean of photographs is near to,
so that the first layers of an encoder that knows photographs are disturbed least; and since no
level of 8 bits is exactly 0, a hole is told from gray skin. The three channels of a photograph are
kept, and with them the weights of encoders that read photographs.
"""

from __future__ import annotations

import os
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

from wplus import images
from wplus.errors import ImageError
from wplus.sources.kind import (
    File,
    Kind,
    Pixels,
    SourceOptions,
    as_image,
    check_images,
    check_size,
    naming,
)
from wplus.sources.masks import draw_mask
from wplus.sources.stored import read_as_stored

HOLE = (255, 0, 255)
"""The color in which a region may be painted that is to be removed: pure magenta."""

_TOLERANCE = 48  # of each channel, for what JPEG does to it
_LEAST = 5e-4  # share of the image; a few magenta pixels are no painted region
_GRAY = 0.2  # share of a mask that may be neither dark nor bright: soft edges
_SOFT = 5  # side of the square by which a painted region grows: brushes have soft edges


class Masked(Kind):
    """A photograph with a hole. Its training files are the masks; alone, they are drawn."""

    def read(self, file: File) -> Image.Image:
        """See `Kind.read`: with its transparency, which is a hole."""
        return read_as_stored(file)

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        hole = find_hole(image, options.mask)
        return remove_region(images.to_tensor(image), as_tensor(hole), options.size)

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """See `Kind.pixels`: (size, size), 255 where the target is removed."""
        hole = read_mask(file)
        if hole.size == (options.size, options.size):
            return np.asarray(hole)
        levels = torch.from_numpy(np.array(hole, np.float32))[None, None]
        # A pixel is in the hole if any part of it is.
        return np.uint8(255) * (images.resize(levels, options.size)[0, 0] > 0).numpy()

    def paired(self, source: Pixels, target: Pixels, options: SourceOptions) -> Tensor:
        """See `Kind.paired`: the target without what the mask removes."""
        whole = images.to_tensor(as_image(target))
        return remove_region(whole, torch.from_numpy(source.copy())[None, None])[0]

    def derived(
        self, photo: Pixels, options: SourceOptions, name: str, rng: np.random.Generator | None
    ) -> Tensor:
        """See `Kind.derived`: a mask is drawn; in validation, a name always has the same."""
        if rng is None:
            rng = np.random.default_rng(zlib.crc32(os.fsencode(name)))
        return self.paired(draw_mask(options.size, rng), photo, options)


def remove_region(batch: Tensor, masks: Tensor, size: int | None = None) -> Tensor:
    """Photographs with holes.

    A pixel of the result is gray where any part of it lies in the hole, so that nothing of what was
    there shines through after shrinking.

    Args:
        batch: (N, 3, H, W) float in [-1, 1].
        masks: (N, 1, H, W) or (1, 1, H, W), anything above 0 is hole.
        size: side of the result; None keeps H and W.

    Returns:
        (N, 3, size, size) in [-1, 1], 0 in the hole.

    Raises:
        ImageError: shapes that do not fit.
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
        hole = functional.adaptive_max_pool2d(hole, smaller)
        hole = images.resize(hole, size)
        batch = images.resize(batch, size)
    return batch * (hole == 0)


def read_masked(
    file: File, mask: File | Image.Image | None = None
) -> tuple[Image.Image, Image.Image]:
    """A photograph and its hole: mode RGB, and mode L with 255 in the hole.

    Args:
        file: a photograph; a region in it that is transparent or painted in `HOLE` is a hole.
        mask: see `find_hole`.

    Raises:
        ImageError: a file cannot be read, sizes differ, or nothing or everything is removed.
    """
    stored = read_as_stored(file)
    with naming(file):
        return images.to_rgb(stored), find_hole(stored, mask)


def find_hole(image: Image.Image, mask: File | Image.Image | None = None) -> Image.Image:
    """What is removed, as mode L with 255 there: by the mask and by `hole_in` together.

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
    name = "the mask" if isinstance(mask, Image.Image) else os.fsdecode(mask)
    stored = mask if isinstance(mask, Image.Image) else read_mask(mask)
    given = fitting(stored, image.size, name)
    return given if hole is None else Image.fromarray(np.asarray(hole) | np.asarray(given))


def hole_in(image: Image.Image) -> Image.Image | None:
    """What is transparent or painted in `HOLE`, as mode L with 255 there; None if nothing is.

    The region is grown by two pixels, because brushes have soft edges.
    """
    if image.has_transparency_data:
        hole: NDArray[np.bool_] = np.asarray(image.convert("RGBA").getchannel("A")) < 128
    else:
        colors = np.asarray(images.to_rgb(image)).astype(np.int16)
        hole = np.all(np.abs(colors - np.array(HOLE, np.int16)) <= _TOLERANCE, axis=2)
    if hole.mean() < _LEAST:
        return None
    grown = Image.fromarray(np.uint8(255) * hole).filter(ImageFilter.MaxFilter(_SOFT))
    if np.asarray(grown).all():
        raise ImageError("everything is removed; leave some of the image")
    return grown


def read_mask(path: File) -> Image.Image:
    """Mode L, 255 where the file is bright and opaque, else 0.

    Raises:
        ImageError: the file cannot be read, is gray (a photograph), or is all dark or all bright.
    """
    stored = read_as_stored(path)
    name = os.fsdecode(path)
    mask = _binary(stored)
    _check_some(mask, name)
    levels = np.asarray(images.to_rgb(stored).convert("L"))
    gray = float(((levels > 48) & (levels < 208)).mean())
    if gray > _GRAY:
        raise ImageError(
            f"{name}: is no mask, {gray:.0%} of it is gray; white is removed, black is kept"
        )
    return mask


def fitting(mask: Image.Image, size: tuple[int, int], name: str = "the mask") -> Image.Image:
    """The mask as mode L of 0 and 255. Raises ImageError if it has another size or no hole."""
    if mask.size != size:
        raise ImageError(
            f"{name}: a mask of {mask.width}x{mask.height} does not fit an image of"
            f" {size[0]}x{size[1]}; make them equal"
        )
    mask = _binary(mask)
    _check_some(mask, name)
    return mask


def as_tensor(mask: Image.Image) -> Tensor:
    """(1, 1, H, W) bool of a mask of mode L: true in the hole."""
    return torch.from_numpy(np.asarray(mask) >= 128)[None, None]


def _binary(mask: Image.Image) -> Image.Image:
    bright = np.asarray(images.to_rgb(mask).convert("L")) >= 128
    if mask.has_transparency_data:
        bright = bright & (np.asarray(mask.convert("RGBA").getchannel("A")) >= 128)
    return Image.fromarray(np.uint8(255) * bright)


def _check_some(mask: Image.Image, name: str) -> None:
    low, high = mask.getextrema()
    if low == high:
        what = "everything" if high else "nothing"
        raise ImageError(f"{name}: a mask that removes {what}; white is removed, black is kept")
