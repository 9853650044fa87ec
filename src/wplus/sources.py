"""What an encoder reads: photographs, sketches, label maps and low resolution, as tensors.

Values follow the published transforms: photographs in [-1, 1], sketches in [0, 1], label maps
one-hot. ("Encoding in Style", section 4: conditional image synthesis, super resolution.)
"""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from wplus import images
from wplus.errors import ConfigError, ImageError

FACTORS = (1, 2, 4, 8, 16, 32)
"""By how much super-resolution training shrinks, one factor per image, drawn uniformly."""

FROM_PICTURES = ("photo", "sketch", "labels", "low_resolution")

# CelebAMask-HQ's order; a label is an index into it.
LABELS = (
    "background",
    "skin",
    "nose",
    "glasses",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)


def from_file(
    path: str | os.PathLike[str],
    source: str,
    size: int = 256,
    *,
    factor: int | None = None,
    num_classes: int = len(LABELS),
    bilinear: bool = False,
) -> Tensor:
    """The encoder's input of one file.

    Args:
        path: a photograph, a sketch or a label map (gray or palette, each value a class number).
        source: one of `FROM_PICTURES`.
        size: side of the encoder's input in pixels. Pictures that are not square are stretched.
        factor: low_resolution only: shrink a sharp photograph by it first. None takes the picture
            as the low-resolution one, whatever its size.
        num_classes: labels only.
        bilinear: labels only, see `one_hot_labels`.

    Returns:
        (1, C, size, size) float32: C = 3 in [-1, 1] for photo and low_resolution, C = 1 in [0, 1]
        for sketch, C = num_classes, one-hot, for labels.

    Raises:
        ImageError: the file cannot be read, or is no label map (the message names it), or `size`
            is too small to be shrunk by `factor`.
        ConfigError: no such source, or a size, a factor or a number of classes out of range.
    """
    _check_source(source)  # before the file: a wrong setting is not the picture's fault
    if source != "labels":
        return from_picture(images.read(path), source, size, factor=factor)
    picture = _read_labels(path)
    try:
        return from_picture(picture, source, size, num_classes=num_classes, bilinear=bilinear)
    except ImageError as error:
        raise ImageError(f"{os.fsdecode(path)}: {error}") from error


def from_picture(
    picture: Image.Image,
    source: str,
    size: int = 256,
    *,
    factor: int | None = None,
    num_classes: int = len(LABELS),
    bilinear: bool = False,
) -> Tensor:
    """The encoder's input of a picture that is already read or cropped; see `from_file`.

    Raises:
        ImageError: the picture is no label map.
        ConfigError: no such source, or a size, a factor or a number of classes out of range.
    """
    _check_source(source)
    _check_size(size)
    if source == "labels":
        return one_hot_labels(_class_numbers(picture), num_classes, size, bilinear=bilinear)
    if source == "sketch":
        return sketch_input(picture, size)
    pixels = images.to_tensor(picture)
    if source == "low_resolution" and factor is not None:
        return low_resolution(pixels, factor, size)
    return images.resize(pixels, size)


def sketch_input(picture: Image.Image, size: int = 256) -> Tensor:
    """(1, 1, size, size) float32 in [0, 1] of a sketch: 1 is paper, 0 is ink.

    Gray levels are interpolated as Pillow does it and rounded to 8 bits, as the published
    checkpoints had them in training. Transparent paper counts as white.

    Raises:
        ConfigError: size below 1.
    """
    _check_size(size)
    gray = picture if picture.mode == "L" else images.to_rgb(picture).convert("L")
    gray = gray.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(gray))[None, None].to(torch.float32).div_(255)


def one_hot_labels(
    labels: Tensor, num_classes: int = len(LABELS), size: int = 256, *, bilinear: bool = False
) -> Tensor:
    """Label maps as one channel per class.

    Args:
        labels: (N, H, W) integers, each the number of a class; an index into `LABELS` for faces.
        num_classes: C.
        size: side of the result. Maps of another size are resized by nearest neighbor.
        bilinear: resize the numbers themselves, as if they were gray levels. This puts false
            classes on outlines (between hair, 13, and background, 0, lies everything), but
            published checkpoints were trained so and expect it.

    Returns:
        (N, C, size, size) float32 of zeros and ones.

    Raises:
        ImageError: a label out of range, or a tensor that is not (N, H, W) integers.
        ConfigError: a size or a number of classes out of range.
    """
    _check_size(size)
    if num_classes < 1 or (bilinear and num_classes > 256):
        raise ConfigError(f"{num_classes} classes of labels cannot be told apart; use 1 to 256")
    if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex() or 0 in labels.shape:
        raise ImageError(
            f"label maps are integers (N, H, W), not {labels.dtype} {tuple(labels.shape)}"
        )
    labels = labels.long()
    for value in (int(labels.min()), int(labels.max())):
        if not 0 <= value < num_classes:
            raise ImageError(
                f"label {value} is out of range: with {num_classes} classes labels are 0 to"
                f" {num_classes - 1}; renumber the map"
            )
    if labels.shape[1:] != (size, size):
        labels = _as_gray_levels(labels, size) if bilinear else _nearest(labels, size)
    channels = labels.new_zeros((len(labels), num_classes, size, size), dtype=torch.float32)
    return channels.scatter_(1, labels[:, None], 1.0)


def _nearest(labels: Tensor, size: int) -> Tensor:
    """The label under the center of every new pixel: floor((i + 1/2)·H/size)."""
    centers = 2 * torch.arange(size, device=labels.device) + 1
    rows, columns = (centers * side // (2 * size) for side in labels.shape[1:])
    return labels[:, rows[:, None], columns]


def _as_gray_levels(labels: Tensor, size: int) -> Tensor:
    """Pillow's bilinear filter, which widens when it shrinks and rounds to whole numbers."""
    maps = labels.to("cpu", torch.uint8).numpy()
    resized = [
        np.array(Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR))
        for each in maps
    ]
    return torch.from_numpy(np.stack(resized)).to(labels)


def degrade(pictures: Tensor, factor: int) -> Tensor:
    """Shrink as super-resolution training does: bicubic with antialiasing, on centers of cells.

    Separable and normalized, with the kernel of a = -1/2 stretched by the factor to a support of
    4·factor pixels; borders are mirrored. Factor 1 is filtered too, which moves the picture by half
    a pixel and softens it: that is what the published checkpoints were trained on. (They saw the
    result cut to 8 bits as well, which is left out here: it darkens by half a level.)

    Args:
        pictures: (N, C, H, W) float in [0, 1].
        factor: a whole number; sides that are no multiple of it lose the rest.

    Returns:
        (N, C, H // factor, W // factor) in [0, 1].

    Raises:
        ImageError: another shape, integers, or sides of 1.5·factor pixels or less.
        ConfigError: a factor below 1.
    """
    if factor < 1:
        raise ConfigError(f"a picture cannot be shrunk by {factor}; use a factor of 1 or more")
    _check_pictures(pictures)
    count, channels, height, width = pictures.shape
    before = 3 * factor // 2
    after = 3 * factor - before
    if min(height, width) <= after:
        raise ImageError(f"{height}x{width} pixels are too few to shrink by {factor}")
    kernel = _bicubic(factor).to(pictures)
    x = pictures.reshape(count * channels, 1, height, width)
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


def low_resolution(pictures: Tensor, factor: int, size: int = 256) -> Tensor:
    """The source of super-resolution: `degrade`, then enlarged back bilinearly.

    Args:
        pictures: (N, C, H, W) float in [-1, 1]; brought to `size` first, so that the factor is one
            of the encoder's input.
        factor: one of `FACTORS`, or any other that leaves something.
        size: side of the result.

    Returns:
        (N, C, size, size) in [-1, 1].

    Raises:
        ImageError: another shape, integers, or a size of 1.5·factor pixels or less.
        ConfigError: a size or a factor below 1.
    """
    _check_pictures(pictures)
    _check_size(size)
    shrunk = degrade((images.resize(pictures, size) + 1) / 2, factor)
    return images.resize(shrunk * 2 - 1, size)


def _read_labels(path: str | os.PathLike[str]) -> Image.Image:
    """The picture as it stands in the file, upright: `images.read` would look up its palette."""
    images.read(path)  # for what it refuses: missing, damaged, too large, …
    formats = [name for name in images.FORMATS if name in Image.OPEN]
    try:
        with Image.open(path, formats=formats) as picture:
            picture.load()
            if picture.format != "JPEG":
                return ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError:  # Pillow's own limit is a little below that of `images`
        raise ImageError(f"{os.fsdecode(path)}: is too large for a label map; shrink it") from None
    raise ImageError(
        f"{os.fsdecode(path)}: JPEG blurs the class numbers of a label map; store it as PNG"
    )


def _class_numbers(picture: Image.Image) -> Tensor:
    """(1, H, W) int64 of a gray or palette picture."""
    values = np.asarray(picture)
    if picture.mode in {"LA", "PA"}:
        values = values[..., 0]
    elif picture.mode in {"RGB", "RGBA"}:
        if (values[..., :3] != values[..., :1]).any():
            raise ImageError(
                "is in color; a label map holds class numbers, as gray levels or as a palette"
            )
        values = values[..., 0]
    elif picture.mode not in {"1", "L", "P", "I"} and not picture.mode.startswith("I;16"):
        raise ImageError(f"holds no class numbers (mode {picture.mode}); store them as gray levels")
    return torch.from_numpy(values.astype(np.int64))[None]


def _check_source(source: str) -> None:
    if source not in FROM_PICTURES:
        known = ", ".join(FROM_PICTURES)
        raise ConfigError(f"no source {source!r} from one picture; there are: {known}")


def _check_pictures(pictures: Tensor) -> None:
    if pictures.ndim != 4 or not pictures.is_floating_point():
        raise ImageError(
            "pictures to shrink are a float tensor (N, C, H, W),"
            f" not {pictures.dtype} {tuple(pictures.shape)}"
        )


def _check_size(size: int) -> None:
    if size < 1:
        raise ConfigError(f"the encoder's input cannot be {size} pixels wide; use 1 or more")
