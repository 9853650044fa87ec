"""Picture files, Pillow pictures and tensors in [-1, 1]; the only home of 127.5.

Whatever a user has becomes one thing: an upright 8-bit sRGB picture. `read` obeys the EXIF
rotation, takes the first frame, lays transparency over white, follows an embedded color profile and
brings 16-bit, float and CMYK data to 8-bit RGB. What cannot be shown whole is refused with one
line: half a picture is never returned.
"""

from __future__ import annotations

import io
import logging
import math
import os
import stat
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from wplus.errors import ImageError
from wplus.files import atomic

logger = logging.getLogger(__name__)

# Pillow's names of what is read. Closed, because some of its other readers start programs (EPS) or
# take any bytes for a picture (TGA). HEIF counts only where a plug-in has registered it.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "HEIF")
MAX_MEGAPIXELS = 200  # the largest telephone cameras give 199.8; as RGB that is 0.8 GB of memory
MIN_SIDE = 16  # pixels; below this there is no face and nothing to translate
WORKING_SIZE = 256
"""Side in pixels at which encoders read images and losses compare them ("Encoding in Style", 4)."""

SUFFIXES = {
    # Level 3 takes a third of the time of the default 6, for a tenth more bytes.
    ".png": ("PNG", {"1", "L", "LA", "P", "RGB", "RGBA"}, {"compress_level": 3}),
    ".jpg": ("JPEG", {"L", "RGB"}, {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"L", "RGB"}, {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"RGB", "RGBA"}, {"quality": 95}),
}
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(path: str | os.PathLike[str]) -> Image.Image:
    """The picture of a file: mode RGB, upright, sRGB, over white; the first frame of several.

    Raises:
        ImageError: one line that names the file: missing, a folder, empty, not readable, not a
            picture of the `FORMATS`, cut short or damaged, below `MIN_SIDE` pixels a side, or above
            `MAX_MEGAPIXELS` (refused from its header, before anything is decoded).
    """
    name = _printable(path)
    try:
        _check_file(name, Path(path))
        with (
            Path(path).open("rb") as file,
            _guards_of_pillow_set(),
            Image.open(file, formats=_formats()) as picture,
        ):
            if min(picture.size) < MIN_SIDE:
                size = "x".join(map(str, picture.size))
                raise ImageError(f"{name}: {size} is too small; {MIN_SIDE} pixels a side needed")
            picture.load()
            return to_rgb(_upright(picture))
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read (permission denied)") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: is no picture or a damaged one; what is read: JPEG, PNG, WebP, TIFF, BMP, "
            "GIF, AVIF, JPEG 2000 and PPM (convert HEIC, SVG and raw files)"
        ) from error
    except Image.DecompressionBombError as error:
        limit = f"the limit of {MAX_MEGAPIXELS} megapixels"
        raise ImageError(f"{name}: is above {limit}; shrink it first") from error
    except MemoryError as error:
        raise ImageError(f"{name}: too large for the memory of this machine") from error
    except Exception as error:  # decoders raise all kinds on damaged files: struct, zlib, KeyError
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
        raise ImageError(f"{name}: is damaged or cut short ({reason})") from error


def _check_file(name: str, path: Path) -> None:
    try:
        status = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise ImageError(f"{name}: is not a file name ({error})") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{name}: is a folder, not a picture; name the pictures in it")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{name}: is not a regular file")
    if status.st_size == 0:
        raise ImageError(f"{name}: the file is empty")


def _printable(path: str | os.PathLike[str]) -> str:
    """The path as one line, whatever characters are in it."""
    name = os.fsdecode(path)
    return name if name.isprintable() else ascii(name)


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


_guard_lock = threading.Lock()
_guard_users = 0
_guard_saved: tuple[warnings.catch_warnings[None], int | None] | None = None


@contextmanager
def _guards_of_pillow_set() -> Iterator[None]:
    """Our limit in Pillow's guard against huge pictures, and none of its warnings, while reading.

    Pillow warns above its limit and refuses above twice its limit, hence the half; it looks at the
    header of the file and of the parts in it, so nothing is decoded before.

    Both are settings of the whole process, so threads that read at once share one change: the first
    one in makes it and the last one out takes it back. (Each saving and restoring for itself would
    leave the change in place for good when they overlap.)
    """
    global _guard_users, _guard_saved
    with _guard_lock:
        if _guard_users == 0:
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            _guard_saved = (quiet, Image.MAX_IMAGE_PIXELS)
            Image.MAX_IMAGE_PIXELS = MAX_MEGAPIXELS * 1_000_000 // 2
        _guard_users += 1
    try:
        yield
    finally:
        with _guard_lock:
            _guard_users -= 1
            if _guard_users == 0 and _guard_saved is not None:
                quiet, Image.MAX_IMAGE_PIXELS = _guard_saved
                _guard_saved = None
                quiet.__exit__(None, None, None)


def _upright(picture: Image.Image) -> Image.Image:
    """Obey the EXIF orientation. Pillow has already turned TIFF files, and then reports 1."""
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # broken EXIF is no reason to lose a good picture
        logger.debug("EXIF ignored: %s", error)
        return picture
    return picture if turn is None else picture.transpose(turn)


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


def _to_gray(picture: Image.Image) -> Image.Image:
    """Mode L from deep gray (modes I, I;16, F), rounded to nearest.

    The brightest value tells the depth: integers up to 255, 4095 or 65535 are 8, 12 or 16 bits, and
    floats up to 1, 255 or 65535 likewise. Negative or larger values stretch lowest to highest.
    """
    values = np.nan_to_num(np.asarray(picture).astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    depths = (1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 4095.0, 65535.0)
    if low >= 0 and high <= depths[-1]:
        low, high = 0.0, next(depth for depth in depths if high <= depth)
    values -= low
    values *= 255 / max(high - low, 1e-30)
    return Image.fromarray(np.rint(values).astype(np.uint8))


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
    name, suffix = _printable(path), Path(path).suffix.lower()
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
