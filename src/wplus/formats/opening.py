"""Opening a file that came from elsewhere, and saying plainly what it is if it is no model.

Failed downloads are the usual trouble: drives answer with a web page, and it is saved under the
name of the model.
"""

from __future__ import annotations

import io
import mmap
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from wplus.errors import FormatError

MAX_BYTES = 8 << 30  # the largest published generator pickles are below 2 GiB
AGAIN = "download it again"

_HEAD = 512
_NOT_MODELS = (
    (rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|head|!--)", "is a web page, not a model; " + AGAIN),
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file; run `git lfs pull`"),
    (
        rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF[\s\S]{4}WEBP|[\s\S]{4}ftyp",
        "is an image, not a model",
    ),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "is a compressed archive; unpack it first"),
    (rb"[\s\S]{8}\{\"", "is a safetensors file, not a pickle or a torch checkpoint"),
    (rb"[\t\r\n -~]{16,}\Z|\s*\{\"", "is a text file, not a model; " + AGAIN),
)


class Opened(NamedTuple):
    """A file that is open for reading."""

    stream: Any
    """Readable and seekable; never hands out more than the file has, whatever is asked for."""
    path: str | None
    """None for bytes."""
    head: bytes
    """The first 512 bytes."""
    size: int
    """Bytes in all."""


@contextmanager
def opened(source: str | os.PathLike[str] | bytes) -> Iterator[Opened]:
    """Open a model file, or the bytes of one; a `FormatError` of the body gets the file's name.

    Raises:
        FormatError: the file is missing, unreadable, empty or too large, or its first bytes show
            that it is no model.
    """
    name = "data inside the file" if isinstance(source, bytes) else os.fspath(source)
    try:
        if isinstance(source, bytes):
            _check_head(source[:_HEAD])
            yield Opened(io.BytesIO(source), None, source[:_HEAD], len(source))
            return
        if pathlib.Path(source).is_dir():
            raise FormatError("is a folder, not a file")
        with pathlib.Path(source).open("rb") as file:
            head = file.read(_HEAD)
            _check_head(head)
            if (size := file.seek(0, os.SEEK_END)) > MAX_BYTES:
                raise FormatError(f"is larger than {MAX_BYTES >> 30} GiB, too large for a model")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                yield Opened(mapped, name, head, size)
    except FileNotFoundError:
        raise FormatError(f"{name}: no such file") from None
    except OSError as error:
        raise FormatError(f"{name}: cannot be read ({error.strerror or line(error)})") from None
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from None
    except (ValueError, TypeError, KeyError, IndexError, struct.error, RuntimeError) as error:
        # Bytes from elsewhere can fail anywhere in a reader.
        raise FormatError(f"{name}: is damaged or truncated ({line(error)}); {AGAIN}") from None


def _check_head(head: bytes) -> None:
    if not head:
        raise FormatError("is empty; " + AGAIN)
    for pattern, reason in _NOT_MODELS:
        if re.match(pattern, head, re.IGNORECASE):
            raise FormatError(reason)


def shown(text: str) -> str:
    """Text of a file's choosing, fit for a message: printable, and 80 characters at most."""
    return "".join(c if c.isprintable() else "?" for c in text)[:80]


def line(reason: object) -> str:
    """The first line of an error's text, or its kind if it has none."""
    lines = str(reason).strip().splitlines()
    return shown(lines[0]) if lines else type(reason).__name__
