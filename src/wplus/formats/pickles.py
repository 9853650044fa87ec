"""Pickles and torch checkpoints, read without running anything that is in them.

A pickle is a program: it names functions and calls them. Both readers here know the few functions
that tensors need and refuse a file that names any other. Whatever is wrong with a file comes out
as one line of `FormatError`.

* `read_torch` leans on torch's own restricted reader and adds what old checkpoints carry besides
  tensors: parsed options, numpy numbers, paths.
* `read_pickle` takes the closed list of names as a table. A name is mapped to a function or class
  of ours that only records what it is given, so nothing of numpy or torch is called with arguments
  of the file's choosing.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import pickletools
import re
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch

from wplus.errors import FormatError
from wplus.formats.opening import AGAIN, line, opened, shown
from wplus.formats.pickled_arrays import BYTES, NUMPY, Allowed, Array, DType, Sealed

__all__ = [
    "BYTES",
    "NUMPY",
    "Allowed",
    "ClosedUnpickler",
    "Record",
    "Sealed",
    "read_pickle",
    "read_torch",
]

MAX_TUPLES = 50_000  # a tensor takes four, a generator pickle some thousands
_LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # torch.save's, up to torch 1.5
_ADVICE = "get the weights alone, as a state_dict"


def read_torch(source: str | os.PathLike[str] | bytes) -> Any:
    """Read a file of `torch.save`, in today's layout (zip) or the old one, onto the CPU.

    A file in the zip layout is mapped into memory, not copied: its tensors are read from the disk
    as they are used.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        What was saved: tensors in dicts, lists and tuples, with plain values, numpy numbers,
        `argparse.Namespace` and pure paths among them.

    Raises:
        FormatError: the file is missing, is no checkpoint, is damaged, or names anything else.
    """
    with opened(source) as (stream, path, head):
        file: Any = stream
        if head.startswith(b"PK\x03\x04"):
            _check_zip(stream)
            file = path or stream
        else:
            _check_legacy(stream, head)
        stream.seek(0)
        with _lenient_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about things that the file's writer did
            try:
                return torch.load(file, map_location="cpu", weights_only=True, mmap=file is path)
            except FormatError:
                raise
            except Exception as error:  # bytes from elsewhere can fail anywhere in torch
                raise _torch_reason(error) from None


def read_pickle(source: str | os.PathLike[str] | bytes, allowed: Allowed) -> Any:
    """Read a plain pickle that may name nothing but what `allowed` lists.

    Args:
        source: a path, or the bytes of a file.
        allowed: `NUMPY`, or a table of one's own; see `ClosedUnpickler`.

    Raises:
        FormatError: the file is missing, is no pickle, is damaged, or names anything else.
    """
    with opened(source) as (stream, _, head):
        if head.startswith(b"PK"):
            raise FormatError("is a zip archive or torch checkpoint, not a pickle")
        if not head.startswith(b"\x80"):
            raise FormatError("is not a pickle; " + AGAIN)
        try:
            _scan(stream)
            stream.seek(0)
            return ClosedUnpickler(stream, allowed).load()
        except FormatError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way
            raise FormatError(f"is damaged or cut short ({line(error)}); {AGAIN}") from None


class ClosedUnpickler(pickle.Unpickler):
    """An unpickler with a closed list of names.

    A pickle can do more to an object than call it: it can set its attributes (BUILD). So only
    `Sealed` classes are handed out as they are; everything else goes behind a wrapper that can be
    called and nothing more.
    """

    def __init__(self, file: BinaryIO, allowed: Allowed) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """The entry of the table; every other name is refused.

        Raises:
            FormatError: the name is not in the table.
        """
        module = "builtins" if module == "__builtin__" else module  # protocol 2 speaks Python 2
        entry = self._allowed.get((module, name))
        if entry is None:
            raise _refusal(f"{module}.{name}")
        return entry if isinstance(entry, Sealed) else _Call(entry)

    def persistent_load(self, pid: Any) -> Any:
        """Data outside the file.

        Raises:
            FormatError: always.
        """
        raise FormatError("is damaged or not a whole file: it points to data outside itself")


class _Call:
    """A function of the table, with nothing on it that a file could set."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise FormatError("refused, because it would alter a function")

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Record(dict[Any, Any], metaclass=Sealed):
    """A dict that stands in for dict-like classes; attributes that a file gives it are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


def _scan(stream: BinaryIO) -> None:
    """Walk the instructions once without obeying them, so that no length or index is a lie.

    C code would otherwise reserve the memory that a length promises before it looks at the data,
    and overflow its stack on tuples that are nested a million deep.
    """
    tuples = 0
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        tuples += instruction.name.startswith("TUPLE")
        # Picklers number what they remember one by one.
        if tuples > MAX_TUPLES or ("PUT" in instruction.name and int(argument or 0) > count):
            raise FormatError("is damaged, or made to exhaust the memory")


def _refusal(name: str) -> FormatError:
    return FormatError(f"refused: it asks for {shown(name)}, which could run code; {_ADVICE}")


def _check_zip(stream: BinaryIO) -> None:
    try:
        members = zipfile.ZipFile(stream).infolist()
    except Exception:  # zipfile raises many kinds on damaged archives
        raise FormatError("is damaged or cut short; " + AGAIN) from None
    names = {member.filename.rpartition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise FormatError("is a TorchScript program, not a checkpoint of tensors")
    if "data.pkl" not in names:
        raise FormatError("is a zip archive, not a checkpoint; if one is inside, unpack it first")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise FormatError("is a compressed archive, which torch.save does not write")


def _check_legacy(stream: BinaryIO, head: bytes) -> None:
    # The oldest layout. Before 2.6, torch would read it from a file on disk (not from a stream, as
    # here) without its restrictions, even from an archive that starts like a pickle.
    if tarfile.is_tarfile(stream):
        raise FormatError("is a tar archive; unpack it and give the model inside")
    if not head.startswith(b"\x80"):
        raise FormatError("is not a torch checkpoint; " + AGAIN)
    if _LEGACY_MAGIC not in head[:32]:
        raise FormatError("is a Python pickle, not a torch checkpoint")


def _torch_reason(error: Exception) -> FormatError:
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return _refusal(found[1] if "." in found[1] else f"builtins.{found[1]}")
    reason = line(text.rpartition("WeightsUnpickler error:")[2] or error)
    if isinstance(error, pickle.UnpicklingError) and "EOF" not in text:
        return FormatError(f"cannot be read safely ({reason}); {_ADVICE}")
    return FormatError(f"is damaged or cut short ({reason}); {AGAIN}")


def _named(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """`function` under the name by which torch looks it up."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, call.__name__, call.__qualname__ = module, name, name
    return call


def _path(kind: type[pathlib.PurePath]) -> Callable[..., pathlib.PurePath]:
    return lambda *parts: kind(*map(str, parts))


_TORCH_EXTRAS: list[Any] = [
    argparse.Namespace,
    DType,
    Array,
    set,
    *(_named(entry, *key) for key, entry in NUMPY.items()),
    *(
        _named(_path(kind), module, name)
        for module in ("pathlib", "pathlib._local")
        for name, kind in (
            ("PosixPath", pathlib.PurePosixPath),
            ("WindowsPath", pathlib.PureWindowsPath),
        )
    ),
]
_lock = threading.Lock()


@contextmanager
def _lenient_torch() -> Iterator[None]:
    """Let torch's restricted reader accept our extras, then leave its list as it was."""
    with _lock:
        before = list(torch.serialization.get_safe_globals())
        torch.serialization.add_safe_globals(_TORCH_EXTRAS)
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)
