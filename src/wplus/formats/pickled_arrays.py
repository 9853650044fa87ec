"""What pickles of numpy arrays and scalars say, taken as data.

A pickled array names functions of numpy and gives them arguments. Here the same names lead to
functions of ours that check the arguments first, so a file can neither build arrays of objects nor
reserve memory that it does not fill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wplus.errors import FormatError
from wplus.formats.opening import shown

Allowed = Mapping[tuple[str, str], Any]
"""(module, name) as a file spells it -> the function, class or type that the file gets instead."""

_CODES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
_CODES |= frozenset(["f2", "f4", "f8", "c8", "c16"])


class Sealed(type):
    """Class of the classes that a pickle may touch: no instruction of it can alter them."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise FormatError(f"refused, because it would alter the class {cls.__name__}")


class DType(metaclass=Sealed):
    """What a pickle says about an array's type; never a `numpy.dtype` of its making."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if code not in _CODES:
            raise FormatError(f"holds arrays of type {shown(str(code))}, not of numbers")
        self.code, self.order = str(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "=") or any(state[2:5]):
            raise FormatError("holds an array of a composite type")
        self.order = "=" if state[1] == "|" else state[1]

    def numpy(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self.order + self.code)


def _checked(dtype: object, raw: object, shape: object) -> np.dtype[Any]:
    """The type of an array, once its data are known to be numbers and to fill `shape`."""
    if not isinstance(dtype, DType) or not isinstance(raw, bytes | bytearray):
        raise FormatError("holds an array that is not plain numbers")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise FormatError("holds an array of an impossible shape")
    if len(raw) != math.prod(shape) * dtype.numpy().itemsize:
        raise FormatError("holds an array whose data does not fill its shape")
    return dtype.numpy()


def array_of(shape: object, dtype: object, fortran: object, raw: Any) -> np.ndarray:
    """An array of its own from checked data. Raises FormatError."""
    flat = np.frombuffer(raw, _checked(dtype, raw, shape))
    flat = flat.astype(flat.dtype.newbyteorder("="))  # a copy that may be written
    return flat.reshape(shape, order="F" if fortran else "C")  # type: ignore[call-overload, no-any-return]


class Array(np.ndarray, metaclass=Sealed):
    """An array that fills itself from checked data only."""

    __slots__ = ()

    def __new__(cls) -> Array:
        """An empty array; whatever size a file asks for is not reserved."""
        return np.ndarray.__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        state = (1, shape, _checked(dtype, raw, shape), bool(fortran), bytes(raw))
        super().__setstate__(state)


def _reconstruct(subtype: object, shape: object, code: object) -> Array:
    return Array()


def _scalar(dtype: object, raw: Any) -> Any:
    return np.frombuffer(raw, _checked(dtype, raw, ()))[0]


def _frombuffer(raw: Any, dtype: object, shape: Any, order: object) -> np.ndarray:
    return array_of(shape, dtype, order == "F", raw)


def _ndarray(*args: object) -> None:
    raise FormatError("is damaged: it makes an array out of nothing")


def _encode(text: object, encoding: object) -> bytes:
    """Bytes as pickles of protocol 2 spell them: text in Latin-1."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise FormatError("is damaged: bytes are stored in an unknown way")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """Empty bytes, which protocol 2 spells as a call."""
    return b""


BYTES: Allowed = {("_codecs", "encode"): _encode, ("builtins", "bytes"): _no_bytes}
"""Bytes, in pickles of protocol 2."""

NUMPY: Allowed = {
    **BYTES,
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): _ndarray,  # only ever the first argument of `_reconstruct`
    # numpy 2 renamed `numpy.core`; either version reads the files of both.
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}
"""Arrays and scalars of numbers: what a pickle of weights holds that knows numpy only."""
