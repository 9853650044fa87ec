"""The pixels of an FFHQ crop: shrink, cut out, pad where the square leaves the image, transform.

Two recipes share the code. The published pSp transforms to the output size at once. FFHQ itself
transforms at four times the output size (4096) and shrinks from there (to 1024), which is smoother,
because the transform reads only the four pixels around each point (see `transform_size`).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import FaceError
from wplus.faces.geometry import CropGeometry
from wplus.images import to_rgb

Box = tuple[int, int, int, int]  # left, top, right, bottom


def crop(
    image: Image.Image,
    geometry: CropGeometry,
    *,
    transform_size: int | None = None,
    padding: bool = True,
) -> Image.Image:
    """The crop as an RGB image of `geometry.output_size` pixels a side.

    Only the part of the image around the square is processed, so large photographs cost little.

    Args:
        image: the upright image that the geometry belongs to.
        geometry: the square.
        transform_size: side of the transformed square before it is shrunk to the output size; None
            transforms at the output size, as the published pSp does.
        padding: continue the image with its blurred reflection where the square leaves it;
            otherwise those pixels are gray.

    Raises:
        FaceError: the geometry is of another image, its square is outside of the image, or the
            transform size is below the output size.
    """
    output_size, transform_size = geometry.output_size, transform_size or geometry.output_size
    if image.size != geometry.picture_size:
        raise FaceError(f"the crop belongs to {geometry.picture_size}, not to {image.size}")
    if transform_size < output_size:
        raise FaceError(f"cannot transform at {transform_size} for an output of {output_size}")
    if image.mode != "RGB":
        image = to_rgb(image)
    quad, side = np.asarray(geometry.quad, np.float64), geometry.side

    shrink = math.floor(side / output_size * 0.5)
    size = image.size
    if shrink > 1:
        size = (max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink)))
        quad, side = quad / shrink, side / shrink

    border = max(round(side * 0.1), 3)
    left, top = (math.floor(value) - border for value in quad.min(axis=0))
    right, bottom = (math.ceil(value) + border for value in quad.max(axis=0))
    box = (max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1]))
    if box[0] >= box[2] or box[1] >= box[3]:
        raise FaceError("the crop lies outside of the image")
    part = _cut(image, size, box)
    quad = quad - box[:2]

    pad = (box[0] - left, box[1] - top, right - box[2], bottom - box[3])
    if padding and max(pad) > border - 4:
        least = round(side * 0.3)
        pad = (max(pad[0], least), max(pad[1], least), max(pad[2], least), max(pad[3], least))
        part = _pad(part, pad, blur=0.02 * side)
        quad = quad + pad[:2]

    corners = tuple((quad + 0.5).flatten().tolist())
    square = part.transform(
        (transform_size, transform_size),
        Image.Transform.QUAD,
        corners,
        Image.Resampling.BILINEAR,
        fillcolor=(127, 127, 127),
    )
    if transform_size > output_size:
        square = square.resize((output_size, output_size), Image.Resampling.LANCZOS)
    return square


def _cut(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """`image.resize(size, LANCZOS).crop(box)`, computed inside the box only."""
    if size == image.size:
        return image.crop(box)
    across, down = image.width / size[0], image.height / size[1]
    right, bottom = min(box[2] * across, image.width), min(box[3] * down, image.height)
    source = (box[0] * across, box[1] * down, right, bottom)
    target = (box[2] - box[0], box[3] - box[1])
    return image.resize(target, Image.Resampling.LANCZOS, box=source)


def _pad(image: Image.Image, pad: Box, blur: float) -> Image.Image:
    """Reflect the image outwards, fading the reflection into blur and then into the median color.

    Channel by channel, since the padded image in floats may be large.
    """
    width, height = image.width + pad[0] + pad[2], image.height + pad[1] + pad[3]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    # 1 at the padded edge, 0 at the image's own edge, negative inside.
    outside_x = 1 - np.minimum(x / pad[0], (width - 1 - x) / pad[2])
    outside_y = 1 - np.minimum(y / pad[1], (height - 1 - y) / pad[3])
    mask = np.maximum(outside_x[None, :], outside_y[:, None])
    blurred, faded = np.clip(mask * 3 + 1, 0, 1), np.clip(mask, 0, 1)
    pixels = np.asarray(image)
    result = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        plane = np.pad(pixels[..., channel], ((pad[1], pad[3]), (pad[0], pad[2])), "reflect")
        plane = plane.astype(np.float32)
        plane += (_gaussian(plane, blur) - plane) * blurred
        plane += (np.median(plane) - plane) * faded
        result[..., channel] = np.clip(np.rint(plane), 0, 255)
    return Image.fromarray(result)


def _gaussian(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur, truncated at 4 sigma, with the plane mirrored at its edges.

    By Fourier transforms: with sigma = 2 % of a large crop the kernel has hundreds of taps.
    """
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return plane
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    taps = torch.from_numpy(kernel.astype(np.float32))
    smooth = torch.from_numpy(plane)
    for _ in range(2):  # rows, then columns as the rows of the transpose
        length = smooth.shape[1]
        count = _quick(length + 4 * radius)  # room for the ends: nothing wraps around
        mirrored = _mirror(smooth, radius)
        spectrum = torch.fft.rfft(mirrored, count) * torch.fft.rfft(taps, count)
        smooth = torch.fft.irfft(spectrum, count)[:, 2 * radius : 2 * radius + length].t()
    blurred: NDArray[np.float32] = smooth.contiguous().numpy()
    return blurred


def _mirror(plane: torch.Tensor, radius: int) -> torch.Tensor:
    """`radius` more columns on either side, mirrored with the edge counted twice."""
    places = np.pad(np.arange(plane.shape[1]), radius, "symmetric")
    return plane[:, torch.from_numpy(places)]


def _quick(length: int) -> int:
    """The next length of a Fourier transform that is a multiple of a high power of two."""
    step = 1 << max(0, length.bit_length() - 4)
    return -(-length // step) * step
