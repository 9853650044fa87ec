"""Foreign pickles and torch checkpoints: right values from good ones, one line for all others."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import os
import pathlib
import pickle
import re
import struct
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from wplus.errors import FormatError
from wplus.formats import torch_files
from wplus.formats.pickled_arrays import NUMPY, Sealed
from wplus.formats.pickles import Record, read_pickle
from wplus.formats.torch_files import read_torch


class Call:
    """Pickled as a call of `function`, which is what a malicious file does."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.parts = (function, args)

    def __reduce__(self) -> Any:
        return self.parts


def refusal(reader: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(FormatError) as caught:
        reader(*args)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
        assert found.dtype == expected.dtype
    elif isinstance(expected, np.ndarray | np.generic):
        assert np.array_equal(found, expected)
        assert found.dtype == expected.dtype.newbyteorder("=")
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    else:
        assert found == expected


def checkpoint() -> dict[str, Any]:
    """The kinds of things that training scripts save beside their weights."""
    torch.manual_seed(0)
    return {
        "state_dict": OrderedDict(
            weight=torch.randn(4, 3), view=torch.randn(4, 6)[:, ::2], half=torch.ones(2).half()
        ),
        "epoch": 7,
        "names": {"a", "b"},
        "arch": "resnet50",
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(size=256, lr=np.float64(0.002), flip=np.bool_(True)),
        "best": np.float32(0.25),
        "average": np.arange(6, dtype=np.float32).reshape(2, 3),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_checkpoints_of_both_layouts(tmp_path: pathlib.Path, zipped: bool, as_bytes: bool) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save(checkpoint(), path, _use_new_zipfile_serialization=zipped)
    before = set(torch.serialization.get_safe_globals())
    assert_same(read_torch(path.read_bytes() if as_bytes else path), checkpoint())
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_path_among_the_options_stays_a_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"out": pathlib.Path("runs/first")}, path)
    assert read_torch(path) == {"out": pathlib.PurePosixPath("runs/first")}


def arrays() -> dict[str, Any]:
    return {
        "c": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "strided": np.arange(12.0)[::2],
        "swapped": np.arange(3, dtype=">i4"),
        "bool": np.array([True, False]),
        "half": np.ones((2, 2), np.float16),
        "empty": np.zeros((0, 3)),
        "zero-d": np.array(3 + 4j),
        "scalar": np.float32(3),
        "count": np.int64(3),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_protocol(protocol: int) -> None:
    found = read_pickle(pickle.dumps(arrays(), protocol), NUMPY)
    assert_same(found, arrays())
    for value in found.values():
        if isinstance(value, np.ndarray):
            torch.from_numpy(value)
            value[...] = 0  # a memory of its own, that may be written


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_numpy_1_and_2(core: str, protocol: int) -> None:
    # In protocols 2 and 3 names stand in lines; in later ones behind their length. A later one may
    # still use lines, and needs no frames.
    written = pickle.dumps(arrays(), min(protocol, 3))
    new = f"numpy.{core}.".encode()
    written = re.sub(rb"numpy\._?core\.", new, written)
    written = b"\x80" + bytes([protocol]) + written[2:]
    assert new in written
    assert_same(read_pickle(written, NUMPY), arrays())


OTHER_ARRAYS = [
    np.array([1, "a", None], dtype=object),
    np.array(["a", "b"]),
    np.zeros(2, dtype=[("a", "f4")]),
    np.array([np.datetime64("2020-01-01")]),
    np.array([b"raw"]),
]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("array", OTHER_ARRAYS, ids=lambda x: str(x.dtype))
def test_arrays_of_other_than_numbers_are_refused(array: np.ndarray, protocol: int) -> None:
    assert "not of numbers" in refusal(read_pickle, pickle.dumps(array, protocol), NUMPY)


ATTACKS = [
    ("posix.system", os.system, ("touch {}",)),
    ("builtins.eval", eval, ("open({!r}, 'w')",)),
    ("builtins.exec", exec, ("open({!r}, 'w')",)),
    ("builtins.__import__", builtins.__import__, ("os",)),
    ("builtins.getattr", getattr, (1, "real")),
    ("posix.mkdir", os.mkdir, ("{}",)),
]


def attack(number: int, mark: pathlib.Path) -> dict[str, Any]:
    _, function, args = ATTACKS[number]
    filled = [a.format(str(mark)) if isinstance(a, str) else a for a in args]
    return {"weight": torch.ones(2), "x": Call(function, *filled)}


@pytest.mark.skipif(os.name == "nt", reason="names of functions differ")
@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=lambda n: ATTACKS[n][0])
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_that_would_run_code(tmp_path: pathlib.Path, number: int, zipped: bool) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    torch.save(attack(number, mark), path, _use_new_zipfile_serialization=zipped)
    message = refusal(read_torch, path)
    assert message.startswith(f"{path}: refused: it asks for {ATTACKS[number][0]},")
    assert not mark.exists()


@pytest.mark.skipif(os.name == "nt", reason="names of functions differ")
@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=lambda n: ATTACKS[n][0])
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_that_would_run_code(tmp_path: pathlib.Path, number: int, protocol: int) -> None:
    path, mark = tmp_path / "model.pkl", tmp_path / "mark"
    path.write_bytes(pickle.dumps(attack(number, mark)["x"], protocol))
    message = refusal(read_pickle, path, NUMPY)
    assert message.startswith(f"{path}: ")
    if protocol >= 2:
        assert f"refused: it asks for {ATTACKS[number][0]}," in message
    assert not mark.exists()


def op_global(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def small(value: object) -> bytes:
    """The instructions that make a plain value, in the middle of a pickle."""
    return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"")


DTYPE = op_global("numpy", "dtype") + small("f4") + b"\x89\x88\x87R"
ARRAY = (
    op_global("numpy.core.multiarray", "_reconstruct")
    + op_global("numpy", "ndarray")
    + b"K\x00\x85C\x01b\x87R"
)
HANDMADE = {
    # BUILD with a pair sets attributes, also of classes and functions.
    "set an attribute of a class": op_global("numpy", "dtype") + b"N" + small({"a": 1}) + b"\x86b",
    "set an attribute of a function": op_global("numpy", "ndarray")
    + b"N"
    + small({"__code__": 1})
    + b"\x86b",
    "update the dict of a function": op_global("numpy", "ndarray") + small({"a": 1}) + b"b",
    "call the array class": op_global("numpy", "ndarray") + b"J\xff\xff\xff\x7f\x85R",
    "make an instance of a function": op_global("numpy", "ndarray") + b")\x81",
    "array without data": ARRAY + b"(K\x01J\xff\xff\xff\x7f\x85" + DTYPE + b"\x89C\x04aaaatb",
    "array of huge shape": ARRAY
    + b"(K\x01"
    + b"\x8a\x08"
    + struct.pack("<q", 1 << 60)
    + b"\x85"
    + DTYPE
    + b"\x89C\x00tb",
    "array of negative shape": ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89C\x00tb",
    "array of listed objects": ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89](K\x01etb",
    "array with a stand-in for a type": ARRAY
    + b"(K\x01K\x01\x85"
    + small("O")
    + b"\x89C\x04aaaatb",
    "composite type": DTYPE + b"(K\x03U\x01<NU\x01a}K\x00K\x00K\x00tb",
    "scalar of an object": op_global("numpy.core.multiarray", "scalar")
    + op_global("numpy", "dtype")
    + small("O8")
    + b"\x89\x88\x87RK\x01\x86R",
    "persistent id": b"K\x01Q",
    "textual persistent id": b"P1\n",
    "unregistered extension": b"\x82\x01",
    "huge memo index": b"Nr\xff\xff\xff\xff",
    "deep tuple as a key": b"})" + b"\x85" * 1_000_000 + b"K\x01s",
    "huge bytes": b"\x8e" + struct.pack("<Q", 1 << 40),
    "huge text": b"\x8d" + struct.pack("<Q", 1 << 62),
    "huge frame": b"\x95" + struct.pack("<Q", 1 << 62) + b"N",
    "name with a line break": b"\x8c\x03a\nb\x8c\x01c\x93",
    "dotted name": op_global("numpy", "dtype.__class__"),
    "empty stack": b"R",
    "unknown instruction": b"\xff",
}


@pytest.mark.parametrize("body", HANDMADE.values(), ids=HANDMADE)
def test_handmade_pickles_are_refused(body: bytes) -> None:
    attributes = {name: vars(entry).copy() for name, entry in NUMPY.items()}
    refusal(read_pickle, b"\x80\x04" + body + b".", NUMPY)
    assert {name: vars(entry).copy() for name, entry in NUMPY.items()} == attributes


def test_no_class_or_function_can_be_altered_by_a_pickle() -> None:
    class Plain:
        pass

    class Safe(metaclass=Sealed):
        pass

    def function() -> None:
        pass

    for entry, reason in (
        (Plain, "would alter a function"),
        (Safe, "would alter the class Safe"),
        (function, "would alter a function"),
    ):
        body = op_global("a", "Entry") + b"N" + small({"x": 1}) + b"\x86b."
        assert reason in refusal(read_pickle, b"\x80\x04" + body, {("a", "Entry"): entry})
        assert not hasattr(entry, "x")


def test_an_ordered_dict_becomes_a_plain_one() -> None:
    saved = OrderedDict(a=1, b=[2.5, None])
    saved.__dict__["_metadata"] = {"version": 1}
    found = read_pickle(pickle.dumps(saved), {("collections", "OrderedDict"): Record})
    assert found == {"a": 1, "b": [2.5, None]}


WEB_PAGE = (
    b"\n<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"
)
NOT_MODELS = {
    "web page": (WEB_PAGE, "is a web page, not a model"),
    "page with a mark": (b"\xef\xbb\xbf" + WEB_PAGE, "is a web page, not a model"),
    "answer of a bucket": (b"<?xml version='1.0'?><Error/>", "is a web page, not a model"),
    "nothing": (b"", "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
    "text": (b"Too many requests, try again later.", "is a text file"),
    "JSON": (b'{"error": "not found"}', "is a text file"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "compressed archive"),
    "safetensors": (struct.pack("<Q", 64) + b'{"a":{"dtype":"F32"}}', "safetensors"),
    "image": (b"\x89PNG\r\n\x1a\n\x00\x00", "is an image, not a model"),
}


@pytest.mark.parametrize(("content", "reason"), NOT_MODELS.values(), ids=NOT_MODELS)
@pytest.mark.parametrize("reader", [read_torch, lambda path: read_pickle(path, NUMPY)])
def test_files_that_are_no_models(
    tmp_path: pathlib.Path, reader: Callable[..., Any], content: bytes, reason: str
) -> None:
    path = tmp_path / "psp_ffhq_encode.pt"
    path.write_bytes(content)
    message = refusal(reader, path)
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_missing_files_and_folders(tmp_path: pathlib.Path) -> None:
    assert refusal(read_torch, tmp_path / "none.pt") == f"{tmp_path / 'none.pt'}: no such file"
    assert refusal(read_torch, tmp_path) == f"{tmp_path}: is a folder, not a file"
    assert refusal(read_pickle, str(tmp_path), NUMPY) == f"{tmp_path}: is a folder, not a file"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 0.999])
def test_files_cut_short(tmp_path: pathlib.Path, zipped: bool, part: float) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    assert "damaged or truncated" in refusal(read_torch, path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_cut_anywhere(protocol: int) -> None:
    whole = pickle.dumps({"a": np.arange(4.0), "b": np.float32(1)}, protocol)
    for length in range(2, len(whole), 3):
        refusal(read_pickle, whole[:length], NUMPY)


def test_damaged_bytes_never_escape_as_other_errors() -> None:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    torch.save({"w": torch.ones(3), "n": np.float32(2)}, file, _use_new_zipfile_serialization=False)
    for whole, reader in (
        (pickle.dumps(arrays(), 4), lambda data: read_pickle(data, NUMPY)),
        (file.getvalue(), read_torch),
    ):
        for _ in range(300):
            data = bytearray(whole)
            for place in rng.integers(2, len(data), 3):
                data[place] = rng.integers(256)
            with contextlib.suppress(FormatError):  # a harmless change is read as it is
                reader(bytes(data))


def test_other_archives(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/model.pt", b"x")
    assert "zip archive, not a checkpoint" in refusal(read_torch, path)
    assert "not a pickle" in refusal(read_pickle, path, NUMPY)
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    assert "tar archive" in refusal(read_torch, path)
    path.write_bytes(pickle.dumps({"G_ema": 1}))
    assert "a Python pickle, not a torch checkpoint" in refusal(read_torch, path)


def test_an_old_torch_archive_that_starts_like_a_pickle(tmp_path: pathlib.Path) -> None:
    """Torch before 2.6 read such files with the ordinary unpickler."""
    path = tmp_path / "model.pt"
    entry = tarfile.TarInfo("x")
    header = bytearray(entry.tobuf(format=tarfile.USTAR_FORMAT))
    name = b"\x80\x02\x8a\n" + torch_files.MAGIC + b"."
    header[: len(name)] = name
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + b"\0" * 1024)
    assert "tar archive" in refusal(read_torch, path)


def test_compressed_checkpoints_cannot_swell(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\0" * 10_000_000)
    assert "compressed" in refusal(read_torch, path)


def test_torchscript_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
        archive.writestr("model/constants.pkl", b"")
    assert "TorchScript" in refusal(read_torch, path)
