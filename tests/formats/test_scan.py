"""Pickles that would exhaust the machine are refused before anything in them is made."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zipfile
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from wplus.errors import FormatError
from wplus.formats import nvidia
from wplus.formats.pickles import read_pickle
from wplus.formats.scan import scan
from wplus.formats.torch_files import read_torch


def called(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def number(value: int, size: int = 12) -> bytes:
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


TEXT = b"X" + struct.pack("<I", 400_000) + b"a" * 400_000
SHARED = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(45))
BOMBS = {
    "a key nested a million deep": b"}N" + b"\x85" * 1_000_000 + b"K\x01s",
    "a value nested a million deep": b"]" * 1_000_000 + b"a" * 999_999,
    "a key whose parts share each other": b"})" + SHARED + b"K\x01s",
    "a tuple of the same kind": b")" + SHARED,
    "the same, by doubling the stack": b"})" + b"2\x86" * 45 + b"K\x01s",
    "lists of the same kind": b"]"
    + b"".join(b"q" + bytes([i]) + b"0](" + (b"h" + bytes([i])) * 2 + b"e" for i in range(45)),
    "a table in itself": b"}q\x00X\x01\x00\x00\x00ah\x00s",
    "a list in itself": b"]q\x00h\x00a",
    "options that hold themselves": called("argparse", "Namespace")
    + b")\x81q\x00}X\x01\x00\x00\x00ah\x00sb",
    "keys that collide": b"}("
    + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 70_000))
    + b"u",
    "pairs whose keys collide": called("collections", "OrderedDict")
    + b"]("
    + b"".join(number(k * (2**61 - 1)) + b"N\x86" for k in range(1, 60_000))
    + b"e\x85R",
    "one text, encoded many times": b"]"
    + called("_codecs", "encode")
    + b"q\x00"
    + TEXT
    + b"X\x06\x00\x00\x00latin1\x86q\x010("
    + b"h\x00h\x01R" * 80_000
    + b"e",
    "one list, copied many times": called("builtins", "set")
    + b"q\x00]("
    + b"K\x01" * 100_000
    + b"e\x85q\x01("
    + b"h\x00h\x01R" * 80_000
    + b"l",
    "a million sets": b"(" + b"\x8f" * 1_000_000 + b"t",
    "bytes of a size of its choosing": called("builtins", "bytearray") + number(1 << 33) + b"\x85R",
    "a tensor of a size of its choosing": called("torch", "Tensor") + b"J\xff\xff\xff\x0f\x85R",
    "a memo with gaps": b"Nr\xff\xff\xff\x7f",
}


def zipped(pickled: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return file.getvalue()


def old_layout(pickled: bytes) -> bytes:
    file = io.BytesIO()
    torch.save(1, file, _use_new_zipfile_serialization=False)
    return file.getvalue().replace(pickle.dumps(1, 2), pickled)


@pytest.mark.parametrize("wrap", [zipped, old_layout, None], ids=["zip", "old", "pickle"])
@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_in_no_time(body: bytes, wrap: Any) -> None:
    data = b"\x80\x04" + body + b"."
    read = read_torch if wrap else partial(read_pickle, allowed=nvidia.ALLOWED)
    data = wrap(data) if wrap else data
    start = time.process_time()
    with pytest.raises(FormatError) as caught:
        read(data)
    assert time.process_time() - start < 10
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_ordinary_pickles_pass() -> None:
    layers: Any = np.arange(3.0)
    for _ in range(60):  # as deep as networks are pickled
        layers = {"layers": [layers]}
    content = [layers, {(1, 2): {3}, "a": frozenset("b")}, ("x",) * 5, b"y" * 300, 1 << 70, -1.5]
    for protocol in (2, 3, 4, 5):
        stream = io.BytesIO(pickle.dumps(content, protocol) + b"rest")
        scan(stream)
        assert stream.read() == b"rest"


@pytest.mark.parametrize("name", ["PERSID", "GET", "PUT", "DICT", "LIST", "INST", "OBJ", "FLOAT"])
def test_instructions_that_no_pickler_writes(name: str) -> None:
    code = {"PERSID": b"Px\n", "GET": b"g0\n", "PUT": b"Np0\n", "FLOAT": b"F1.0\n"}
    body = code.get(name, b"(" + {"DICT": b"d", "LIST": b"l", "OBJ": b"o"}.get(name, b"ios\ns\n"))
    with pytest.raises(FormatError, match=f"instruction {name}"):
        scan(io.BytesIO(b"\x80\x02" + body + b"."))
