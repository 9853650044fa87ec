"""Folders: what counts as an image, and that pairs are pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_evaluation import smooth, write_pictures

from wplus.errors import ConfigError
from wplus.evaluate import Pairs, Photographs


def names(folder: Path) -> list[str]:
    return [one.name for one in Photographs(folder).images()]


def pair(
    first: Path, second: Path, suffixes: tuple[str, str] = ("", "")
) -> list[tuple[str, Path, Path]]:
    return [(name, *paths) for name, paths in Pairs(first, second, suffixes).files]


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "photos", 2)
    write_pictures(folder / "more", 1)
    write_pictures(folder / ".thumbnails", 1)
    for left_out in ("notes.txt", ".hidden.png", "000.compare.png", "000.codes.safetensors"):
        (folder / left_out).write_text("")
    (folder / "BROKEN.JPG").write_text("text")  # looks like a picture: it must be named later
    (folder / "link.png").symlink_to(folder / "001.png")
    assert names(folder) == ["000.png", "001.png", "BROKEN.JPG", "link.png", "more/000.png"]
    for name in names(folder):
        (folder / name).rename((folder / name).with_suffix(".compare.png"))
    with pytest.raises(ConfigError, match="only comparisons"):
        Photographs(folder)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, said in (("missing", "cannot"), ("file", "cannot"), ("empty", "no images")):
        with pytest.raises(ConfigError, match=f"{name}: .*{said}"):
            Photographs(tmp_path / name)


def test_pairs_by_stem_whatever_the_order_and_the_suffix(tmp_path: Path) -> None:
    # Sorted, "10" comes before "2" in one folder and zero-padded names do not in the other.
    one, other = tmp_path / "a", tmp_path / "b"
    for folder in (one, other):
        (folder / "faces").mkdir(parents=True)
    for stem in ("2", "10", "faces/x"):
        smooth(0).save(one / f"{stem}.png")
        smooth(0).save(other / f"{stem}.jpg")
    found = pair(one, other)
    assert [stem for stem, *_ in found] == ["10", "2", "faces/x"]
    for stem, first, second in found:
        assert first == one / f"{stem}.png"
        assert second == other / f"{stem}.jpg"


def test_lonely_pictures_are_named(tmp_path: Path) -> None:
    one, other = write_pictures(tmp_path / "a", 3), write_pictures(tmp_path / "b", 9, first=1)
    with pytest.raises(ConfigError) as caught:
        pair(one, other)
    message = str(caught.value)
    assert message.startswith("8 images have no partner")
    assert str(one / "000.png") in message
    assert str(other / "003.png") in message
    assert message.endswith(" and 3 more")
    assert "001" not in message


def test_two_pictures_of_one_stem_are_named(tmp_path: Path) -> None:
    one, other = write_pictures(tmp_path / "a", 2), write_pictures(tmp_path / "b", 2)
    smooth(7).save(other / "001.jpg")
    with pytest.raises(ConfigError, match=r"3 images .*001\.png.*001\.jpg"):
        pair(one, other)


def test_suffixes_and_comparisons(tmp_path: Path) -> None:
    one, other = write_pictures(tmp_path / "a", 2), write_pictures(tmp_path / "b", 2)
    for path in other.glob("*.png"):
        path.rename(other / f"{path.stem}_out.png")
    smooth(0).save(other / "000_out.compare.png")
    smooth(0).save(one / "001.compare.png")
    smooth(0).save(other / "001.compare_out.png")
    assert [name for name, *_ in pair(one, other, ("", "_out"))] == ["000", "001"]
    with pytest.raises(ConfigError, match="5 images"):
        pair(one, other)
