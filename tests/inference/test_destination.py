"""Where results are written: no input is replaced, no result of another input is, all or none."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from wplus import codes, images
from wplus.errors import ConfigError, ImageError
from wplus.inference.destination import Code, Destination, refuse_inputs

IMAGE = Image.new("RGB", (20, 20), "gray")
CODE = Code(torch.zeros(3, 4), {"model": "m"})
TRIPLE = {".png": IMAGE, codes.SUFFIX: CODE, ".compare.png": IMAGE}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_triple_and_its_origin(tmp_path: Path) -> None:
    files = Destination(tmp_path / "out").write("a", "digest", TRIPLE)
    assert list(files) == list(TRIPLE)
    assert names(tmp_path / "out") == {"a.png", "a.codes.safetensors", "a.compare.png"}
    assert codes.load(files[codes.SUFFIX])[1] == {"model": "m", "origin": "digest"}
    assert Image.open(files[".png"]).info["origin"] == "digest"


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "folder"])
def test_an_input_is_never_replaced(link: str, tmp_path: Path) -> None:
    photo = tmp_path / "p.png"
    images.save(IMAGE, photo)
    before, out = photo.read_bytes(), tmp_path / "out"
    if link == "folder":
        out.symlink_to(tmp_path)
    else:
        out.mkdir()
        if link == "symbolic":
            (out / "p.png").symlink_to(photo)
        elif link == "hard":
            os.link(photo, out / "p.png")
        else:
            out = tmp_path
    destination = Destination(out, [photo, b"bytes", None], overwrite=True)
    with pytest.raises(ConfigError, match=r"p\.png: would be replaced by its result .*p\.png"):
        destination.check(["other", "p"], [".png"])
    with pytest.raises(ConfigError, match=r"p\.png: would be replaced"):
        destination.write("p", "x", TRIPLE)
    assert photo.read_bytes() == before
    assert not (out / "p.compare.png").exists()
    with pytest.raises(ConfigError, match="would be replaced by the output"):
        refuse_inputs(out / "p.png", [photo])
    refuse_inputs(tmp_path / "free.png", [photo])


def test_one_file_is_never_of_two_results(tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    first = destination.write("a", "1", TRIPLE)
    second = destination.write("a.compare", "2", TRIPLE)
    third = destination.write("A", "3", TRIPLE)  # some file systems ignore case
    files = [*first.values(), *second.values(), *third.values()]
    assert len({file.lower() for file in files}) == 9
    assert Path(second[".png"]).name == "a.compare-2.png"
    assert Path(third[".png"]).name == "A-2.png"


def test_a_later_run_replaces_results_of_the_same_input_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for origin in ("one", "one", "two", "two", "one"):
        Destination(tmp_path).write("face", origin, TRIPLE)
    assert len(names(tmp_path)) == 6
    assert codes.load(tmp_path / "face.codes.safetensors")[1]["origin"] == "one"
    assert codes.load(tmp_path / "face-2.codes.safetensors")[1]["origin"] == "two"
    with caplog.at_level(logging.WARNING):
        Destination(tmp_path).write("face", "three", {".png": IMAGE})
    assert "face.png: is there already" in caplog.text
    assert "face-3.png" in caplog.text
    Destination(tmp_path, overwrite=True).write("face", "four", TRIPLE)
    assert codes.load(tmp_path / "face.codes.safetensors")[1]["origin"] == "four"


@pytest.mark.parametrize("content", [b"", b"mine", None], ids=["empty", "text", "photo"])
def test_a_file_of_somebody_else_stays(content: bytes | None, tmp_path: Path) -> None:
    images.save(IMAGE, tmp_path / "a.png") if content is None else (tmp_path / "a.png").write_bytes(
        content
    )
    before = (tmp_path / "a.png").read_bytes()
    Destination(tmp_path).write("a", "x", TRIPLE)
    assert (tmp_path / "a.png").read_bytes() == before
    assert (tmp_path / "a-2.compare.png").is_file()


@pytest.mark.parametrize("stem", ["x" * 251, "é" * 126, "😀" * 62 + "abc"])
def test_names_near_the_longest_are_shortened_whole(stem: str, tmp_path: Path) -> None:
    destination = Destination(tmp_path)
    for origin in ("1", "2"):
        destination.write(stem, origin, TRIPLE)
    assert len(names(tmp_path)) == 6
    for suffix in TRIPLE:
        stems = {name.removesuffix(suffix) for name in names(tmp_path) if name.endswith(suffix)}
        assert any(stem.startswith(each) for each in stems)


def test_all_files_or_none(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device", str(path))

    Destination(tmp_path).write("a", "1", {".png": IMAGE})
    before = (tmp_path / "a.png").read_bytes()
    red = Image.new("RGB", (20, 20), "red")
    with pytest.raises(ImageError, match=r"a\.txt.*No space left") as caught:
        Destination(tmp_path).write("a", "1", {".png": red, ".txt": broken})
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == {"a.png"}
    assert (tmp_path / "a.png").read_bytes() == before


def test_an_output_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        Destination(tmp_path / "file")
    with pytest.raises(ConfigError, match="name a folder"):
        Destination("")
