"""Regions of an aligned face as soft masks: named ones, and masks from files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError


@dataclass(frozen=True)
class Shape:
    """An ellipse, in shares of the side of an FFHQ-aligned image.

    Attributes:
        x, y: its middle.
        rx, ry: half its width and height.
    """

    x: float
    y: float
    rx: float
    ry: float


# FFHQ's rule puts the eyes at 47 % of the height and the mouth at about 73 %, 25 % apart.
FACE = Shape(0.5, 0.56, 0.27, 0.35)
REGIONS: dict[str, tuple[Shape, ...]] = {
    "eyes": (Shape(0.375, 0.475, 0.115, 0.065), Shape(0.625, 0.475, 0.115, 0.065)),
    "brows": (Shape(0.37, 0.405, 0.13, 0.05), Shape(0.63, 0.405, 0.13, 0.05)),
    "nose": (Shape(0.5, 0.565, 0.09, 0.12),),
    "mouth": (Shape(0.5, 0.735, 0.16, 0.09),),
    "chin": (Shape(0.5, 0.87, 0.17, 0.08),),
    "face": (FACE,),
    "hair": (Shape(0.5, 0.38, 0.43, 0.37),),  # less the face, see `region`
}
_LESS_FACE = {"hair": Shape(0.5, 0.62, 0.25, 0.38)}
FEATHER = 0.03  # of the side: where a region fades out


def region(names: str, size: int, feather: float = FEATHER) -> Tensor:
    """A mask by name, for images cropped as FFHQ is.

    Args:
        names: of `REGIONS`, several joined with commas.
        size: side in pixels.
        feather: width of its soft edge, a share of the side.

    Returns:
        (1, 1, size, size) float32 in [0, 1].

    Raises:
        ConfigError: an unknown name.
    """
    mask = torch.zeros(size, size)
    for name in (part.strip().lower() for part in names.split(",")):
        if name not in REGIONS:
            raise ConfigError(f"no region is called {name!r}; there are {', '.join(REGIONS)}")
        part = torch.stack([_ellipse(shape, size) for shape in REGIONS[name]]).amax(0)
        if name in _LESS_FACE:
            part = part * (1 - _ellipse(_LESS_FACE[name], size))
        mask = torch.maximum(mask, part)
    return soften(mask[None, None], feather)


def _ellipse(shape: Shape, size: int) -> Tensor:
    at = (torch.arange(size) + 0.5) / size
    x, y = at[None, :] - shape.x, at[:, None] - shape.y
    return ((x / shape.rx).square() + (y / shape.ry).square() <= 1).float()


def read_mask(path: str | os.PathLike[str], size: int, feather: float = 0.01) -> Tensor:
    """A mask from an image file: white in the region, black elsewhere.

    Args:
        path: a square image, laid over the aligned face.
        size: side of the result in pixels.
        feather: width of its soft edge, a share of the side.

    Returns:
        (1, 1, size, size) float32 in [0, 1].

    Raises:
        ImageError: it cannot be read, is not square, or has nothing white in it.
    """
    image = images.read(path).convert("L")
    if image.width != image.height:
        raise ImageError(
            f"{path}: is {image.width}x{image.height}; a mask is square, as the aligned face is"
        )
    mask = (images.to_tensor(image)[:, :1] + 1) / 2
    mask = images.resize(mask, size)
    if not float(mask.max()) >= 0.5:
        raise ImageError(f"{Path(path)}: marks nothing; paint the region white on black")
    return soften(mask, feather)


def soften(mask: Tensor, feather: float) -> Tensor:
    """Blur a mask (1, 1, S, S) so that its edge is `feather` of the side wide; it keeps its size.

    Raises:
        ConfigError: a feather below 0 or above a quarter of the side.
    """
    if not 0 <= feather <= 0.25:
        raise ConfigError(f"a feather of {feather:g}: use 0 to 0.25 of the side")
    side = mask.shape[-1]
    sigma = feather * side / 2
    if sigma < 0.3:
        return mask
    reach = max(1, min(round(3 * sigma), side - 1))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(at / sigma).square() / 2)
    kernel = kernel / kernel.sum()
    blurred = F.pad(mask, (reach,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(blurred, kernel[None, None, None]), kernel[None, None, :, None])
    return blurred.clamp(0, 1)
