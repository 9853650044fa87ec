"""What people give by mistake: each is answered by one line that says what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import wplus.models
from wplus import faces
from wplus.cli import main, translate  # noqa: F401 (registers the command)
from wplus.config import ModelConfig, Part
from wplus.errors import FaceError
from wplus.image_files import read_stored
from wplus.psp import PSP
from wplus.sources.drawing import clean_drawing
from wplus.sources.kind import from_file
from wplus.tasks import TASKS

EXAMPLES = Path(__file__).parents[2] / "examples"
CHANNELS = {"photo": 3, "sketch": 1, "labels": 19, "low_resolution": 3, "masked": 3}
Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An untrained file for every task."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name in ("inversion", "sketch", "labels", "super_resolution", "inpainting"):
        task = TASKS[name]
        options = {**tiny.encoders(8)["pyramid"].options, "input_channels": CHANNELS[task.source]}
        part = Part("pyramid", options)
        config = ModelConfig(tiny.GENERATORS["mobilestylegan"], part, task=name, source=task.source)
        torch.manual_seed(0)
        network = PSP(wplus.models.build(part), wplus.models.build(config.generator), config)  # type: ignore[arg-type]
        made[name] = folder / f"{name}.safetensors"
        wplus.models.save(tiny.unusual(network), made[name])  # type: ignore[arg-type]
    return made


@pytest.fixture
def run(
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.setenv("WPLUS_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing may be fetched

    def run_it(task: str, *arguments: object) -> tuple[int, list[str], list[str]]:
        """Exit status, lines of errors, and names of what was written."""
        settings = ("--task", task, "--model", models[task], "--out", tmp_path / "out")
        tokens = ["translate", *map(str, (*arguments, *settings))]
        try:
            status = main(tokens)
        except SystemExit as error:
            status = error.code
        assert status is None or isinstance(status, int)
        written = (tmp_path / "out").iterdir() if (tmp_path / "out").exists() else ()
        lines = capsys.readouterr().err.splitlines()
        return status or 0, lines, sorted(path.name for path in written)

    return run_it


def photograph() -> Image.Image:
    with Image.open(EXAMPLES / "portrait.jpg") as picture:
        return picture.resize((128, 128))


def face_in_lines() -> Image.Image:
    with Image.open(EXAMPLES / "sketches" / "1.png") as picture:
        return picture.convert("L")


def labels() -> Image.Image:
    with Image.open(EXAMPLES / "labels.png") as picture:
        return picture.resize((128, 128), Image.Resampling.NEAREST)


def changed(picture: Image.Image, was: int, now: int) -> Image.Image:
    """A gray picture of a map's numbers, with one of them changed."""
    numbers = np.array(picture)
    numbers[numbers == was] = now
    return Image.fromarray(numbers)


def recolored(now: tuple[int, int, int], share: float = 1.0) -> Image.Image:
    """The map in its colors, with another color for the first rows of the background."""
    picture = labels()
    background = np.asarray(picture) == 0
    background[round(share * len(background)) :] = False
    colors = np.array(picture.convert("RGB"))
    colors[background] = now
    return Image.fromarray(colors)


def deep(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def indexed_otherwise() -> Image.Image:
    """A drawing program's palette: the right colors in another order, and one that is wrong."""
    return recolored((9, 9, 200), 0.1).quantize(40)


def of_white_lines() -> Image.Image:
    ink = Image.eval(face_in_lines(), lambda value: 255 - value)
    page = Image.new("RGBA", ink.size, (255, 255, 255, 0))
    page.putalpha(ink)
    return page


def blank(size: tuple[int, int] = (300, 300)) -> Image.Image:
    return Image.new("L", size, 255)


SHARED = [
    ("text.png", b"hello", "is no picture or a damaged one; what is read: JPEG, PNG"),
    ("nothing.png", b"", "the file is empty"),
    ("cut.jpg", (EXAMPLES / "portrait.jpg").read_bytes()[:60000], "is damaged or truncated"),
    ("cut.png", (EXAMPLES / "sketches" / "1.png").read_bytes()[:9000], "is damaged or truncated"),
    ("one.png", Image.new("L", (1, 1)), "1x1 is too small"),
]
PICTURES = [
    ("sketch", photograph, r"looks like a photograph, not like a sketch: .* draws them from photo"),
    ("sketch", lambda: photograph().convert("L"), "looks like a photograph, not like a sketch"),
    ("sketch", lambda: deep(photograph()), "looks like a photograph, not like a sketch"),
    ("sketch", labels, "holds the colors of a label map, not a sketch; use --task labels"),
    ("sketch", blank, "holds no lines, the page is blank"),
    ("sketch", lambda: blank((20000, 60)), "holds no lines, the page is blank"),
    ("sketch", lambda: Image.new("L", (300, 300)), "holds no lines, the page is blank"),
    ("sketch", lambda: Image.new("RGBA", (300, 300)), "holds no lines, the page is blank"),
    ("labels", photograph, r"is in color and looks like a photograph, \d+ colors .* wplus prepare"),
    ("labels", lambda: photograph().convert("L"), r"looks like a photograph: \d+ different levels"),
    ("labels", lambda: deep(photograph()), "looks like a photograph: "),
    ("labels", face_in_lines, "looks like a drawing, not like a label map; use --task sketch"),
    ("labels", lambda: changed(labels(), 13, 19), r"label 19 is out of range.* 0 to 18"),
    ("labels", lambda: changed(labels(), 0, 255), "label 255 is out of range"),
    ("labels", lambda: Image.new("L", (64, 64)), "holds nothing but background; paint"),
    (
        "labels",
        lambda: recolored((200, 10, 10), 0.2),
        r"\(200, 10, 10\) on \d+ pixels, nearest to skin \(204, 0, 0\); paint these in the color",
    ),
    ("labels", lambda: recolored((255, 255, 255)), r"background in \(0, 0, 0\)"),
    ("labels", indexed_otherwise, r"\(9, 9, 200\) on \d+ pixels, nearest to hair \(0, 0, 204\)"),
    (
        "labels",
        lambda: labels().convert("RGB").resize((90, 90), Image.Resampling.BILINEAR),
        "and [0-9]+ more; paint without soft edges",
    ),
    ("super_resolution", lambda: photograph().resize((6, 6)), "6x6 is too small.* 8 pixels"),
    ("inpainting", photograph, "nothing is removed from it; give a mask"),
]


@pytest.mark.parametrize("task", ["inversion", "sketch", "labels", "super_resolution"])
@pytest.mark.parametrize(("name", "content", "said"), SHARED, ids=[each[0] for each in SHARED])
def test_files_that_are_no_pictures(
    run: Run, task: str, name: str, content: bytes | Image.Image, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.save(path)
    status, lines, written = run(task, path)
    assert (status, len(lines), written) == (1, 1, []), lines
    assert lines[0].startswith(f"error: {path}: ")
    assert said in lines[0]


@pytest.mark.parametrize(("task", "make", "said"), PICTURES)
def test_pictures_that_a_task_does_not_read(
    run: Run, task: str, make: Callable[[], Image.Image], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.png"
    make().save(path)
    status, lines, written = run(task, path)
    assert (status, len(lines), written) == (1, 1, []), lines
    assert lines[0].startswith(f"error: {path}: ")
    assert re.search(said, lines[0]), lines[0]


@pytest.mark.parametrize("task", ["inversion", "sketch", "labels", "super_resolution"])
def test_folders(run: Run, task: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    status, lines, written = run(task, tmp_path / "empty", tmp_path / "nowhere")
    assert (status, written) == (1, [])
    assert lines == [
        f"error: {tmp_path / 'empty'}: there are no images in this folder",
        f"error: {tmp_path / 'nowhere'}: there is no such file",
    ]


@pytest.mark.parametrize(
    ("name", "mask", "said"),
    [
        ("other.png", Image.new("L", (100, 90)), "100x90 does not fit an image of 128x128"),
        ("all.png", Image.new("L", (128, 128), 255), "a mask that removes everything"),
        ("none.png", Image.new("L", (128, 128)), "a mask that removes nothing"),
        ("photo.png", photograph(), r"is no mask, \d+% of it is gray; white is removed"),
        ("text.png", b"hello", "is no picture or a damaged one"),
        ("missing.png", None, "there is no such file"),
    ],
)
def test_masks(
    run: Run, name: str, mask: Image.Image | bytes | None, said: str, tmp_path: Path
) -> None:
    photograph().save(tmp_path / "given.png")
    if isinstance(mask, bytes):
        (tmp_path / name).write_bytes(mask)
    elif mask is not None:
        if name == "other.png":
            mask.paste(255, (10, 10, 40, 40))
        mask.save(tmp_path / name)
    status, lines, written = run(
        "inpainting", tmp_path / "given.png", "--no-align", "--mask", tmp_path / name
    )
    assert (status, len(lines), written) == (1, 1, []), lines
    assert str(tmp_path / name) in lines[0]
    assert re.search(said, lines[0]), lines[0]


def test_a_box_around_everything(run: Run, tmp_path: Path) -> None:
    photograph().save(tmp_path / "given.png")
    status, [line], written = run(
        "inpainting", tmp_path / "given.png", "--no-align", "--box", "0,0,128,128"
    )
    assert (status, written) == (1, [])
    assert "--box covers all of it" in line


def test_a_photograph_without_a_face(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise FaceError("no face found; take it as it is with --no-align")

    monkeypatch.setattr(faces, "align", none)
    Image.new("RGB", (300, 280), (40, 90, 160)).save(tmp_path / "sky.png")
    for task in ("inversion", "super_resolution"):
        status, [line], written = run(task, tmp_path / "sky.png")
        assert (status, written) == (1, [])
        assert line.startswith(f"error: {tmp_path / 'sky.png'}: no face found; ")


@pytest.mark.parametrize("factor", [7, 0, -2])
def test_factors_that_do_not_exist(run: Run, factor: int, tmp_path: Path) -> None:
    photograph().resize((32, 32)).save(tmp_path / "given.png")
    status, [line], written = run("super_resolution", tmp_path / "given.png", "--factor", factor)
    assert (status, written) == (1, [])
    assert line.startswith(f"error: --factor {factor}: use one of 1, 2, 4, 8, 16, 32")


def test_the_others_are_done(run: Run, tmp_path: Path) -> None:
    photograph().save(tmp_path / "photo.png")
    face_in_lines().save(tmp_path / "drawing.png")
    status, [line], written = run("sketch", tmp_path / "photo.png", tmp_path / "drawing.png")
    assert status == 1
    assert "photo.png" in line
    assert written == ["drawing.codes.safetensors", "drawing.png"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Image.eval(face_in_lines(), lambda value: 255 - value),
        lambda: deep(face_in_lines()),
        of_white_lines,
    ],
    ids=["negative", "16 bits", "white on transparent"],
)
def test_unusual_drawings_that_are_good(
    make: Callable[[], Image.Image], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make().save(tmp_path / "given.png")
    with caplog.at_level(logging.WARNING):
        page = clean_drawing(read_stored(tmp_path / "given.png"), name=str(tmp_path / "given.png"))
    assert np.abs(np.asarray(page, np.int16) - np.asarray(face_in_lines())).max() <= 1
    said = [record.getMessage() for record in caplog.records]
    inverted = np.asarray(make().convert("L"))[0, 0] == 0
    line = "light lines on a dark ground, taken as a negative of a drawing"
    assert said == ([f"{tmp_path / 'given.png'}: {line}"] if inverted else [])


def test_erased_parts_of_a_label_map_are_background(tmp_path: Path) -> None:
    picture = labels()
    expected = np.asarray(picture)
    erased = picture.convert("RGBA")
    pixels = np.array(erased)
    pixels[expected == 0] = (255, 255, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "map.png")
    found = from_file(tmp_path / "map.png", "labels", 128).argmax(dim=1)[0]
    assert np.array_equal(found.numpy(), expected)
