"""Where the cache is, and how its files are judged."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from toy_index import FIRST, SECOND

from wplus import weights
from wplus.errors import WeightsError
from wplus.weights import cache, table

pytestmark = pytest.mark.usefixtures("toy_assets")


def put(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_the_environment_moves_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WPLUS_CACHE", raising=False)
    assert weights.cache_folder() == Path(platformdirs.user_cache_dir("wplus", appauthor=False))
    monkeypatch.setenv("WPLUS_CACHE", "")
    assert weights.cache_folder() == Path(platformdirs.user_cache_dir("wplus", appauthor=False))
    monkeypatch.setenv("WPLUS_CACHE", str(tmp_path / "elsewhere"))
    assert weights.cache_folder() == tmp_path / "elsewhere"
    assert not weights.cache_folder().exists()
    monkeypatch.setenv("WPLUS_CACHE", "~/nets")
    assert weights.cache_folder() == Path.home() / "nets"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WPLUS_CACHE", "nets")
    assert weights.cache_folder() == tmp_path / "nets"


def test_states_of_a_file(folder: Path) -> None:
    assert weights.verify("first.bin") == weights.Status(
        "first.bin", folder / "first.bin", "missing"
    )
    assert weights.cached("first.bin") is None

    file = put(folder, "first.bin", FIRST)
    assert weights.verify("first.bin") == weights.Status("first.bin", file, "ok")
    assert weights.cached("first.bin") == file

    put(folder, "first.bin", FIRST[:-1])
    status = weights.verify("first.bin")
    assert status.state == "damaged"
    assert status.detail == "76,799 bytes, expected 76,800"
    assert weights.cached("first.bin") is None

    put(folder, "first.bin", b"x" + FIRST[1:])
    status = weights.verify("first.bin")
    assert status.state == "damaged"
    assert table.ASSETS.find("first.bin").sha256 in status.detail
    assert weights.cached("first.bin") == file  # the right size; only `verify` reads it


def test_a_verified_file_is_read_once_and_a_changed_one_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    damage = cache.damage
    monkeypatch.setattr(
        cache, "damage", lambda file, *rest: read.append(file) or damage(file, *rest)
    )
    file = put(folder, "first.bin", FIRST)
    assert weights.path("first.bin") == file
    assert weights.path("first.bin") == file
    assert read == [file]
    os.utime(file, (1, 1))
    assert weights.path("first.bin") == file
    assert read == [file, file]
    assert weights.fetch("first.bin") == file
    assert read == [file] * 3  # asked for by name, a check is a full one


def test_moving_the_cache_forgets_nothing_wrongly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "second.bin", SECOND)
    assert weights.path("second.bin").parent == folder
    monkeypatch.setenv("WPLUS_CACHE", str(tmp_path / "other"))
    assert weights.verify("second.bin").state == "missing"
    assert weights.cached("second.bin") is None


def test_a_file_in_place_of_the_cache_folder_holds_nothing(folder: Path) -> None:
    folder.write_text("not a folder")
    assert weights.verify("first.bin").state == "missing"
    assert weights.cached("first.bin") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_an_unreadable_file_is_named(folder: Path) -> None:
    put(folder, "first.bin", FIRST).chmod(0)
    with pytest.raises(WeightsError, match=r"cannot read .*first\.bin \(Permission denied\)"):
        weights.verify("first.bin")


def test_a_read_only_cache_is_enough_when_full(folder: Path) -> None:
    put(folder, "first.bin", FIRST)
    before = sorted(folder.iterdir())
    folder.chmod(0o500)
    try:
        assert weights.path("first.bin") == folder / "first.bin"
        assert sorted(folder.iterdir()) == before  # no lock file either: nothing was written
    finally:
        folder.chmod(0o700)


def test_importing_loads_no_client() -> None:
    code = (
        "import sys, wplus.weights as w; w.verify('scrfd-500m.onnx'); "
        "bad = {'pypi_simple', 'requests', 'filelock', 'rich.progress'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
