"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from wplus import codes, files, images
from wplus.errors import ImageError
from wplus.files import atomic, parse_json, save_tensors, sweep


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic(path) as temporary:
        assert temporary.parent.parent == path.parent
        assert temporary.name == path.name
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert listing(path.parent) == ["a.txt"]


def interrupted(path: Path, error: type[BaseException]) -> None:
    with atomic(path) as temporary:
        temporary.write_text("new")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        interrupted(path, error)
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["a.txt"]


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        interrupted(tmp_path / "a.txt", RuntimeError)
    assert listing(tmp_path) == []
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt") as temporary:
        temporary.unlink()  # a writer that cleans up after itself
    assert listing(tmp_path) == []


def test_the_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(str(path)) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_it_has_the_permissions_of_an_ordinary_file(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with atomic(tmp_path / "a.txt") as temporary:
            temporary.write_text("x")
        (tmp_path / "b.txt").write_text("x")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")]
    assert modes[0] == modes[1] == 0o666 & ~mask


def test_writers_may_put_a_file_of_their_own_in_its_place(tmp_path: Path) -> None:
    with atomic(tmp_path / "a.txt") as temporary:
        own = tmp_path / "own"
        own.write_text("x")
        own.chmod(0o600)
        own.replace(temporary)
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
    assert listing(tmp_path) == ["a.txt", "b.txt"]


def test_names_as_long_as_they_can_be(tmp_path: Path) -> None:
    for stem in ("a" * 251, "é" * 125):
        path = tmp_path / f"{stem}.txt"
        with atomic(path) as temporary:
            temporary.write_text("x")
        assert path.read_text() == "x"


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    barrier = threading.Barrier(8)
    seen: list[str] = []

    def write(text: str) -> None:
        with atomic(path) as temporary:
            temporary.write_text(text)
            barrier.wait()
            seen.append(temporary.read_text())

    threads = [threading.Thread(target=write, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [str(i) for i in range(8)]
    assert path.read_text() in seen
    assert listing(tmp_path) == ["a.txt"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder", Path("/")):
        with pytest.raises(OSError), atomic(path) as temporary:  # noqa: PT011
            temporary.write_text("x")
    assert listing(tmp_path) == ["file", "folder"]
    assert listing(tmp_path / "folder") == []


class FullDisk:
    """What safetensors says of a full disk."""

    def __init__(self) -> None:
        from safetensors import SafetensorError

        self.error = SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )

    def __call__(self, tensors: object, path: Path, metadata: object) -> None:
        path.write_text("half")
        raise self.error


def test_a_full_disk_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "a.safetensors"
    tensors = {"a": torch.zeros(3)}
    save_tensors(tensors, path, {"x": "1"})
    assert torch.equal(load_file(path)["a"], tensors["a"])
    path.unlink()
    monkeypatch.setattr("safetensors.torch.save_file", FullDisk())
    with pytest.raises(OSError, match="No space left") as caught:
        save_tensors(tensors, path, {})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert listing(path.parent) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("may not mount")
    try:
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8))
        big = torch.zeros(100_000)
        for write in (
            lambda path: save_tensors({"a": big}, path, {}),
            lambda path: codes.save(big[None], path),
        ):
            with pytest.raises(OSError, match="No space left"):
                write(tmp_path / "a.safetensors")
            assert listing(tmp_path) == []
        with pytest.raises(ImageError, match="cannot be written"):
            images.save(noise, tmp_path / "a.png")
        assert listing(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def killed_while_writing(path: Path) -> None:
    code = f"""
import os
from wplus.files import atomic
with atomic({str(path)!r}) as temporary:
    temporary.write_text("half")
    (temporary.parent / ".tmp123456").write_text("of the writer")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [len(list(left.iterdir())) for left in path.parent.glob(".*")] == [2]


def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "a.txt")
    with atomic(tmp_path / "b.txt") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == ["b.txt"]


def test_what_is_being_written_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / ".hidden.0123456789ab.txt").write_text("a user's")
    (tmp_path / ".wplus-writing-link").symlink_to(tmp_path.parent)
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path)
        assert temporary.read_text() == "whole"
    assert listing(tmp_path) == [".hidden.0123456789ab.txt", ".wplus-writing-link", "a.txt"]


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / ".wplus-writing-1").mkdir()
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == [".wplus-writing-1", "a.txt"]


def full_disk_of_python(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def full_disk_without_a_name(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("write", [full_disk_of_python, full_disk_without_a_name])
def test_errors_of_the_disk_name_the_file(write: object, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert callable(write)
    with pytest.raises(OSError, match="No space left") as raised, atomic(path) as temporary:
        write(temporary)
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(path)
    assert listing(tmp_path) == []


def test_errors_of_other_files_stay_theirs(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="other") as raised, atomic(tmp_path / "a.txt"):
        (tmp_path / "other").read_text()
    assert raised.value.filename == str(tmp_path / "other")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 600 + "]" * 600, '{"a":' * 300 + "1" + "}" * 300]
)
def test_deep_json(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        parse_json(text)


def test_json() -> None:
    assert parse_json('{"a": [1, "[[", null, {"b": 2.5}]}') == {"a": [1, "[[", None, {"b": 2.5}]}
    assert parse_json("[" * 90 + "]" * 90)
    with pytest.raises(ValueError, match="Expecting value"):
        parse_json("nonsense")
