"""Tensors of torch checkpoints: right values from good files, one line for those that lie."""

from __future__ import annotations

import io
import pathlib
import re
import struct
import zipfile
from collections import Counter
from typing import Any

import pytest
import torch

from wplus.errors import FormatError
from wplus.formats import torch_files
from wplus.formats.torch_files import read_torch


def saved(content: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def refusal(data: Any) -> str:
    with pytest.raises(FormatError) as caught:
        read_torch(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64]
TYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_and_layout(tmp_path: pathlib.Path, dtype: torch.dtype, zipped: bool) -> None:
    base = (torch.arange(24) % 2 if dtype == torch.bool else torch.arange(24)).to(dtype)
    content = {
        "odd": base[:3].to(torch.uint8).clone(),  # puts what follows at an odd place
        "plain": base,
        "view": base.view(4, 6)[1:, ::2],
        "turned": base.view(4, 6).t(),
        "expanded": base[1].expand(5, 2),
        "empty": base[:0].view(0, 3),
        "zero-d": base[5].clone(),
        "parameter": torch.nn.Parameter(base.clone(), requires_grad=False),
        "size": torch.Size([2, 3]),
        "dtype": dtype,
        "device": torch.device("cpu"),
        "count": Counter({30: 1}),
    }
    path = tmp_path / "a.pt"
    path.write_bytes(saved(content, zipped))
    for source in (path, path.read_bytes()):
        found = read_torch(source)
        assert list(found) == list(content)
        for name, value in content.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(found[name], value), name
                assert found[name].dtype == value.dtype
                assert len({*found[name].stride()} - {0}) == len({*found[name].stride()})
        assert found["size"] == (2, 3)
        assert found["dtype"] == dtype
        assert found["count"] == {30: 1}


def test_tensors_with_attributes_lose_them() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = 1  # type: ignore[attr-defined]
    assert torch.equal(read_torch(saved([parameter]))[0], torch.ones(2))


def test_what_torch_reads_is_read_alike() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    for zipped in (True, False):
        data = saved({"net": network.state_dict(), "optim": optimizer.state_dict()}, zipped)
        ours, theirs = read_torch(data), torch.load(io.BytesIO(data), weights_only=True)
        for name, value in theirs["net"].items():
            assert torch.equal(ours["net"][name], value)
        assert str(ours["optim"]) == str(theirs["optim"])


OTHER = {
    "sparse": torch.eye(3).to_sparse(),
    "sparse rows": torch.eye(3).to_sparse_csr(),
    "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "meta": torch.ones(3, device="meta"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", OTHER)
def test_other_kinds_of_tensors(name: str, zipped: bool) -> None:
    message = refusal(saved({"a": OTHER[name]}, zipped))
    assert re.search("(sparse|quantized|empty|asks for torch.QInt8Storage)", message)


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def shaped(size: tuple[int, ...], stride: tuple[int, ...], offset: int, length: int) -> bytes:
    """A tensor of any shape over `length` numbers, as the zip layout has it."""

    def ints(numbers: tuple[int, ...]) -> bytes:
        packed = b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in numbers)
        return b"(" + packed + b"t"

    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
    body += b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    body += ints((length,))[1:-1] + b"tQ" + ints((offset,))[1:-1] + ints(size) + ints(stride)
    body += b"\x89ccollections\nOrderedDict\n)RtR."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", body)
        archive.writestr("a/data/0", b"\0" * 16)
    return file.getvalue()


def test_handmade_tensors_are_read() -> None:
    assert torch.equal(read_torch(shaped((2, 2), (2, 1), 0, 4)), torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("size", "stride", "offset", "length", "reason"),
    [
        ((1 << 40,), (0,), 0, 4, "far more numbers"),
        ((1 << 30, 1 << 30, 1 << 30), (0, 0, 0), 0, 4, "far more numbers"),
        ((5,), (1,), 0, 4, "larger than its data"),
        ((2,), (1,), 3, 4, "larger than its data"),
        ((2,), (1 << 62,), 0, 4, "larger than its data"),
        ((2,), (-1,), 3, 4, "impossible shape"),
        ((-2,), (1,), 0, 4, "impossible shape"),
        ((2, 2), (1,), 0, 4, "impossible shape"),
        ((1,) * 40, (1,) * 40, 0, 4, "larger than its data"),
        ((4,), (1,), 0, 5, "larger than its part of the file"),
        ((4,), (1,), 0, 1 << 60, "larger than its part of the file"),
        ((4,), (1,), 0, -1, "no type or size"),
    ],
)
def test_tensors_that_lie(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int, length: int, reason: str
) -> None:
    assert reason in refusal(shaped(size, stride, offset, length))


def test_many_tensors_of_one_storage_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "SPARE", 1000)
    base = torch.ones(1000)
    assert len(read_torch(saved([base] * 100))) == 100  # one tensor, many names
    views = [base[:999] for _ in range(3)] + [base.expand(200, 1000)]
    assert "far more numbers" in refusal(saved(views))


def test_an_archive_whose_parts_lie() -> None:
    data = saved({"a": torch.ones(100)})
    place = data.rindex(
        b"PK\x01\x02", 0, data.index(b"archive/data/0", data.rindex(b"PK\x05\x06") - 900)
    )
    larger = bytearray(data)
    larger[place + 20 : place + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    assert "ends behind the file" in refusal(bytes(larger))
    moved = bytearray(data)
    moved[place + 42 : place + 46] = struct.pack("<I", 5)
    assert "not where they should be" in refusal(bytes(moved))
    assert "lacks its part" in refusal(data.replace(b"archive/data/0", b"archive/data/9"))


def test_old_files_that_lie() -> None:
    data = saved({"a": torch.ones(4)}, zipped=False)
    assert "another size" in refusal(data[:-1])
    count = struct.pack("<q", 4) + struct.pack("<f", 1.0)
    assert "another size" in refusal(changed(data, count, struct.pack("<q", 5) + count[8:]))
    assert "truncated" in refusal(data[: data.rindex(count)])


def test_machines_of_the_other_order() -> None:
    data = saved({"a": torch.ones(4)})
    assert "big-endian" in refusal(changed(data, b"little", b"bigbig"))
    old = saved({"a": torch.ones(4)}, zipped=False)
    assert b"little_endian" in old
    flag = re.search(rb"little_endian(q.)?\x88", old)
    assert flag
    assert "big-endian" in refusal(changed(old, flag[0], flag[0][:-1] + b"\x89"))


def test_an_update_of_one_tensor_is_none_of_another(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "two.pt"
    torch.save({"a": torch.ones(4), "b": torch.ones(4)}, path)
    found = read_torch(path)
    before = found["a"]._version
    found["b"].add_(1)
    assert found["a"]._version == before
