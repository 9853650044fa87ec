"""Image files, Pillow images and tensors in [-1, 1]; the only home of 127.5.

Whatever a user has becomes an upright 8-bit sRGB image. `read` obeys the EXIF rotation, takes the
first frame, lays transparency over white, follows an embedded color profile and brings 16-bit,
float and CMYK data to 8-bit RGB. `image_files` opens the files.
"""

from __future__ import annotations

import io
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from wplus.errors import ImageError
from wplus.files import atomic
from wplus.image_files import FORMATS as FORMATS
from wplus.image_files import MAX_MEGAPIXELS as MAX_MEGAPIXELS
from wplus.image_files import MIN_SIDE as MIN_SIDE
from wplus.image_files import Source, naming, printable, read_stored

logger = logging.getLogger(__name__)

WORKING_SIZE = 256
"""Side in pixels at which encoders read images and losses compare them ("Encoding in Style", 4)."""

SUFFIXES = {
    # Level 3 takes a third of the time of the default 6, for a tenth more bytes.
    ".png": ("PNG", {"1", "L", "LA", "P", "RGB", "RGBA"}, {"compress_level": 3}),
    ".jpg": ("JPEG", {"L", "RGB"}, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"L", "RGB"}, {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"RGB", "RGBA"}, {"quality": 95}),
}


def read(source: Source) -> Image.Image:
    """The image of a file: mode RGB, upright, sRGB, over white; the first frame of several.

    Args:
        source: a path, or the bytes of a file.

    Raises:
        ImageError: see `image_files.read_stored`.
    """
    image = read_stored(source)
    with naming(source):
        return to_rgb(image)


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow picture as 8-bit sRGB, transparency laid over white.

    Gray of 16 bits and float is scaled by the depth that its brightest value needs. An embedded
    color profile is followed when it can be and ignored when it is broken.

    Raises:
        ImageError: CIE Lab data where Pillow was built without its color management.
    """
    profile = picture.info.get("icc_profile")
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        picture = _to_gray(picture)
    alpha = None
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
    if picture.mode in {"L", "RGB", "CMYK", "LAB"}:
        colors = picture
    elif picture.mode in {"1", "LA"}:
        colors = picture.convert("L")
    else:  # palettes, RGBX, RGBa, La, PA, YCbCr, HSV
        colors = picture.convert("RGB" if alpha is None else "RGBA").convert("RGB")
    rgb = _from_lab(colors) if colors.mode == "LAB" else _follow_profile(colors, profile)
    if alpha is None:
        return rgb
    page = Image.new("RGB", rgb.size, "white")
    page.paste(rgb, mask=alpha)
    return page


def _to_gray(image: Image.Image) -> Image.Image:
    """Mode L from deep gray (modes I, I;16, F), rounded to nearest.

    The brightest value sets the depth: integers up to 255, 4095 or 65535 are 8, 12 or 16 bits, and
    floats up to 1, 255 or 65535 likewise. Negative or larger values stretch lowest to highest.
    """
    width, height = image.size
    step = max(1, (1 << 22) // width)  # rows at a time, which bounds the memory

    def bands() -> Iterator[NDArray[np.float32]]:
        for top in range(0, height, step):
            band = image.crop((0, top, width, min(top + step, height)))
            values = np.asarray(band).astype(np.float32)
            yield np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)

    extremes = [(float(band.min()), float(band.max())) for band in bands()]
    low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
    depths = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 4095.0, 65535.0)
    if low >= 0 and high <= depths[-1]:
        low, high = 0.0, next(depth for depth in depths if high <= depth)
    gray = np.empty((height, width), np.uint8)
    for i, band in enumerate(bands()):
        band -= low
        band *= 255 / max(high - low, 1e-30)
        gray[i * step : i * step + len(band)] = np.rint(band)
    return Image.fromarray(gray)


def _follow_profile(colors: Image.Image, profile: bytes | None) -> Image.Image:
    """Modes L, RGB and CMYK to sRGB by the embedded ICC profile, or plainly without one."""
    if profile:
        try:
            from PIL import ImageCms

            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not ImageCms.getProfileDescription(source).startswith("sRGB"):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(colors, source, target, outputMode="RGB")
                if converted is not None:
                    return converted
        except Exception as error:  # a profile may be broken or meant for another mode
            logger.debug("color profile ignored: %s", error)
    return colors if colors.mode == "RGB" else colors.convert("RGB")


def _from_lab(picture: Image.Image) -> Image.Image:
    try:
        from PIL import ImageCms
    except ImportError as error:
        raise ImageError("CIE Lab pictures need a Pillow with color management") from error
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    assert converted is not None  # only in-place conversion returns nothing
    return converted


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in [-1, 1] of a Pillow picture of any mode."""
    pixels = np.array(picture if picture.mode == "RGB" else to_rgb(picture))
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return channels_first.to(torch.float32).div_(127.5).sub_(1).contiguous()


def to_picture(image: torch.Tensor) -> Image.Image:
    """The RGB picture of one image (3, H, W) or (1, 3, H, W) in [-1, 1], any device and precision.

    Values are clamped and rounded to nearest (the published code truncates, which darkens by half a
    level), so `to_picture(to_tensor(picture))` is `picture`.

    Raises:
        ImageError: another shape, an integer tensor, or values that are not finite.
    """
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
        raise ImageError(
            f"a picture is a float tensor (3, H, W) or (1, 3, H, W) in [-1, 1], "
            f"not {image.dtype} {tuple(image.shape)}"
        )
    pixels = image.detach().to("cpu", torch.float32)
    if not torch.isfinite(pixels).all():
        raise ImageError("the image holds values that are not finite numbers")
    pixels = pixels.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def save(
    picture: Image.Image | torch.Tensor,
    path: str | os.PathLike[str],
    text: Mapping[str, str] | None = None,
) -> None:
    """Write an image, or an image tensor in [-1, 1], whole or not at all; the suffix says how.

    `.png`, `.jpg`/`.jpeg` and `.webp` (both at quality 95). Missing parent folders are made.

    Args:
        picture: what.
        path: where.
        text: entries that a PNG file keeps beside the pixels.

    Raises:
        ImageError: an unknown suffix, a tensor that is no image, or a file that cannot be written.
    """
    name, suffix = printable(path), Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ImageError(f"{name}: pictures are written as {known}, not {suffix or 'no suffix'!r}")
    kind, modes, options = SUFFIXES[suffix]
    if isinstance(picture, torch.Tensor):
        picture = to_picture(picture)
    if picture.mode not in modes:
        picture = to_rgb(picture)
    chunks = PngInfo()
    for key, value in (text or {}).items():
        chunks.add_text(key, value)
    try:
        with atomic(path) as temporary:
            picture.save(temporary, format=kind, pnginfo=chunks, **options)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ImageError(f"{name}: cannot be written ({reason})") from error


def resize(images: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Images (N, C, H, W) at `size` (a side, or height and width).

    Shrinking averages areas (adaptive average pooling), enlarging is bilinear; each side goes its
    own way when one shrinks and the other grows.

    Raises:
        ImageError: images that are not (N, C, H, W), or a size below 1.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if images.ndim != 4 or min(height, width) < 1:
        raise ImageError(f"cannot resize {tuple(images.shape)} to {height}x{width}")
    smaller = (min(height, images.shape[2]), min(width, images.shape[3]))
    if smaller != images.shape[2:]:
        images = F.adaptive_avg_pool2d(images, smaller)
    if smaller != (height, width):
        images = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
    return images


def resample(image: Image.Image, size: int) -> Image.Image:
    """An image of any mode as RGB of size x size: `resize` rounded to 8-bit levels, stretched.

    Training and inference both shrink with it: encoders see the pixels that they were trained on.
    """
    image = image if image.mode == "RGB" else to_rgb(image)
    if image.size == (size, size):
        return image
    factor = image.width // max(size, 1)
    if image.size == (factor * size, factor * size):
        return image.reduce(factor)  # the same average, much faster
    return to_picture(resize(to_tensor(image), size))


def middle_square(image: Image.Image, size: int) -> Image.Image:
    """An image without its longer ends, by `resample` at size x size, RGB."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return resample(image.crop((left, top, left + side, top + side)), size)


def side_by_side(
    pictures: Sequence[Image.Image], labels: Sequence[str] | None = None, gap: int = 4
) -> Image.Image:
    """Pictures in a row on white, at the height of the tallest, each with its label underneath.

    Raises:
        ImageError: no picture, or not one label for each.
    """
    if not pictures or (labels is not None and len(labels) != len(pictures)):
        raise ImageError(f"cannot set {len(pictures)} pictures side by side with labels {labels}")
    height = max(picture.height for picture in pictures)
    row = [_fit(to_rgb(picture), height=height) for picture in pictures]
    line = max(12, height // 20) if labels is not None else 0
    width = sum(picture.width for picture in row) + gap * (len(row) - 1)
    page = Image.new("RGB", (width, height + line + line // 2), "white")
    draw, left = ImageDraw.Draw(page), 0
    for index, picture in enumerate(row):
        page.paste(picture, (left, 0))
        if labels is not None:
            middle = (left + picture.width / 2, height + line * 0.7)
            wide = ImageFont.load_default(line * 0.8).getlength(labels[index])
            size = line * 0.8 * min(1.0, picture.width / max(wide, 1))
            font = ImageFont.load_default(max(1.0, size))
            draw.text(middle, labels[index], fill="black", font=font, anchor="mm")
        left += picture.width + gap
    return page


def grid(pictures: Sequence[Image.Image], columns: int | None = None, gap: int = 4) -> Image.Image:
    """Pictures in rows of `columns` (by default as square as can be), cells as large as the first.

    Raises:
        ImageError: no picture, or fewer than one column.
    """
    if not pictures or (columns is not None and columns < 1):
        raise ImageError(f"cannot set {len(pictures)} pictures in {columns} columns")
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].size
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    page = Image.new("RGB", size, "white")
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        cell = to_rgb(picture)
        scale = min(width / cell.width, height / cell.height)
        cell = _fit(cell, height=max(1, round(cell.height * scale)))
        left = column * (width + gap) + (width - cell.width) // 2
        page.paste(cell, (left, row * (height + gap) + (height - cell.height) // 2))
    return page


def _fit(picture: Image.Image, height: int) -> Image.Image:
    if picture.height == height:
        return picture
    width = max(1, round(picture.width * height / picture.height))
    return picture.resize((width, height), Image.Resampling.LANCZOS)
