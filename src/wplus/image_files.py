"""Image files of every kind, to Pillow images: all limits and refusals in one reader.

Photographs, masks, label maps and drawings are opened here, from paths or from bytes. Only the
first frame of several is read. What cannot be shown whole is refused with one line: half an image
is never returned. Nothing is decoded before its size is known to be in proportion to its file.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from wplus.errors import ImageError

logger = logging.getLogger(__name__)

# Pillow's names of what is read. Closed, because some of its other readers start programs (EPS) or
# take any bytes for an image (TGA). HEIF counts only where pillow-heif is installed.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "HEIF")
MAX_MEGAPIXELS = 200  # the largest telephone cameras give 199.8; as RGB that is 0.8 GB of memory
SPARE_PIXELS = 24_000_000  # any file may have as many, …
PIXELS_PER_BYTE = 24  # … and so many more for each of its bytes: photographs have 2 to 10
MIN_SIDE = 16  # pixels; below this there is no face and nothing to translate
IN_MEMORY = 64 << 20  # bytes of a file that is read at once
TEXT = 100_000  # bytes of uncompressed text of a PNG that are read; more text is passed over
_PROFILE = 1_000_000  # bytes of a color profile, unpacked, that are followed
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
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

Source = str | os.PathLike[str] | bytes


def read_stored(source: Source, smallest: int = MIN_SIDE) -> Image.Image:
    """The image as it stands in its file: in its own mode, but upright.

    Args:
        source: a path, or the bytes of a file.
        smallest: side in pixels below which it is refused.

    Returns:
        The image; `info["lossy"]` says whether its compression changes pixels.

    Raises:
        ImageError: one line that names the file: missing, a folder, empty, not readable, not an
            image of the `FORMATS`, truncated or damaged, below `smallest` pixels a side, or larger
            than `MAX_MEGAPIXELS` or than its file can account for (refused from its header).
    """
    with naming(source) as name, _opened(source) as (file, size, head):
        with _guards_of_pillow_set(), Image.open(file, formats=_formats(name, head)) as image:
            if min(image.size) < smallest:
                shown = "x".join(map(str, image.size))
                raise ImageError(f"{name}: {shown} is too small; {smallest} pixels a side needed")
            _check_size(image, size)
            image.load()
            _check_whole(image, file)
            upright = _upright(image)
            upright.info["lossy"] = _is_lossy(image, file)
        return upright


@contextmanager
def naming(source: Source) -> Iterator[str]:
    """Turn every exception of a decoder into one line that begins with the file's name."""
    name = "data in memory" if isinstance(source, bytes) else printable(source)
    try:
        yield name
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such file") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read (permission denied)") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: is no picture or a damaged one; what is read: JPEG, PNG, WebP, TIFF, BMP, "
            "GIF, AVIF, JPEG 2000, PPM and HEIC (convert SVG and raw files)"
        ) from error
    except Image.DecompressionBombError as error:
        limit = f"the limit of {MAX_MEGAPIXELS} megapixels"
        raise ImageError(f"{name}: is above {limit}; shrink it first") from error
    except MemoryError as error:
        raise ImageError(f"{name}: too large for the memory of this machine") from error
    except Exception as error:  # decoders raise all kinds on damaged files: struct, zlib, KeyError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
        raise ImageError(f"{name}: is damaged or truncated ({reason})") from error


@contextmanager
def _opened(source: Source) -> Iterator[tuple[BinaryIO, int, bytes]]:
    """The file, what its length is, and its first bytes; a PNG without large texts."""
    if not isinstance(source, bytes):
        _check_file(printable(source), Path(source))
    elif not source:
        raise ImageError("data in memory: is empty")
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= IN_MEMORY and not isinstance(source, bytes):
            # Asked for more than there is, a file still reserves memory for it.
            file = io.BytesIO(file.read())
        head = file.read(32)
        file.seek(0)
        slim = _without_texts(file) if head.startswith(b"\x89PNG") else None
        yield slim or file, size, head


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


def printable(path: str | os.PathLike[str]) -> str:
    """The path as one line, whatever characters are in it."""
    name = os.fsdecode(path)
    return name if name.isprintable() else ascii(name)


def _formats(name: str, head: bytes) -> list[str]:
    Image.init()
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF and "HEIF" not in Image.OPEN:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise ImageError(
                f"{name}: is a HEIC image, which needs an extra: pip install 'wplus[heif]'"
            ) from None
        register_heif_opener()
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


def _check_size(image: Image.Image, size: int) -> None:
    """Refuse what would take far more memory than its file can account for."""
    pixels = image.width * image.height
    if image.format == "TIFF":  # a tile is allocated whole, however small the image
        tags = getattr(image, "tag_v2", {})
        tile = int(tags.get(322, 0)) * int(tags.get(323, 0))
        pixels = max(pixels, tile)
    if pixels > SPARE_PIXELS + PIXELS_PER_BYTE * size:
        raise ValueError(f"{pixels / 1e6:.0f} megapixels in {size} bytes")


def _upright(image: Image.Image) -> Image.Image:
    """Obey the EXIF orientation. Pillow has already turned TIFF files, and then reports 1."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception as error:  # broken EXIF is no reason to lose a good image
        logger.debug("EXIF ignored: %s", error)
        turn = None
    if turn is None:
        return image.copy()
    turned = image.transpose(turn)
    turned.info = dict(image.info)
    return turned


# ------------------------------------------------------------------------- parts of PNG files


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of the data of each part of a PNG file."""
    place = 8
    while True:
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header)
        yield kind, place + 8, length
        place += length + 12


def _without_texts(file: BinaryIO) -> BinaryIO | None:
    """A PNG file without its large texts and color profiles; None if it has none.

    Pillow refuses the whole image when one of them unpacks to more than a megabyte.
    """
    passed, room = [], 10 * TEXT
    for kind, start, length in _chunks(file):
        drop = kind == b"zTXt"
        if kind in (b"tEXt", b"iTXt"):
            file.seek(start)
            compressed = kind == b"iTXt" and b"\0\1" in file.read(min(length, 82))
            drop = compressed or length > min(TEXT, room)
            room -= 0 if drop else length
        elif kind == b"iCCP":
            file.seek(start)
            _, _, packed = file.read(length).partition(b"\0")
            drop = _unpacked_size([packed[1:]], _PROFILE + 1) > _PROFILE
        if drop:
            passed.append((start - 8, start + length + 4))
    file.seek(0)
    if not passed:
        return None
    kept, place = [], 0
    for start, end in passed:
        kept.append(file.read(start - place))
        file.seek(end)
        place = end
    return io.BytesIO(b"".join([*kept, file.read()]))


def _unpacked_size(parts: Iterator[bytes] | list[bytes], enough: int) -> int:
    """How many bytes a zlib stream unpacks to; stops counting at `enough`."""
    unpacker, total = zlib.decompressobj(), 0
    try:
        for part in parts:
            while part and total < enough and not unpacker.eof:
                total += len(unpacker.decompress(part, 1 << 20))
                part = unpacker.unconsumed_tail
    except zlib.error:
        pass
    return total


# -------------------------------------------------------------- whether all pixels are there


def _check_whole(image: Image.Image, file: BinaryIO) -> None:
    """Refuse files whose data end too early where the decoder fills the rest by itself."""
    if image.format == "PNG":
        # Pixels that are missing are zero, and the last rows are among them.
        last = np.asarray(image.crop((0, image.height - 2, image.width, image.height)))
        if not last[0].any() or not last[1].any():
            _check_png(image, file)
    elif image.format == "JPEG":
        corner = image.crop((image.width - 4, image.height - 4, image.width, image.height))
        gray = image.mode in ("L", "RGB") and bool((np.asarray(corner) == 128).all())
        if gray or image.info.get("progressive"):
            _check_jpeg(image, file)


def _check_png(image: Image.Image, file: BinaryIO) -> None:
    file.seek(16)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 1)
    grids = [(0, 0, 1, 1)]
    if interlaced:  # Adam7: first column and row, and the steps
        grids = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)]
        grids += [(0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    needed = 0
    for left, top, across, down in grids:
        columns, rows = -((left - width) // across), -((top - height) // down)
        if columns > 0 and rows > 0:
            needed += rows * (1 + (columns * bits + 7) // 8)

    def data() -> Iterator[bytes]:
        for name, start, length in _chunks(file):
            if name == b"IDAT":
                file.seek(start)
                yield file.read(length)

    if _unpacked_size(data(), needed) < needed:
        raise OSError("too few pixels in the file")


def _check_jpeg(image: Image.Image, file: BinaryIO) -> None:
    """A decoder that lacks data fills in gray; with other data behind, it would use these."""
    file.seek(0)
    data = file.read()
    end = data.rfind(b"\xff\xd9")
    if end < 0:
        return
    with Image.open(io.BytesIO(data[:end] + bytes(4096) + b"\xff\xd9"), formats=["JPEG"]) as again:
        try:
            again.load()
        except OSError:
            return
        rows = (0, max(0, image.height - 64), image.width, image.height)
        if again.crop(rows).tobytes() != image.crop(rows).tobytes():
            raise OSError("too few pixels in the file")


def _is_lossy(image: Image.Image, file: BinaryIO) -> bool:
    kind = image.format or ""
    if kind == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    file.seek(0)
    head = file.read(1 << 16)
    if kind == "WEBP":
        return b"VP8L" not in head
    if kind == "JPEG2000":  # the wavelet that rounds nothing is number 1
        return head[head.find(b"\xff\x52") + 13 :][:1] != b"\1"
    return kind in ("JPEG", "AVIF", "HEIF")
