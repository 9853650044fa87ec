"""Pickles, read without running anything that is in them.

A pickle is a program: it names functions and calls them. The reader here knows the few names that
weights need and refuses a file with any other. A name leads to a function or class of ours that
only records its arguments, so nothing of numpy or torch is called with arguments of the file's
choosing. Before that, `scan` works out what the program would build, and refuses what would exhaust
the machine. Whatever is wrong with a file comes out as one line of `FormatError`.

`torch_files` reads the pickles inside torch checkpoints with the same reader.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

import torch

from wplus.errors import FormatError
from wplus.formats.opening import AGAIN, line, opened, shown
from wplus.formats.pickled_arrays import NUMPY, Allowed, Sealed
from wplus.formats.scan import scan

ADVICE = "get the weights alone, as a state_dict"


def read_pickle(source: str | os.PathLike[str] | bytes, allowed: Allowed) -> Any:
    """Read a plain pickle that may name nothing but what `allowed` lists.

    Args:
        source: a path, or the bytes of a file.
        allowed: `NUMPY`, `VALUES`, or another table; see `ClosedUnpickler`.

    Raises:
        FormatError: the file is missing, is no pickle, is damaged, would exhaust the machine, or
            names anything else.
    """
    with opened(source) as (stream, _, head, _):
        if head.startswith(b"PK"):
            raise FormatError("is a zip archive or torch checkpoint, not a pickle")
        if not head.startswith(b"\x80"):
            raise FormatError("is not a pickle; " + AGAIN)
        return unpickle(stream, allowed)


def unpickle(
    stream: BinaryIO, allowed: Allowed, storages: Callable[[Any], Any] | None = None
) -> Any:
    """Read the pickle that starts where `stream` stands, and leave the stream behind it.

    Args:
        stream: seekable.
        allowed: see `ClosedUnpickler`.
        storages: what a persistent id of the pickle stands for; None refuses every one.

    Raises:
        FormatError: see `read_pickle`.
    """
    start = stream.tell()
    try:
        scan(stream)
        end = stream.tell()
        stream.seek(start)
        content = ClosedUnpickler(stream, allowed, storages).load()
        stream.seek(end)
        return content
    except FormatError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise FormatError(f"is damaged or truncated ({line(error)}); {AGAIN}") from None


class ClosedUnpickler(pickle.Unpickler):
    """An unpickler with a closed list of names; only for pickles that `scan` has passed.

    A pickle can do more to an object than call it: it can set its attributes (BUILD). So only
    `Sealed` classes are handed out as they are; everything else goes behind a wrapper that can be
    called and nothing more.
    """

    def __init__(
        self,
        file: BinaryIO,
        allowed: Allowed,
        storages: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")  # of Python 2
        self._allowed, self._storages = allowed, storages

    def find_class(self, module: str, name: str) -> Any:
        """The entry of the table; every other name is refused.

        Raises:
            FormatError: the name is not in the table.
        """
        module = "builtins" if module == "__builtin__" else module  # protocol 2 speaks Python 2
        entry = self._allowed.get((module, name))
        if entry is None:
            asked = shown(f"{module}.{name}")
            raise FormatError(f"refused: it asks for {asked}, which could run code; {ADVICE}")
        return entry if isinstance(entry, Sealed | torch.dtype) else Call(entry)

    def persistent_load(self, pid: Any) -> Any:
        """Data outside the pickle.

        Raises:
            FormatError: nothing of the kind is expected.
        """
        if self._storages is None:
            raise FormatError("is damaged or not a whole file: it points to data outside itself")
        return self._storages(pid)


class Call:
    """A function of the table, with nothing on it that a file could set."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __setattr__(self, name: str, value: object) -> None:
        raise FormatError("refused, because it would alter a function")

    def __call__(self, *args: Any) -> Any:
        """What the function makes of the arguments."""
        return self.function(*args)


class Record(dict[Any, Any], metaclass=Sealed):
    """A dict that stands in for dict-like classes; attributes that a file gives it are dropped."""

    __slots__ = ()

    def __new__(cls, *args: object) -> Record:
        """A pickle may hand over its pairs; only names are taken for keys here."""
        # The hash of a large number can be chosen to collide.
        keys = [key for pairs in args for key in _firsts(pairs)]
        if not all(type(key) is str or (type(key) is int and key < 1 << 60) for key in keys):
            raise FormatError("is damaged: a table has keys that are no names")
        return super().__new__(cls, *args)

    def __setstate__(self, state: object) -> None:
        pass


def _firsts(pairs: object) -> list[object]:
    if isinstance(pairs, dict):
        return list(pairs)
    return [pair[0] for pair in pairs] if isinstance(pairs, list) else [None]


class _Options(argparse.Namespace, metaclass=Sealed):
    """Parsed options, as training scripts save them beside their weights."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise FormatError("is damaged: its options have no names")
        vars(self).update(state)


def _set(items: object = ()) -> set[Any]:
    if not isinstance(items, list | tuple) or not all(type(x) in (str, int) for x in items):
        raise FormatError("holds a set of other things than names and numbers")
    return set(items)


def _path(kind: type[pathlib.PurePath]) -> Callable[..., pathlib.PurePath]:
    return lambda *parts: kind(*map(str, parts))


VALUES: Allowed = {
    **NUMPY,
    ("builtins", "set"): _set,
    ("collections", "OrderedDict"): Record,
    ("argparse", "Namespace"): _Options,
    **{
        (module, name): _path(kind)
        for module in ("pathlib", "pathlib._local")
        for name, kind in (
            ("PosixPath", pathlib.PurePosixPath),
            ("WindowsPath", pathlib.PureWindowsPath),
        )
    },
}
"""Numbers, and what else training scripts save: options, ordered tables, sets and paths."""
