"""Checkpoints of `torch.save`, read without torch's own unpickler.

Two layouts: a zip archive with a pickle and one member for each storage, and the older one of five
pickles and the storages after them. Tensors are views of storages, and a file chooses sizes,
offsets and strides; each view is checked against its storage here, and all of them together against
the size of the file.
"""

from __future__ import annotations

import io
import math
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.opening import AGAIN, opened, shown
from wplus.formats.pickled_arrays import Allowed
from wplus.formats.pickles import ADVICE, VALUES, Call, Record, unpickle

MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # of the older layout
BIG_ENDIAN = "was written by a big-endian machine, which is not supported"
LARGER = 4  # tensors may share storages, but claim no more than that times the file, …
SPARE = 64 << 20  # … and that many bytes more

_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}


class Storage(NamedTuple):
    """Numbers of a file, in a row."""

    numbers: Tensor


def read_torch(source: str | os.PathLike[str] | bytes, allowed: Allowed | None = None) -> Any:
    """Read a file of `torch.save`, in today's layout (zip) or the old one, onto the CPU.

    A file in the zip layout is mapped into memory, not copied: its tensors are read from the disk
    as they are used.

    Args:
        source: a path, or the bytes of a file.
        allowed: names that the pickle may have; `TENSORS` if not given.

    Returns:
        What was saved: tensors in dicts, lists and tuples, with plain values, numpy numbers,
        `argparse.Namespace` and pure paths among them. A storage alone becomes a `Storage`.

    Raises:
        FormatError: the file is missing, is no checkpoint, is damaged, would exhaust the machine,
            or names anything else.
    """
    with opened(source) as (stream, path, head, size):
        table = {**(TENSORS if allowed is None else allowed), **_tensor_names(_Views(size).tensor)}
        if head.startswith(b"PK\x03\x04"):
            return _read_zip(stream, path, size, table)
        # The oldest layout is a tar archive, which can be made to start like the one after it.
        if tarfile.is_tarfile(stream):
            raise FormatError("is a tar archive; unpack it and give the model inside")
        if not head.startswith(b"\x80"):
            raise FormatError("is not a torch checkpoint; " + AGAIN)
        if MAGIC not in head[:32]:
            raise FormatError("is a Python pickle, not a torch checkpoint")
        stream.seek(0)
        return _read_old(stream, path, size, table)


# ------------------------------------------------------------------------------- the zip layout


def _read_zip(stream: BinaryIO, path: str | None, size: int, table: Allowed) -> Any:
    try:
        members = {member.filename: member for member in zipfile.ZipFile(stream).infolist()}
    except Exception:  # zipfile raises many kinds on damaged archives
        raise FormatError("is damaged or truncated; " + AGAIN) from None
    names = {name.rpartition("/")[2]: name for name in members}
    if "constants.pkl" in names:
        raise FormatError("is a TorchScript program, not a checkpoint of tensors")
    if "data.pkl" not in names:
        raise FormatError("is a zip archive, not a checkpoint; if one is inside, unpack it first")
    root = names["data.pkl"].removesuffix("data.pkl")

    def place(name: str) -> tuple[int, int]:
        """Where the bytes of a member start and end."""
        member = members.get(name)
        if member is None:
            raise FormatError(f"is damaged: it lacks its part {shown(name)}; {AGAIN}")
        if member.compress_type != zipfile.ZIP_STORED:
            raise FormatError("is a compressed archive, which torch.save does not write")
        stream.seek(max(0, member.header_offset))
        header = stream.read(30)
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise FormatError("is damaged: its parts are not where they should be; " + AGAIN)
        start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        if start + member.file_size > size:
            raise FormatError("is damaged: one of its parts ends behind the file; " + AGAIN)
        return start, start + member.file_size

    if f"{root}byteorder" in members:
        start, end = place(f"{root}byteorder")
        stream.seek(start)
        if stream.read(min(end - start, 16)) != b"little":
            raise FormatError(BIG_ENDIAN)
    everything = _bytes_of(stream, path, size)
    storages: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        key, dtype, count, _ = _parse(pid)
        if key not in storages:
            first, last = place(f"{root}data/{key}")
            if count * dtype.itemsize > last - first:
                raise FormatError("is damaged: a tensor is larger than its part of the file")
            storages[key] = Storage(_numbers(everything, first, dtype, count))
        return storages[key]

    start, end = place(names["data.pkl"])
    stream.seek(start)
    # The pickle alone, since its storages are looked up in the archive meanwhile.
    return unpickle(io.BytesIO(stream.read(end - start)), table, storage)


# ----------------------------------------------------------------------------- the older layout


def _read_old(stream: BinaryIO, path: str | None, size: int, table: Allowed) -> Any:
    """The layout up to torch 1.5: magic number, version, system, content, keys, then storages.

    The content is read twice: first to learn the types of the storages behind it, and so where
    each of them stands, then with its tensors.
    """
    sizes: dict[str, tuple[torch.dtype, int]] = {}

    def note(pid: Any) -> None:
        key, dtype, count, _ = _parse(pid)
        if sizes.setdefault(key, (dtype, count)) != (dtype, count):
            raise FormatError("is damaged: a storage has two types or sizes")

    magic, version, system = (unpickle(stream, {}) for _ in range(3))
    if type(magic) is not int or magic.to_bytes(10, "little") != MAGIC or version != 1001:
        raise FormatError("is a torch checkpoint of an unknown version")
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise FormatError(BIG_ENDIAN)
    start = stream.tell()
    unpickle(stream, {**table, **_tensor_names(_nothing)}, note)
    keys = unpickle(stream, {})
    if not isinstance(keys, list) or set(map(str, keys)) != set(sizes):
        raise FormatError("is damaged or truncated: it lists other storages than it uses")
    everything = _bytes_of(stream, path, size, stream.tell())
    place, storages = 0, {}
    for key in dict.fromkeys(map(str, keys)):
        dtype, count = sizes[key]
        header = everything[place : place + 8].tolist()
        place += 8 + count * dtype.itemsize
        if bytes(header) != struct.pack("<q", count) or place > len(everything):
            raise FormatError("is damaged or truncated: a storage has another size; " + AGAIN)
        storages[key] = _numbers(everything, place - count * dtype.itemsize, dtype, count)

    def storage(pid: Any) -> Storage:
        key, _, count, (first, length) = _parse(pid)
        if first + length > count:
            raise FormatError("is damaged: a view is larger than what it views")
        return Storage(storages[key][first : first + length])

    stream.seek(start)
    return unpickle(stream, table, storage)


def _nothing(*_: object) -> None:
    return None


def _bytes_of(stream: BinaryIO, path: str | None, size: int, start: int = 0) -> Tensor:
    """The bytes from `start` on; those of a file are mapped, and read when they are used."""
    if path is not None:
        return torch.from_file(path, shared=False, size=size, dtype=torch.uint8)[start:]
    here = stream.tell()
    stream.seek(start)
    raw = bytearray(stream.read())
    stream.seek(here)
    return torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)


def _numbers(everything: Tensor, start: int, dtype: torch.dtype, count: int) -> Tensor:
    raw = everything[start : start + count * dtype.itemsize]
    return (raw if raw.storage_offset() % dtype.itemsize == 0 else raw.clone()).view(dtype)


def _parse(pid: Any) -> tuple[str, torch.dtype, int, tuple[int, int]]:
    """Key, type and length of the storage that a persistent id names, and which part of it."""
    if isinstance(pid, tuple) and pid and pid[0] == "module":
        raise FormatError(f"holds a whole network with its source code; {ADVICE}")
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise FormatError("is damaged: it points to data of an unknown kind")
    _, dtype, key, _, count, *view = pid
    if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
        raise FormatError("is damaged: a storage has no type or size")
    part = [0, count]
    if view and view[0] is not None:
        _, *part = view[0]
        if len(part) != 2 or any(type(n) is not int or n < 0 for n in part):
            raise FormatError("is damaged: a view of a storage has no size")
    return str(key), dtype, count, (part[0], part[1])


# ----------------------------------------------------------------------------------- tensors


class _Views:
    """Makes the tensors of one file, and keeps account of what they claim."""

    def __init__(self, size: int) -> None:
        self.allowance = LARGER * size + SPARE

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
        """A view of a storage; parts that overlap get memory of their own."""
        if not isinstance(storage, Storage):
            raise FormatError("is damaged: it holds a tensor without numbers")
        view, claimed = view_of(storage, offset, size, stride)
        self.allowance -= claimed
        if self.allowance < 0:
            raise FormatError("is damaged: its tensors claim far more numbers than it has")
        # `data`: views of one file would share a version counter, and autograd would take an update
        # of one tensor (running means of batch norms) for an update of all.
        return view().data if claimed else torch.empty(tuple(size), dtype=storage.numbers.dtype)


def view_of(
    storage: Storage, offset: Any, size: Any, stride: Any
) -> tuple[Callable[[], Tensor], int]:
    """How to make a tensor that lies in a storage, and how many bytes it claims.

    Raises:
        FormatError: the shape makes no sense, or the tensor leaves its storage.
    """
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise FormatError("is damaged: it holds a tensor of an impossible shape")
    size, stride = tuple(size), tuple(stride)
    flat = storage.numbers
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if len(size) > 16 or (0 not in size and last >= flat.numel()):
        raise FormatError("is damaged: it holds a tensor that is larger than its data")

    def make() -> Tensor:
        view = flat.as_strided(size, stride, flat.storage_offset() + offset)
        return view if _dense(size, stride) else view.contiguous()

    return make, math.prod(size) * flat.itemsize


def _dense(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether a view is its numbers in some order, without gaps or overlaps."""
    expected = 1
    for step, n in sorted((step, n) for n, step in zip(size, stride) if n != 1):
        if step != expected:
            return False
        expected *= n
    return True


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


def _of_a_type(function: Any, kind: object, args: Any, *_: object) -> Any:
    """A tensor with attributes of its own, which are dropped."""
    if not isinstance(function, Call) or not isinstance(args, tuple):
        raise FormatError("is damaged: it makes a tensor in an unknown way")
    return function(*args)


def _unsupported(what: str) -> Callable[..., None]:
    def refuse(*args: object) -> None:
        raise FormatError(f"holds {what} tensors; save it with ordinary ones")

    return refuse


def _tensor_names(tensor: Callable[..., Any]) -> Allowed:
    """The functions that rebuild tensors of one file."""
    rebuild = "torch._utils", "torch._tensor"
    return {
        (rebuild[0], "_rebuild_tensor"): tensor,
        (rebuild[0], "_rebuild_tensor_v2"): tensor,
        (rebuild[0], "_rebuild_parameter"): _parameter,
        (rebuild[0], "_rebuild_parameter_with_state"): _parameter,
        (rebuild[1], "_rebuild_from_type_v2"): _of_a_type,
    }


def _text(value: object = "", *_: object) -> str:
    return shown(str(value)) if isinstance(value, str) else ""


def _tuple(items: object = ()) -> tuple[Any, ...]:
    return tuple(items) if isinstance(items, tuple | list) else ()


TENSORS: Allowed = {
    **VALUES,
    ("collections", "Counter"): Record,
    ("torch", "Size"): _tuple,
    ("torch", "device"): _text,
    ("torch.serialization", "_get_layout"): _text,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch", "Tensor"): _unsupported("bare"),
    **{("torch", f"{name}Storage"): dtype for name, dtype in _STORAGES.items()},
    ("torch.storage", "UntypedStorage"): torch.uint8,
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in _STORAGES.values()},
    **{
        ("torch._utils", f"_rebuild_{name}"): _unsupported(what)
        for name, what in (
            ("sparse_tensor", "sparse"),
            ("sparse_csr_tensor", "sparse"),
            ("nested_tensor", "nested"),
            ("qtensor", "quantized"),
            ("meta_tensor_no_storage", "empty (meta)"),
            ("wrapper_subclass", "wrapped"),
            ("device_tensor_from_numpy", "foreign"),
            ("device_tensor_from_cpu_tensor", "foreign"),
        )
    },
}
"""What checkpoints name beside tensors; the functions that make these are added for each file."""
