"""Which part of a photograph is missing: by a mask file, a box, a painted or an erased region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus import images
from wplus.errors import ImageError
from wplus.inference.options import Box, Options
from wplus.sources.masked import read_masked

Hole = NDArray[np.bool_]


def read_with_hole(path: str, options: Options) -> tuple[Image.Image, Hole]:
    """A photograph, and where it is to be filled.

    Args:
        path: the photograph's file; what is transparent or painted in pure magenta is missing.
        options: mask or box, which are missing too.

    Returns:
        The picture (RGB), and (H, W) bool, True where something is missing; neither empty nor
        everything.

    Raises:
        ImageError: the photograph or the mask cannot be read, the mask has another size, the box
            reaches out of the photograph, or nothing or everything is missing.
    """
    mask: Path | Image.Image | None = options.mask
    if options.box is not None:
        mask = _of_box(options.box, path)
    elif options.mask is not None and options.mask.is_dir():
        mask = _one_of(options.mask, path)
    picture, removed = read_masked(path, mask)
    hole = np.asarray(removed) > 0
    if hole.all():
        raise ImageError(f"{path}: everything is missing, nothing is left to go by")
    return picture, hole


def _of_box(box: Box, path: str) -> Image.Image:
    left, top, width, height = box
    size = images.read(path).size
    if left + width > size[0] or top + height > size[1]:
        raise ImageError(
            f"{path}: --box {','.join(map(str, box))} reaches out of the photograph, which is"
            f" {size[0]}x{size[1]}"
        )
    if (left, top, width, height) == (0, 0, *size):
        raise ImageError(f"{path}: --box covers all of it, nothing is left to go by")
    mask = Image.new("L", size)
    mask.paste(255, (left, top, left + width, top + height))
    return mask


def _one_of(folder: Path, path: str) -> Path:
    stem = Path(path).stem
    found = sorted(file for file in folder.iterdir() if file.stem == stem)
    if len(found) != 1:
        count = "no mask" if not found else f"{len(found)} masks"
        raise ImageError(f"{folder}: has {count} named {stem}, as {path} is")
    return found[0]
