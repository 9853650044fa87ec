"""Paste a result into the photograph that its crop came from: the inverse of `crop`, seamless.

Only pixels under the mask change, and the mask fades inwards from its border. The difference in
light along that border is interpolated over the inside by a harmonic function, a membrane (Pérez
et al. 2003, "Poisson Image Editing", in the form of Farbman et al. 2009: the added function is
smooth, and the result keeps its own detail).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from wplus.errors import FaceError
from wplus.faces.geometry import CropGeometry
from wplus.images import to_rgb

FEATHER = 0.04  # width of the fading border, as a share of the crop's side
_GRID = 96  # cells along the longer side of the grid on which light is matched
_LIGHT = 48.0  # of 255: larger differences are of content (hair beside skin), not of light
_TRUSTED = 0.3  # share of the border that must differ by light only, to match it in full
_SWEEPS = 12  # relaxation steps at every level of the membrane

Floats = NDArray[np.floating[Any]]


def paste(
    original: Image.Image,
    result: Image.Image,
    geometry: CropGeometry,
    *,
    mask: Image.Image | NDArray[Any] | None = None,
    feather: float = FEATHER,
    match_light: bool = True,
) -> Image.Image:
    """The photograph with the result in place of its crop.

    Args:
        original: the upright photograph; the crop may reach beyond it.
        result: a square image of the content of the crop, of any size.
        geometry: of the crop, see `align` and the metadata of codes files.
        mask: square, of any size, in the crop's frame: pixels above half of its range are replaced
            (booleans, numbers from 0 to 1, or 8 bits). None is `ellipse`.
        feather: width of the fading border inside the mask, as a share of the crop's side.
        match_light: match brightness and tint of the photograph along the border.

    Returns:
        Mode RGB, of the photograph's size. Pixels whose center is not under the mask are
        bit-identical to the photograph.

    Raises:
        FaceError: the geometry is of another photograph, an image is not square, the mask is
            empty, or the feather is out of range.
    """
    if original.size != geometry.picture_size:
        raise FaceError(
            f"the crop belongs to a photograph of {_size(geometry.picture_size)}, not of"
            f" {_size(original.size)}"
        )
    if result.width != result.height:
        raise FaceError(f"a result is square as its crop is, not {_size(result.size)}")
    photo = original if original.mode == "RGB" else to_rgb(original)
    soft = softened(mask, feather)
    box = _reach(geometry)
    before = np.asarray(photo.crop(box), np.float32)
    after = np.asarray(_placed(to_rgb(result), geometry, box, Image.Resampling.BICUBIC), np.float32)
    alpha = np.asarray(_placed(soft, geometry, box, Image.Resampling.BILINEAR), np.float32) / 255
    # Interpolation spreads a little beyond the mask; clip it.
    alpha = alpha * _covered(np.asarray(soft) > 0, geometry, box)
    if match_light:
        after = (after + _light(before - after, alpha)).astype(np.float32)
    mixed = before + alpha[..., None] * (np.clip(after, 0, 255) - before)
    pixels = np.where(alpha[..., None] > 0, np.rint(mixed), before).astype(np.uint8)
    pasted = photo.copy()
    pasted.paste(Image.fromarray(pixels), box[:2])
    return pasted


def ellipse(size: int = 256) -> Image.Image:
    """The face of an FFHQ crop, brow to chin, as a mask of mode L; needs no parser."""
    mask = Image.new("L", (size, size), 0)
    left, top, right, bottom = (size * share for share in (0.2, 0.22, 0.8, 0.97))
    ImageDraw.Draw(mask).ellipse((left, top, right, bottom), fill=255)
    return mask


def softened(mask: Image.Image | NDArray[Any] | None, feather: float = FEATHER) -> Image.Image:
    """A mask as `paste` uses it: mode L, 0 outside, rising to 255 over the feather's width inside.

    Raises:
        FaceError: it is not square or empty, or the feather is out of range.
    """
    if not 0 <= feather <= 0.5:
        raise FaceError(f"a feather is a share of the crop's side, 0 to 0.5, not {feather}")
    inside = _booleans(ellipse() if mask is None else mask)
    side = len(inside)
    if inside.shape != (side, side):
        raise FaceError(f"a mask is square as its crop is, not {_size(inside.shape[::-1])}")
    if not inside.any():
        raise FaceError("the mask is empty: there is nothing to paste")
    hard = Image.fromarray(np.uint8(255) * inside)
    width = feather * side
    if width < 1:
        return hard
    # Half of a blurred step lies inside it. The crop's own edge is a border too, hence the margin.
    margin = math.ceil(width)
    wide = Image.new("L", (side + 2 * margin, side + 2 * margin), 0)
    wide.paste(hard, (margin, margin))
    blurred = wide.filter(ImageFilter.GaussianBlur(width / 2))
    blurred = blurred.crop((margin, margin, margin + side, margin + side))
    rise = np.clip(np.asarray(blurred, np.float32) / 127.5 - 1, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return Image.fromarray(np.where(inside, np.rint(255 * rise), 0).astype(np.uint8))


def _booleans(mask: Image.Image | NDArray[Any]) -> NDArray[np.bool_]:
    values = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    if values.ndim != 2:
        raise FaceError(f"a mask is one plane (S, S), not {values.shape}")
    if values.dtype == np.bool_:
        return values
    return values > (127 if np.issubdtype(values.dtype, np.integer) else 0.5)


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _reach(geometry: CropGeometry) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that the crop can touch, within the photograph."""
    quad = np.asarray(geometry.quad) + 0.5
    width, height = geometry.picture_size
    left, top = (max(0, math.floor(value)) for value in quad.min(axis=0))
    right, bottom = (math.ceil(value) for value in quad.max(axis=0))
    box = (left, top, min(width, right), min(height, bottom))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise FaceError("the crop lies outside of the photograph")
    return box


def _placed(
    square: Image.Image,
    geometry: CropGeometry,
    box: tuple[int, int, int, int],
    resampling: Image.Resampling,
) -> Image.Image:
    """An image in the crop's frame, placed in the box of the photograph; black outside."""
    footprint = max(1, round(geometry.side))
    if square.width > footprint:  # the transform below reads a few pixels around each point only
        square = square.resize((footprint, footprint), Image.Resampling.BOX)
    matrix, shift = _to_square(geometry, box, square.width)
    return square.transform(
        (box[2] - box[0], box[3] - box[1]),
        Image.Transform.AFFINE,
        (*matrix[0], shift[0], *matrix[1], shift[1]),
        resampling,
    )


def _covered(
    mask: NDArray[np.bool_], geometry: CropGeometry, box: tuple[int, int, int, int]
) -> NDArray[np.bool_]:
    """Which pixels of the box have their center under the mask (S, S) in the crop's frame."""
    side = len(mask)
    matrix, shift = _to_square(geometry, box, side)
    x, y = np.arange(box[2] - box[0]) + 0.5, np.arange(box[3] - box[1])[:, None] + 0.5
    column, row = (np.floor(a * x + b * y + c) for (a, b), c in zip(matrix, shift))
    within = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    last = side - 1
    spots = np.clip(row, 0, last).astype(np.intp), np.clip(column, 0, last).astype(np.intp)
    covered: NDArray[np.bool_] = within & mask[spots]
    return covered


def _to_square(
    geometry: CropGeometry, box: tuple[int, int, int, int], side: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and shift from coordinates of the box to those of a square image of the crop.

    The origin of both is the outer corner of the first pixel, as in Pillow's transforms.
    """
    corner, below, _, beside = np.asarray(geometry.quad, np.float64) + 0.5
    matrix = np.linalg.inv(np.stack([beside - corner, below - corner])).T * side
    return matrix, matrix @ (np.asarray(box[:2]) - corner)


def _light(difference: Floats, alpha: Floats) -> Floats:
    """The smooth addition (H, W, 3) that cancels the difference along the border of alpha."""
    weight = alpha * (1 - alpha)
    if not weight.any():  # without a fading border, take the outermost pixels
        edge = Image.fromarray(np.uint8(255) * (alpha > 0)).filter(ImageFilter.MinFilter(3))
        weight = alpha * (np.asarray(edge) == 0)
    height, width = alpha.shape
    scale = min(1.0, _GRID / max(height, width))
    grid = (max(1, round(width * scale)), max(1, round(height * scale)))
    total = _resized(weight, grid, Image.Resampling.BOX)
    border = total > 1e-3
    if not border.any():
        return np.zeros_like(difference)
    sums = _resized(difference * weight[..., None], grid, Image.Resampling.BOX)
    field = sums / np.maximum(total, 1e-3)[..., None]
    fixed = border & (np.abs(field).max(axis=2) < _LIGHT)
    if not fixed.any():
        return np.zeros_like(difference)
    field *= min(1.0, float(fixed.sum() / border.sum()) / _TRUSTED)
    return _resized(membrane(field, fixed), (width, height), Image.Resampling.BICUBIC)


def _resized(plane: Floats, size: tuple[int, int], resampling: Image.Resampling) -> Floats:
    """An array (H, W) or (H, W, C) of floats at another size (width, height)."""
    if plane.ndim == 3:
        return np.stack([_resized(each, size, resampling) for each in np.moveaxis(plane, 2, 0)], 2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, resampling))


def membrane(values: Floats, fixed: NDArray[np.bool_]) -> Floats:
    """The harmonic interpolation (H, W, C) of the values at fixed pixels.

    Solves Laplace's equation with free edges, from coarse grids to fine ones.

    Args:
        values: (H, W, C); ignored where they are not fixed.
        fixed: (H, W), at least one.
    """
    height, width = fixed.shape
    if fixed.all():
        return values
    if max(height, width) > 2:
        odd = ((0, height % 2), (0, width % 2))
        weight = np.pad(fixed, odd).astype(np.float32)
        sums = np.pad(values * fixed[..., None], (*odd, (0, 0)))
        count = _pairs(weight[..., None])
        coarse = membrane(_pairs(sums) / np.maximum(count, 1), count[..., 0] > 0)
        guess = coarse.repeat(2, 0).repeat(2, 1)[:height, :width]
    else:
        guess = np.broadcast_to(values[fixed].mean(axis=0), values.shape)
    result: Floats = np.where(fixed[..., None], values, guess).astype(np.float32)
    for _ in range(_SWEEPS):
        wide = np.pad(result, ((1, 1), (1, 1), (0, 0)), "edge")
        around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
        result = np.where(fixed[..., None], values, around / 4)
    return result


def _pairs(plane: Floats) -> Floats:
    """Sums over squares of two by two pixels, (H, W, C) to (H / 2, W / 2, C)."""
    total: Floats = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    return total
