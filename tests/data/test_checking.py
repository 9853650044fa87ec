"""Every file is looked at before training: each problem named, and which of them matter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painting import paint, pixels
from PIL import Image

from wplus.data import Folder, ImagePairs, PairedFolders, Reading, Synthetic, check, refused


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Targets of every kind, each with a good source, and some without a partner."""
    sources, targets = tmp_path / "in", tmp_path / "out"
    names = ("good", "corrupt", "cut", "empty", "text", "gray", "deep", "turned", "tiny", "wide")
    for number, name in enumerate(names):
        paint(sources / f"{name}_s.png", number)
    paint(targets / "good.jpg")
    paint(targets / "cut.jpg", 5, (256, 256))
    (targets / "cut.jpg").write_bytes((targets / "cut.jpg").read_bytes()[:1500])
    (targets / "corrupt.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(300))
    (targets / "empty.png").touch()
    (targets / "text.jpg").write_text("this is no picture\n" * 20)
    Image.fromarray(pixels()).convert("L").save(targets / "gray.jpg")
    Image.fromarray(pixels()[..., 0].astype(np.uint16) * 200).save(targets / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).save(targets / "turned.jpg", exif=exif)
    paint(targets / "tiny.png", 0, (40, 40))
    paint(targets / "wide.png", 0, (90, 64))
    paint(targets / "alone.png")
    paint(sources / "single_s.png")
    return sources, targets


def data(folders: tuple[Path, Path], **settings: Any) -> PairedFolders:
    reading = Reading(size=64)
    return PairedFolders(*folders, "_s", reading=reading, skip_unpaired=True, **settings)


def test_each_file_is_named(folders: tuple[Path, Path]) -> None:
    seen: list[tuple[int, int]] = []
    found = check(data(folders), lambda *now: seen.append(now))
    told = {str(Path(file).relative_to(folders[0].parent)): problem for file, problem in found}
    assert len(told) == len(found) == 11
    expected = {
        "out/cut.jpg": "refused: is damaged or truncated",
        "out/corrupt.png": "refused: ",
        "out/empty.png": "refused: the file is empty",
        "out/text.jpg": "refused: is no picture",
        "out/gray.jpg": "accepted: gray",
        "out/deep.png": "accepted: gray",
        "out/turned.jpg": "accepted: rotated by EXIF",
        "out/tiny.png": "refused: 40x40 is too small for a target",
        "out/wide.png": "accepted: not square (90x64)",
        "out/alone.png": "refused: has no source",
        "in/single_s.png": "refused: has no target",
    }
    assert told.keys() == expected.keys()
    for file, problem in expected.items():
        assert told[file].startswith(problem), told[file]
        assert folders[0].parent.name not in told[file], "the file is named once"
    assert seen == [(done, 10) for done in range(1, 11)]


def test_what_is_refused_can_be_left_out(folders: tuple[Path, Path]) -> None:
    everything = data(folders)
    bad = refused(check(everything))
    assert len(bad) == 7
    out = {file for file, _ in bad}
    pairs = [each for each in everything.pairs if not out & {each.source, each.target}]
    left = ImagePairs(pairs, everything.reading)
    assert [left.name(i) for i in range(len(left))] == ["deep", "good", "gray", "turned", "wide"]
    assert all(len(left.item(i, None)["target"]) == 3 for i in range(len(left)))
    assert refused(check(left)) == []


def test_bad_sources_are_found_too(folders: tuple[Path, Path]) -> None:
    (folders[0] / "good_s.png").write_text("nothing")
    found = dict(check(data(folders)))
    assert found[str(folders[0] / "good_s.png")].startswith("refused: is no picture")
    assert str(folders[1] / "good.jpg") not in found


def test_checking_fills_the_memory(folders: tuple[Path, Path]) -> None:
    kept = data(folders, memory=True)
    check(kept)
    assert kept.memory is not None and len(kept.memory) == 10 + 5
    (folders[1] / "good.jpg").unlink()
    index = [kept.name(i) for i in range(len(kept))].index("good")
    assert kept.item(index, None)["name"] == "good"


def test_labels_are_checked_as_labels(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        paint(tmp_path / "b" / f"{number}.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((64, 64), 18, np.uint8)).save(tmp_path / "a" / "1.png")
    Image.fromarray(np.full((64, 64), 19, np.uint8)).save(tmp_path / "a" / "2.png")
    paint(tmp_path / "a" / "3.png", 5)
    labels = PairedFolders(
        tmp_path / "a", tmp_path / "b", reading=Reading(source="labels", size=64)
    )
    found = check(labels)
    assert [Path(file).name for file, _ in found] == ["2.png", "3.png"]
    assert "label 19 is out of range" in found[0][1] and "is in color" in found[1][1]


def test_a_picture_that_is_its_own_target_is_checked_as_one(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", 0, (40, 40))
    ((_, problem),) = check(Folder(tmp_path))
    assert problem.startswith("refused: 40x40 is too small")


def test_ctrl_c_does_not_wait_for_the_rest() -> None:
    class Slow(Synthetic):
        looked = 0

        def inspect(self, index: int) -> list[tuple[str, str]]:
            self.looked += 1
            time.sleep(0.005)
            return []

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    data = Slow(6, 4, count=2000)
    with pytest.raises(KeyboardInterrupt):
        check(data, interrupt)
    assert data.looked < 200


def test_nothing_to_say(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    assert check(Folder(tmp_path, Reading(size=64))) == []
    assert check(Synthetic(6, 4)) == []
