"""GIF and WebP frame by frame.

Pillow writes animations too, but holds all frames until the last one. Here it encodes each frame as
an image of its own, whose blocks are copied into one container ("GIF89a", 1990; "WebP Container
Specification"), so that a long film takes no more memory than a short one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from PIL import Image

from wplus.errors import ImageError

QUALITY = 85  # of WebP
_LOCAL_TABLE = 0x80  # flag of a GIF frame: it has a color table of its own
_ALONE = 0x02  # flag of a WebP frame: it replaces the previous one
_ANIMATED = 0x02  # flag of a WebP file
_BITSTREAMS = (b"VP8 ", b"VP8L", b"ALPH")


def write_gif(frames: Iterable[Image.Image], file: BinaryIO, fps: float) -> None:
    """Write RGB frames of one size as a GIF that plays for ever, each with its own 256 colors.

    Raises:
        ImageError: Pillow's GIF has another layout than expected.
    """
    for index, (frame, time) in enumerate(zip(frames, durations(fps, 100))):
        coded = io.BytesIO()
        colors = frame.convert("P", palette=Image.Palette.ADAPTIVE)
        colors.save(coded, "GIF", duration=10 * time, interlace=False, optimize=False)
        data = coded.getvalue()
        if not index:
            # Canvas without a color table of its own; an endless loop.
            file.write(b"GIF89a" + struct.pack("<HHBBB", *frame.size, 0x70, 0, 0))
            file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", 0) + b"\0")
        depth = data[10] & 7
        start = 13 + (6 << depth)  # header; then a color table of 2^(depth + 1) RGB triples
        control, place = data[start : start + 8], data[start + 8 : start + 18]
        if not data[10] & 0x80 or control[:2] != b"!\xf9" or place[:1] != b",":
            raise ImageError("this version of Pillow writes GIF differently; use .webp or .mp4")
        file.write(control + place[:9] + bytes([place[9] | _LOCAL_TABLE | depth]))
        file.write(data[13:start] + data[start + 18 : -1])
    file.write(b";")


def write_webp(frames: Iterable[Image.Image], file: BinaryIO, fps: float) -> None:
    """Write RGB frames of one size as a WebP that plays for ever.

    Args:
        frames: see above.
        file: seekable; it begins where the file stands.
        fps: frames per second.
    """
    begin = file.tell()
    file.write(b"RIFF\0\0\0\0WEBP")
    for index, (frame, time) in enumerate(zip(frames, durations(fps, 1000))):
        sides = b"".join(_three_bytes(side - 1) for side in frame.size)
        if not index:
            file.write(_chunk(b"VP8X", bytes([_ANIMATED, 0, 0, 0]) + sides))
            file.write(_chunk(b"ANIM", bytes(6)))  # no background; an endless loop
        coded = io.BytesIO()
        frame.save(coded, "WEBP", quality=QUALITY, method=4)
        corner = bytes(6)
        about = corner + sides + _three_bytes(time) + bytes([_ALONE])
        parts = (_chunk(*each) for each in _chunks(coded.getvalue()) if each[0] in _BITSTREAMS)
        file.write(_chunk(b"ANMF", about + b"".join(parts)))
    end = file.tell()
    file.seek(begin + 4)
    file.write(struct.pack("<I", end - begin - 8))
    file.seek(end)


def durations(fps: float, unit: int) -> Iterator[int]:
    """Whole parts of a second (1/unit) for each frame, which add up to the rate."""
    shown = 0
    number = 1
    while True:
        until = max(shown + 1, round(number * unit / fps))
        yield until - shown
        shown, number = until, number + 1


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the chunks of a RIFF file."""
    place = 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _three_bytes(number: int) -> bytes:
    return struct.pack("<I", number)[:3]
