"""Files to examples: sources of every kind, flips on the right sides, targets never changed."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from painting import paint, pixels
from PIL import Image
from torch import Tensor

from wplus import images, tasks
from wplus.data import Augmentation, FileList, Folder, PairedFolders, Reading
from wplus.data.reading import read_target
from wplus.errors import ConfigError, ImageError
from wplus.faces.labels import LABELS
from wplus.sources.kind import from_file
from wplus.sources.low_resolution import shrink_and_enlarge

SMALL = Reading(size=64, flip="none")


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(number: int = 0, size: tuple[int, int] = (64, 64)) -> Tensor:
    return images.to_tensor(Image.fromarray(pixels(number, size)))[0]


def test_a_photograph_is_source_and_target(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", 2), paint(tmp_path / "a.png", 1)
    data = Folder(tmp_path, SMALL)
    assert len(data) == 2 and [data.name(i) for i in range(2)] == ["a", "b"]
    for index, number in ((0, 1), (1, 2)):
        for random in (None, rng(0)):
            item = data.item(index, random)
            assert item["name"] == "ab"[index]
            assert torch.equal(item["source"], tensor(number))
            assert torch.equal(item["target"], tensor(number))
            assert set(item) == {"name", "source", "target", "native_size"}


def test_pairs_are_two_different_pictures(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        paint(tmp_path / "a" / f"{number}_x.png", number)
        paint(tmp_path / "b" / f"{number}.png", number + 50)
    data = PairedFolders(tmp_path / "a", tmp_path / "b", "_x", reading=SMALL)
    for index in range(3):
        item = data.item(index, rng(0))
        number = int(item["name"])
        assert torch.equal(item["source"], tensor(number))
        assert torch.equal(item["target"], tensor(number + 50))


def flips(item: Any, source: Tensor, target: Tensor) -> tuple[bool, bool]:
    """Whether source and target are mirrored; fails if one is neither."""
    found = []
    for got, plain in ((item["source"], source), (item["target"], target)):
        mirrored = torch.equal(got, plain.flip(-1))
        assert mirrored != torch.equal(got, plain)
        found.append(mirrored)
    return found[0], found[1]


@pytest.mark.parametrize(
    ("flip", "expected"),
    [
        ("none", {(False, False)}),
        ("both", {(False, False), (True, True)}),
        ("independent", {(a, b) for a in (False, True) for b in (False, True)}),
    ],
)
def test_flips(tmp_path: Path, flip: Any, expected: set[tuple[bool, bool]]) -> None:
    paint(tmp_path / "1.png")
    data = Folder(tmp_path, replace(SMALL, flip=flip))
    found = [flips(data.item(0, rng(seed)), tensor(), tensor()) for seed in range(200, 600)]
    assert set(found) == expected
    for each in expected:
        assert found.count(each) / 400 == pytest.approx(1 / len(expected), abs=0.1)
    for _ in range(20):
        assert flips(data.item(0, None), tensor(), tensor()) == (False, False)


def label_map(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """All 19 classes, in columns, different left from right."""
    numbers = np.repeat(np.arange(19, dtype=np.uint8), 4)[None].repeat(76, 0)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(numbers).save(path)
    return numbers


def test_flipped_labels_exchange_the_sides_of_the_face(tmp_path: Path) -> None:
    numbers = label_map(tmp_path / "a" / "1.png")
    paint(tmp_path / "b" / "1.png", 0, (76, 76))
    reading = Reading.of(tasks.TASKS["labels"], size=76)
    data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=reading)
    other = {"l_eye": "r_eye", "l_brow": "r_brow", "l_ear": "r_ear"}
    other |= {right: left for left, right in other.items()}
    seen = set()
    for seed in range(12):
        item = data.item(0, rng(seed))
        assert item["source"].shape == (19, 76, 76)
        assert (item["source"].sum(0) == 1).all()
        mirrored = torch.equal(item["target"], tensor(0, (76, 76)).flip(-1))
        seen.add(mirrored)
        line = [LABELS[n] for n in item["source"].argmax(0)[0].tolist()]
        plain = [LABELS[n] for n in numbers[0]]
        assert line == ([other.get(name, name) for name in plain[::-1]] if mirrored else plain)
    assert seen == {True, False}


def test_classes_of_ones_own_are_only_mirrored(tmp_path: Path) -> None:
    numbers = label_map(tmp_path / "a" / "1.png")
    paint(tmp_path / "b" / "1.png", 0, (76, 76))
    reading = Reading(source="labels", size=76, channels=300)
    data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=reading)
    found = {tuple(data.item(0, rng(s))["source"].argmax(0)[0].tolist()) for s in range(9)}
    assert found == {tuple(numbers[0].tolist()), tuple(numbers[0, ::-1].tolist())}


def test_labels_out_of_range_are_an_error_of_the_file(tmp_path: Path) -> None:
    label_map(tmp_path / "a" / "1.png")
    paint(tmp_path / "b" / "1.png")
    reading = Reading(source="labels", size=64, channels=18)
    data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=reading)
    with pytest.raises(ImageError, match=r"a/1\.png: label 18 is out of range"):
        data.item(0, None)


def test_sketches(tmp_path: Path) -> None:
    ink = np.full((64, 64), 255, np.uint8)
    ink[10:12, 5:40], ink[20:50, 7], ink[30, 30:60] = 0, 90, 30
    (tmp_path / "a").mkdir()
    Image.fromarray(ink).save(tmp_path / "a" / "1.png")
    paint(tmp_path / "b" / "1.png")
    for size in (64, 40):
        reading = replace(Reading.of(tasks.TASKS["sketch"], size=size), flip="none")
        data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=reading)
        expected = from_file(tmp_path / "a" / "1.png", "sketch", size)[0]
        assert torch.equal(data.item(0, rng(0))["source"], expected)
    flipped = PairedFolders(
        tmp_path / "a", tmp_path / "b", reading=Reading(source="sketch", size=64)
    )
    plain = torch.from_numpy(ink.astype(np.float32) / 255)[None]
    assert {flips(flipped.item(0, rng(s)), plain, tensor())[0] for s in range(9)} == {True, False}


def test_low_resolution_draws_its_factor_in_training_and_keeps_it_in_validation(
    tmp_path: Path,
) -> None:
    for number in range(12):
        paint(tmp_path / f"{number}.png", number)
    reading = replace(Reading.of(tasks.TASKS["super_resolution"], size=64), flip="none")
    assert reading.factors == (1, 2, 4, 8, 16, 32)
    data = Folder(tmp_path, reading)

    def factor(item: Any) -> int:
        sharp = item["target"][None]
        made = {f: shrink_and_enlarge(sharp, f, 64)[0] for f in reading.factors}
        found = [f for f, picture in made.items() if torch.equal(picture, item["source"])]
        assert len(found) == 1
        return found[0]

    drawn = [factor(data.item(3, rng(seed))) for seed in range(90)]
    assert set(drawn) == set(reading.factors)
    assert max(map(drawn.count, reading.factors)) < 32
    fixed = {data.name(i): factor(data.item(i, None)) for i in range(12)}
    assert len(set(fixed.values())) >= 4
    paint(tmp_path / "00.png", 77)  # another place for every picture, the same factor
    again = Folder(tmp_path, reading)
    found = {again.name(i): factor(again.item(i, None)) for i in range(13)}
    assert {name: found[name] for name in fixed} == fixed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    path = paint(tmp_path / "1.png", 1)
    path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe9.png"))
    data = Folder(tmp_path, replace(SMALL, source="low_resolution"))
    assert data.item(0, None)["source"].shape == (3, 64, 64)
    assert len(data.fingerprint()) == 16


def test_a_map_that_is_removed_after_the_listing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "1.png"
    label_map(path)
    paint(tmp_path / "b" / "1.png")
    data = PairedFolders(
        tmp_path / "a", tmp_path / "b", reading=replace(SMALL, source="labels", channels=19)
    )
    path.unlink()
    with pytest.raises(ImageError, match=r"1\.png: "):
        data.item(0, None)


def holes(item: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """Where the source is gray; elsewhere it is the target's mirror image or the target."""
    hole = (item["source"] == 0).all(0)
    assert torch.equal(item["source"][:, ~hole], item["target"][:, ~hole])
    return hole.numpy()


def test_holes_are_drawn_in_training_and_kept_in_validation(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / f"{number}.png", number)
    task = tasks.TASKS["inpainting"]
    data = Folder(tmp_path, Reading.of(task, size=64))
    assert data.reading.source == "masked" and data.reading.flip == "both"
    drawn = [holes(data.item(1, rng(seed))) for seed in range(8)]
    assert all(0.03 < hole.mean() < 0.55 for hole in drawn)
    assert len({hole.tobytes() for hole in drawn}) == 8
    assert np.array_equal(drawn[3], holes(data.item(1, rng(3))))
    fixed = {data.name(i): holes(data.item(i, None)) for i in range(3)}
    assert len({hole.tobytes() for hole in fixed.values()}) == 3
    paint(tmp_path / "00.png", 7)  # another place for every picture, the same hole
    again = Folder(tmp_path, data.reading)
    for index in range(4):
        if again.name(index) in fixed:
            assert np.array_equal(holes(again.item(index, None)), fixed[again.name(index)])


def test_masks_of_files_are_the_holes_and_flip_with_the_picture(tmp_path: Path) -> None:
    paint(tmp_path / "b" / "1.png")
    mask = np.zeros((128, 128), np.uint8)
    mask[20:41, 30:60] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(mask).save(tmp_path / "a" / "1.png")
    data = PairedFolders(
        tmp_path / "a", tmp_path / "b", reading=Reading(source="masked", size=64), memory=True
    )
    expected = np.zeros((64, 64), bool)
    expected[10:21, 15:30] = True  # the row that lies half in the hole is in it
    seen = set()
    for seed in range(9):
        item = data.item(0, rng(seed))
        mirrored = torch.equal(item["target"], tensor().flip(-1))
        assert np.array_equal(holes(item), expected[:, ::-1] if mirrored else expected)
        seen.add(mirrored)
    assert seen == {True, False}
    Image.new("L", (64, 64)).save(tmp_path / "a" / "1.png")
    data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=data.reading)
    with pytest.raises(ImageError, match=r"a/1\.png: a mask that removes nothing"):
        data.item(0, None)
    assert "refused: a mask that removes nothing" in dict(data.inspect(0)).popitem()[1]


def test_independent_flips_are_for_every_task_that_wants_them() -> None:
    assert Reading.of(tasks.TASKS["frontalization"]).flip == "independent"


def test_a_pair_of_low_and_high_resolution_is_taken_as_it_is(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png", 1, (16, 16)), paint(tmp_path / "b" / "1.png", 1)
    data = PairedFolders(
        tmp_path / "a", tmp_path / "b", reading=replace(SMALL, source="low_resolution")
    )
    expected = images.resize(tensor(1, (16, 16))[None], 64)[0]
    assert (data.item(0, rng(0))["source"] - expected).abs().max() <= 0.51 / 127.5


def test_augmentation_is_for_the_source_in_training_only(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    always = replace(Augmentation.none(), noise=1.0)
    data = Folder(tmp_path, replace(SMALL, augmentation=always))
    item = data.item(0, rng(0))
    assert torch.equal(item["target"], tensor()) and not torch.equal(item["source"], tensor())
    assert torch.equal(item["source"], data.item(0, rng(0))["source"])
    assert not torch.equal(item["source"], data.item(0, rng(1))["source"])
    assert torch.equal(data.item(0, None)["source"], tensor())
    shrunk = Folder(tmp_path, replace(data.reading, source="low_resolution", factors=(2,)))
    assert torch.equal(
        shrunk.item(0, rng(0))["source"], shrink_and_enlarge(tensor()[None], 2, 64)[0]
    )


def test_variation_is_for_source_and_target_alike(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    often = replace(Augmentation.variation(), misalign=1.0, color=1.0)
    data = Folder(tmp_path, replace(SMALL, variation=often))
    item = data.item(0, rng(0))
    assert torch.equal(item["target"], item["source"])
    assert not torch.equal(item["target"], tensor())
    assert not torch.equal(item["target"], data.item(0, rng(1))["target"])
    assert torch.equal(data.item(0, None)["target"], tensor())
    noisy = replace(data.reading, augmentation=replace(Augmentation.none(), noise=1.0))
    both = Folder(tmp_path, noisy).item(0, rng(0))
    assert torch.equal(both["target"], item["target"])
    assert not torch.equal(both["source"], item["source"])
    paint(tmp_path / "a" / "1.png", 1), paint(tmp_path / "b" / "1.png")
    pair = PairedFolders(tmp_path / "a", tmp_path / "b", reading=data.reading).item(0, rng(0))
    assert torch.equal(pair["target"], tensor())  # one of two files alone would not fit the other


@pytest.mark.parametrize("size", [(128, 128), (192, 192), (100, 100), (150, 90), (128, 192)])
def test_other_sizes_are_resized_as_everywhere(tmp_path: Path, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "1.png")
    expected = images.resize(images.to_tensor(Image.fromarray(noise)), 64)[0]
    found = images.to_tensor(Image.fromarray(read_target(tmp_path / "1.png", SMALL)[0]))[0]
    assert found.shape == (3, 64, 64)
    assert (found - expected).abs().max() <= 0.6 / 127.5


def test_tiny_targets_are_refused_and_small_sources_are_not(tmp_path: Path) -> None:
    paint(tmp_path / "a" / "1.png", 1, (40, 64)), paint(tmp_path / "b" / "1.png")
    PairedFolders(tmp_path / "a", tmp_path / "b", reading=SMALL).item(0, None)
    with pytest.raises(ImageError, match=r"a/1\.png: 40x64 is too small for a target; 64"):
        PairedFolders(tmp_path / "b", tmp_path / "a", reading=SMALL).item(0, None)
    assert len(Folder(tmp_path / "a", replace(SMALL, min_target=40)).item(0, None)["source"]) == 3


def test_unpaired_files_are_named_and_counted(tmp_path: Path) -> None:
    for number in range(9):
        paint(tmp_path / "a" / f"{number}.png")
    paint(tmp_path / "b" / "4.png")
    with pytest.raises(ConfigError, match=r"8 files do not pair \(1 pairs do\)") as caught:
        PairedFolders(tmp_path / "a", tmp_path / "b", reading=SMALL)
    assert str(caught.value).count("has no target") == 5
    assert str(caught.value).endswith("; and 3 more") and "a/0.png" in str(caught.value)
    data = PairedFolders(tmp_path / "a", tmp_path / "b", reading=SMALL, skip_unpaired=True)
    assert len(data) == 1 and len(data.problems) == 8
    (tmp_path / "b" / "4.png").rename(tmp_path / "b" / "x.png")
    with pytest.raises(ConfigError, match="0 pairs"):
        PairedFolders(tmp_path / "a", tmp_path / "b", reading=SMALL, skip_unpaired=True)


def test_a_list_of_files(tmp_path: Path) -> None:
    paint(tmp_path / "x" / "1.png", 1), paint(tmp_path / "x" / "2.png", 2)
    path = tmp_path / "list.txt"
    path.write_text("x/2.png\nx/1.png\tx/2.png\n".splitlines()[0] + "\n")
    assert torch.equal(FileList(path, SMALL).item(0, None)["source"], tensor(2))
    path.write_text("x/2.png\tx/1.png\n")
    item = FileList(path, SMALL).item(0, None)
    assert torch.equal(item["source"], tensor(2)) and torch.equal(item["target"], tensor(1))
    path.write_text("x/2.png\nx/3.png\nx/4.png\n")
    with pytest.raises(ConfigError, match=r"2 files are missing: \S+3\.png, \S+4\.png$"):
        FileList(path, SMALL)


def test_pictures_in_memory_are_the_same_and_need_their_files_once(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", 1)
    plain = Folder(tmp_path, replace(SMALL, flip="both"))
    kept = Folder(tmp_path, replace(SMALL, flip="both"), memory=True)
    expected = [plain.item(0, rng(seed)) for seed in range(5)]
    found = [kept.item(0, rng(seed)) for seed in range(2)]
    (tmp_path / "1.png").unlink()
    found += [kept.item(0, rng(seed)) for seed in range(2, 5)]
    for a, b in zip(expected, found):
        assert torch.equal(a["source"], b["source"]) and torch.equal(a["target"], b["target"])
    with pytest.raises(ImageError):
        plain.item(0, None)


@pytest.mark.parametrize(("source", "noun"), [("sketch", "sketch"), ("labels", "label map")])
def test_a_photograph_is_no_drawing(tmp_path: Path, source: str, noun: str) -> None:
    paint(tmp_path / "1.png")
    with pytest.raises(ConfigError, match=f"a photograph is no {noun}"):
        Folder(tmp_path, Reading(source=source))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": "painting"}, "no source 'painting'"),
        ({"flip": "x"}, "flip"),
        ({"size": 0}, "0 pixels wide"),
        ({"factors": ()}, "factors"),
        ({"channels": 0}, "channels"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Reading(**wrong)
