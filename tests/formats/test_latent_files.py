"""Codes and directions of other tools: the right numbers, safely."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wplus import codes
from wplus.errors import FormatError
from wplus.formats import arrays
from wplus.formats.arrays import read_arrays
from wplus.formats.latent_files import read_directions

L, D = 8, 16
RNG = np.random.default_rng(0)
CODES = RNG.standard_normal((3, L, D)).astype(np.float32)
W = RNG.standard_normal((1, D)).astype(np.float32)


def npy(content: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, content, allow_pickle=True)
    return file.getvalue()


def npz(compressed: bool = False, **content: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **content)
    return file.getvalue()


def pt(content: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


T = torch.from_numpy(CODES)
ONE, ALL = {"": CODES[0]}, {str(i): CODES[i] for i in range(3)}
NAMED = {"a": CODES[0], "b": CODES[1]}
FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "e4e": (pt(T), ALL),
    "old torch": (pt(T, zipped=False), ALL),
    "requires grad": (pt(T.clone().requires_grad_()), ALL),
    "half": (pt(T[:1].half()), {"": CODES[0].astype(np.float16)}),
    "PTI": (pt(T[:1]), ONE),
    "PTI in W": (pt(torch.from_numpy(W)), {"": W}),
    "expanded W": (pt(torch.from_numpy(W)[:, None].expand(1, L, D)), {"": W.repeat(L, 0)}),
    "list": (pt([T[0], T[1]]), {"": CODES[1]}),
    "restyle": (npy({"x/a.jpg": CODES[0], "x/b.jpg": CODES[1]}), NAMED),
    "restyle, iterations": (npy({"a.jpg": [CODES[2], CODES[0]], "b.png": list(CODES[:2])}), NAMED),
    "projector": (
        pt({"in/a.png": {"img": torch.zeros(1, 3, 4, 4), "latent": T[0], "noise": [T[1]]}}),
        {"a": CODES[0]},
    ),
    "StyleGAN2-ADA": (npz(w=CODES[:1]), ONE),
    "compressed": (npz(True, w=CODES), ALL),
    "plain": (npy(CODES[0]), ONE),
    "several": (npy(CODES), ALL),
    "one dimension": (npy(W[0]), {"": W}),
    "doubles": (npy(CODES[0].astype(np.float64)), ONE),
    "big-endian": (npy(CODES[0].astype(">f4")), ONE),
    "Fortran": (npy(np.asfortranarray(CODES[0])), ONE),
    "ordered table": (pt(OrderedDict({"a.png": T[0], "b.png": T[1]})), NAMED),
    "pickle": (pickle.dumps({"a.png": CODES[0], "b.png": CODES[1]}), NAMED),
}


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".codes.safetensors"])
@pytest.mark.parametrize("name", FILES)
def test_codes(tmp_path: Path, name: str, suffix: str) -> None:
    data, expected = FILES[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(data)
    assert codes.is_codes(path)
    found = codes.load_all(path)
    assert [label for label, _, _ in found] == list(expected)
    for (_, code, metadata), right in zip(found, expected.values()):
        assert code.dtype == torch.float32
        np.testing.assert_array_equal(code.numpy(), right.astype(np.float32))
        assert metadata == {}
    assert torch.equal(codes.load(path)[0], found[0][1])


def test_our_own_files(tmp_path: Path) -> None:
    codes.save(T[0], tmp_path / "a.codes.safetensors", {"model": "x"})
    assert codes.is_codes(tmp_path / "a.codes.safetensors")
    ((name, code, metadata),) = codes.load_all(tmp_path / "a.codes.safetensors")
    assert (name, metadata) == ("", {"model": "x"})
    assert torch.equal(code, T[0])


class Command:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def refusal(path: Path, data: bytes, read: Callable[[Path], Any] = codes.load_all) -> str:
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


NUMBERS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
OTHERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "text": (npy(np.array(["a"])), "not of numbers"),
    "table of text": (pt({"a": "b"}), "holds no codes"),
    "five dimensions": (npy(np.zeros((1, 1, 1, 1, 1))), "holds no codes"),
    "empty": (npy(np.zeros((0, 5), np.float32)), "holds no codes"),
    "NaN": (npy(np.full((L, D), np.nan, np.float32)), "not finite"),
    "inf": (pt({"a.jpg": T[0], "b.jpg": T[1] * float("inf")}), "b is not finite"),
    "truncated": (npy(CODES[0])[:-5], "truncated"),
    "truncated zip": (npz(w=CODES)[:-5], "damaged"),
    "huge shape": (header(NUMBERS % "(99999999999999,)"), "truncated"),
    "negative": (header(NUMBERS % "(-1,)", b"1234"), "of numbers"),
    "code in the header": (header(NUMBERS % "__import__('os')"), "NumPy header"),
    "deep header": (header(NUMBERS % ("(" * 5000)), "NumPy header"),
    "composite": (header("{'descr': [('a','<f4')], 'fortran_order': False, 'shape': (1,)}"), "of"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files(tmp_path: Path, name: str) -> None:
    data, reason = OTHERS[name]
    read = read_arrays if name == "nothing" else codes.load_all
    assert reason in refusal(tmp_path / "a.npy", data, read)


def test_pickles_in_arrays_run_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for content in ({"a": Command(mark)}, {"a": [Command(mark)]}, [Command(mark)]):
        for data in (npy(content), npz(w=np.array(content, object)), pickle.dumps(content)):
            assert "refused: it asks for posix.system" in refusal(tmp_path / "a.npy", data)
    assert not mark.exists()


def test_archives_that_swell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LARGEST", 1_000_000)
    data = npz(True, w=np.zeros((1000, 1000), np.float32))
    assert len(data) < 100_000
    assert "more than" in refusal(tmp_path / "a.npz", data)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.txt", "-")
    assert "zip archive, not a checkpoint" in refusal(tmp_path / "a.npz", file.getvalue())


def test_directions(tmp_path: Path) -> None:
    path = tmp_path / "age_boundary.npy"
    path.write_bytes(npy(W))
    assert list(read_directions(path)) == ["age"]
    np.testing.assert_array_equal(read_directions(path)["age"], W)
    pose = tmp_path / "pose.pt"
    for content in (T[:1], T[0]):
        pose.write_bytes(pt(content))
        assert torch.equal(read_directions(pose)["pose"], T[0])
    pose.write_bytes(pt(torch.from_numpy(W[0])))
    np.testing.assert_array_equal(read_directions(pose)["pose"], W)
    pose.write_bytes(pt({"smile": T[0], "age": T[1:2], "note": "x"}))
    assert list(read_directions(pose)) == ["smile", "age"]


def test_components_of_ganspace(tmp_path: Path) -> None:
    path = tmp_path / "ffhq"
    rows, lengths = CODES[:, :1], np.array([2.0, 3.0, 4.0], np.float32)
    for data in (
        pt({"comp": torch.from_numpy(rows), "mean": torch.zeros(D), "std": lengths}),
        npz(lat_comp=rows, lat_stdev=lengths, act_comp=CODES[:, 1:2], lat_mean=W),
    ):
        path.write_bytes(data)
        found = read_directions(path)
        assert list(found) == ["comp0", "comp1", "comp2"]
        np.testing.assert_allclose(found["comp1"], rows[1] * 3)


@pytest.mark.parametrize("name", ["table of text", "NaN", "empty"])
def test_what_is_no_direction(tmp_path: Path, name: str) -> None:
    assert "no directions" in refusal(tmp_path / "a.npy", OTHERS[name][0], read_directions)
