"""Arrays that other tools save: NumPy's .npy and .npz, and torch files, read without running code.

A .npy file may hold any Python object as a pickle, and ReStyle's latents are saved so; such a
pickle is read through the same closed list of names as all others.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.opening import AGAIN, opened, shown
from wplus.formats.pickled_arrays import NUMPY, Allowed, DType, Sealed, array_of
from wplus.formats.pickles import Record, read_pickle, unpickle
from wplus.formats.torch_files import MAGIC, read_torch

MAGIC_NPY = b"\x93NUMPY"
LARGEST = 256 << 20  # bytes of one array that is unpacked


def read_arrays(path: str | os.PathLike[str]) -> Any:
    """What a .npy, .npz, .pt or .pkl file holds; the content decides which it is.

    Returns:
        Tensors and arrays, alone or in dicts, lists and tuples. Arrays of objects become what they
        hold (of no dimension) or lists.

    Raises:
        FormatError: missing, damaged, unsafe, or of another kind.
    """
    with opened(path) as (stream, _, head, _):
        if head.startswith(MAGIC_NPY):
            return _read_npy(stream)
        if head.startswith(b"PK"):
            names = _npz_names(stream)
            if names is not None:
                return {each.removesuffix(".npy"): _member(path, each) for each in names}
    if head.startswith(b"\x80") and MAGIC not in head[:32]:
        return _plain(read_pickle(path, OBJECTS))
    return read_torch(path)


def _npz_names(stream: BinaryIO) -> list[str] | None:
    """Names of the arrays in an archive; None if it is of another kind."""
    try:
        names = zipfile.ZipFile(stream).namelist()
    except Exception:  # zipfile raises many kinds on damaged archives
        raise FormatError("is damaged or truncated; " + AGAIN) from None
    return names if names and all(name.endswith(".npy") for name in names) else None


def _member(path: str | os.PathLike[str], name: str) -> Any:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            data = member.read(LARGEST + 1)
    except Exception as error:
        raise FormatError(f"is damaged or truncated ({type(error).__name__}); {AGAIN}") from None
    if len(data) > LARGEST:
        raise FormatError(f"holds an array of more than {LARGEST >> 20} MiB")
    return _read_npy(io.BytesIO(data))


def _read_npy(stream: BinaryIO) -> Any:
    stream.seek(0)
    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = reader(stream, max_header_size=10_000)
    except Exception:  # the header is text of the file's choosing
        raise FormatError("has a damaged NumPy header; " + AGAIN) from None
    if dtype.hasobject:
        return _plain(unpickle(stream, OBJECTS))
    if dtype.kind not in "fiub" or any(n < 0 for n in shape):
        raise FormatError(f"holds an array of {shown(str(dtype))}, not of numbers")
    raw = stream.read()
    if len(raw) < math.prod(shape) * dtype.itemsize:
        raise FormatError("is truncated: its data do not fill its shape; " + AGAIN)
    flat = np.frombuffer(raw, dtype, math.prod(shape))
    return np.array(flat.reshape(shape, order="F" if fortran else "C"), dtype.newbyteorder("="))


class _AnyDType(DType):
    """A type of numbers, or of objects."""

    __slots__ = ("objects",)

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        self.objects = code in ("O8", "O4", "O")
        super().__init__("f4" if self.objects else code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if not self.objects:
            super().__setstate__(state)


class _AnyArray(metaclass=Sealed):
    """An array of numbers or of objects; which, its state says."""

    __slots__ = ("value",)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _AnyDType) or not dtype.objects:
            self.value: Any = array_of(shape, dtype, fortran, raw)
        elif type(raw) is list and isinstance(shape, tuple) and len(raw) == math.prod(shape):
            self.value = raw[0] if shape == () else raw
        else:
            raise FormatError("holds an array whose data does not fill its shape")


OBJECTS: Allowed = {
    **NUMPY,
    ("collections", "OrderedDict"): Record,
    ("numpy", "dtype"): _AnyDType,
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _AnyArray()
        for core in ("core", "_core")
    },
}
"""`NUMPY`, with arrays of objects."""


def _plain(content: Any) -> Any:
    """The content without the stand-ins for arrays; `scan` has bounded how deep it is."""
    if isinstance(content, _AnyArray):
        return _plain(getattr(content, "value", None))
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return content


def tensor_of(value: object) -> Tensor | None:
    """A float32 tensor of an array or tensor of numbers; None for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        value = torch.from_numpy(np.ascontiguousarray(value))
    return value.detach().float() if isinstance(value, Tensor) else None
