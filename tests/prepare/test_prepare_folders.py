"""Folders of photographs to folders of sources that pair with them; going on; bad files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wplus import tasks
from wplus.data import PairedFolders, Reading
from wplus.data.listing import images_in
from wplus.errors import ConfigError
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser
from wplus.prepare import MAKERS, Recipe, folders, prepare_folder
from wplus.prepare.folders import Prepared
from wplus.sources.kind import from_file

TASKS = {
    "sketches": "sketch",
    "labels": "labels",
    "masks": "inpainting",
    "low_resolution": "super_resolution",
}


def photo(seed: int, size: tuple[int, int] = (80, 80)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    photo(0).save(folder / "1.jpg")
    photo(1).save(folder / "10.png")
    photo(2, (90, 70)).save(folder / "more" / "1.jpg")
    return folder


class Halves(torch.nn.Module):
    """Scores 19 classes: the upper half is hair, the lower half skin."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(x), 19, *x.shape[2:])
        scores[:, LABELS.index("hair"), : x.shape[2] // 2] = 1
        scores[:, LABELS.index("skin"), x.shape[2] // 2 :] = 1
        return scores


@pytest.fixture(autouse=True)
def _parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_parser", lambda: FaceParser(Halves(), 64))
    monkeypatch.setattr(folders.weights, "path", lambda name: Path(name))


def run(folder: Path, out: Path, recipe: Recipe, jobs: int = 1) -> list[Prepared]:
    total, results = prepare_folder(folder, out, recipe, jobs)
    done = list(results)
    assert len(done) == total
    return done


@pytest.mark.parametrize("kind", MAKERS)
def test_sources_pair_with_their_photographs_and_can_be_read(
    photographs: Path, tmp_path: Path, kind: folders.Kind
) -> None:
    out = tmp_path / "out"
    recipe = Recipe(kind, size=80)
    done = run(photographs, out, recipe)
    assert [Path(each.made or "").relative_to(out).as_posix() for each in done] == [
        "1.png",
        "10.png",
        "more/1.png",
    ]
    reading = Reading.of(tasks.TASKS[TASKS[kind]], size=80)
    data = PairedFolders(out, photographs, reading=reading)
    assert [data.name(i) for i in range(3)] == ["1", "10", "more/1"]
    for index in range(3):
        item = data.item(index, None)
        assert item["source"].shape == (tasks.TASKS[TASKS[kind]].input_channels, 80, 80)
        assert not data.inspect(index) or kind == "low_resolution" or index == 2
    with Image.open(out / "more" / "1.png") as made:
        assert made.size == ((80, 80) if kind == "low_resolution" else (90, 70))
    if kind == "labels":
        numbers = data.item(0, None)["source"].argmax(0)
        assert (numbers[:40] == 13).all() and (numbers[40:] == 1).all()


def test_the_same_seed_makes_the_same_whatever_else_there_is(
    photographs: Path, tmp_path: Path
) -> None:
    for number, seed in enumerate((3, 3, 4)):
        run(photographs, tmp_path / f"{number}", Recipe("masks", seed))
        photo(9).save(photographs / "0.png")  # another one before the others, from the second run
    files = [(tmp_path / f"{n}" / "10.png").read_bytes() for n in range(3)]
    assert files[0] == files[1] != files[2]
    assert (tmp_path / "0" / "1.png").read_bytes() != files[0]


def test_what_is_there_is_kept(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photographs, out, Recipe("masks"))
    (out / "10.png").write_text("mine")
    (out / "1.png").unlink()
    assert [each.kept for each in run(photographs, out, Recipe("masks"))] == [False, True, True]
    assert (out / "10.png").read_text() == "mine"
    names = sorted(path.name for path in out.iterdir())
    assert names == ["1.png", "10.png", "more", "prepare.json"]
    # Nobody takes the record for a picture.
    assert [name for name, _ in images_in(out)] == ["1", "10", "more/1"]


FIRST = {
    "sketches": Recipe("sketches", 1),
    "labels": Recipe("labels"),
    "masks": Recipe("masks", 1, coverage=(0.1, 0.2)),
    "low_resolution": Recipe("low_resolution", 1, (4, 8), 64),
}


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("sketches", {"seed": 2}, "was made with seed 1, not with seed 2;"),
        ("masks", {"masks": "boxes"}, "with kind mixed, not with kind boxes;"),
        ("masks", {"coverage": (0.1, 0.3)}, "with coverage 0.1 0.2, not with coverage 0.1 0.3;"),
        (
            "masks",
            {"kind": "sketches"},
            "with sources masks, kind mixed,",
        ),
        ("low_resolution", {"factors": (4,), "seed": 3}, "with seed 1, factors 4 8, not with seed"),
        ("low_resolution", {"size": 32}, "with size 64, not with size 32;"),
    ],
)
def test_another_recipe_is_refused(
    photographs: Path, tmp_path: Path, kind: str, change: dict[str, Any], said: str
) -> None:
    out = tmp_path / "out"
    run(photographs, out, FIRST[kind])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    photo(7).save(photographs / "new.png")
    with pytest.raises(ConfigError) as error:
        prepare_folder(photographs, out, replace(FIRST[kind], **change))
    assert str(error.value).startswith(f"{out}: ") and said in str(error.value)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    # The same goes on, and what the kind does not use is not asked about.
    other = {"sketches": {"size": 512}, "masks": {"factors": (2,)}}.get(kind, {"masks": "boxes"})
    done = run(photographs, out, replace(FIRST[kind], **other))
    assert [each.kept for each in done] == [True, True, True, False]


def test_a_folder_without_pictures_takes_any_recipe(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_folder(photographs, out, Recipe("masks", 1))  # stopped before the first
    (out / "notes.txt").write_text("mine")
    run(photographs, out, Recipe("sketches", 2))
    with pytest.raises(ConfigError, match="with seed 2, not with seed 1"):
        prepare_folder(photographs, out, Recipe("sketches", 1))


def test_pictures_of_unknown_recipe_are_refused(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photographs, out, Recipe("masks"))
    record = out / "prepare.json"
    about = record.read_text()
    for text, said in (
        (None, "has content, but no prepare.json"),
        ("{", "cannot be read as settings"),
        ("[1]", "holds no settings"),
        ('{"recipe": 1}', "holds no settings"),
    ):
        record.unlink(missing_ok=True)
        if text is not None:
            record.write_text(text)
        with pytest.raises(ConfigError, match=said):
            prepare_folder(photographs, out, Recipe("masks"))
    record.write_text(json.dumps({"version": 1, "recipe": json.loads(about)}))  # as 0.1.0 wrote it
    assert all(each.kept for each in run(photographs, out, Recipe("masks")))


def test_bad_files_are_named_and_the_others_made(photographs: Path, tmp_path: Path) -> None:
    (photographs / "bad.jpg").write_text("no picture")
    photo(5).save(photographs / "10.bmp")
    done = run(photographs, tmp_path / "out", Recipe("sketches"))
    errors = [each.error for each in done if each.error]
    assert len(errors) == 2 and sum(each.made is not None for each in done) == 3
    assert any("bad.jpg: is no picture" in error for error in errors)
    assert any("10.png: has the name of" in error and "10.bmp" in error for error in errors)


def test_factors(photographs: Path, tmp_path: Path) -> None:
    run(photographs, tmp_path / "out", Recipe("low_resolution", factors=(4,), size=64))
    for name in ("1.jpg", "10.png"):
        expected = from_file(photographs / name, "low_resolution", 64, factor=4)
        made = (tmp_path / "out" / name).with_suffix(".png")
        found = from_file(made, "low_resolution", 64)
        assert (found - expected).abs().max() <= 0.51 / 127.5


@pytest.mark.slow
def test_several_processes_make_the_same(photographs: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        run(photographs, tmp_path / f"{jobs}", Recipe("sketches"), jobs)
    for name in ("1.png", "10.png", "more/1.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_what_is_refused(photographs: Path, tmp_path: Path) -> None:
    for out in (photographs, photographs / "sub"):
        with pytest.raises(ConfigError, match="is in the folder of the photographs"):
            prepare_folder(photographs, out, Recipe("masks"))
    with pytest.raises(ConfigError, match="cannot be read as a folder"):
        prepare_folder(tmp_path / "missing", tmp_path / "out", Recipe("masks"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there are no images in this folder"):
        prepare_folder(tmp_path / "empty", tmp_path / "out", Recipe("masks"))
    with pytest.raises(ConfigError, match="0 processes"):
        prepare_folder(photographs, tmp_path / "out", Recipe("masks"), 0)
    for wrong in (
        {"kind": "oil"},
        {"seed": -1},
        {"factors": ()},
        {"size": 32},
        {"coverage": (0, 2)},
    ):
        with pytest.raises(ConfigError):
            Recipe(**{"kind": "masks", **wrong})  # type: ignore[arg-type]
