"""Drawings in the middle of larger sheets, faint ones, and those that need nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wplus import faces
from wplus.errors import FaceError, WeightsError
from wplus.faces import CropGeometry
from wplus.image_files import read_stored
from wplus.sources import drawing
from wplus.sources.drawing import clean_drawing


def lines(side: int = 200) -> Image.Image:
    page = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(page)
    draw.ellipse((5, 5, side - 6, side - 6), outline=0, width=4)
    for x in (0.3, 0.6):
        draw.ellipse((x * side, 0.4 * side, (x + 0.1) * side, 0.46 * side), outline=0, width=3)
    draw.line((0.35 * side, 0.7 * side, 0.65 * side, 0.7 * side), fill=0, width=4)
    return page


def on_sheet(size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    sheet = Image.new("L", size, 255)
    sheet.paste(lines(), at)
    return sheet


@pytest.fixture(params=[FaceError("none"), WeightsError("offline")])
def no_face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def align(*_: object) -> None:
        raise request.param

    monkeypatch.setattr(faces, "align", align)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def align(*_: object) -> None:
        raise AssertionError("no face is looked for")

    monkeypatch.setattr(faces, "align", align)


def test_a_drawing_that_fills_its_page_stays_exactly(forbidden: None, tmp_path: Path) -> None:
    lines().save(tmp_path / "drawing.png")
    assert clean_drawing(read_stored(tmp_path / "drawing.png")).tobytes() == lines().tobytes()


@pytest.mark.usefixtures("no_face")
@pytest.mark.parametrize(
    ("size", "at"), [((700, 990), (100, 60)), ((990, 700), (700, 480)), ((600, 600), (0, 0))]
)
def test_without_a_face_the_lines_are_the_frame(size: tuple[int, int], at: tuple[int, int]) -> None:
    sheet = on_sheet(size, at)
    box = drawing.ink_box(sheet)
    expected = (at[0] + 5, at[1] + 5, at[0] + 195, at[1] + 195)
    assert np.allclose(box, expected, atol=size[0] / 100)
    found = np.asarray(drawing.framed(sheet).resize((200, 200)), np.float64)
    assert found.shape == (200, 200)
    # The circle has its place: 190 of 199.5 pixels, in the middle.
    rows, columns = np.nonzero(found < 128)
    for places in (rows, columns):
        assert abs(places.min() - 5) < 5
        assert abs(places.max() - 194) < 5
    assert np.percentile(found, 50) == 255


def test_where_a_face_is_found_its_square_is_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = on_sheet((700, 990), (100, 60))
    seen: list[tuple[int, int]] = []

    def align(picture: Image.Image, *_: object) -> list[object]:
        seen.append(picture.size)
        left, top, right, bottom = 79.5, 39.5, 335.5, 295.5
        quad = ((left, top), (left, bottom), (right, bottom), (right, top))
        return [type("Face", (), {"geometry": CropGeometry(quad, picture.size, 256)})()]

    monkeypatch.setattr(faces, "align", align)
    found = drawing.framed(sheet)
    assert seen == [(700, 990)]
    expected = sheet.crop((80, 40, 336, 296))
    assert np.abs(np.asarray(found, np.int16) - np.asarray(expected)).max() <= 1
    # One that leaves the page is white there.
    beyond = drawing.cut_out(sheet, np.array([(-300, 0), (-300, 600), (300, 600), (300, 0)], float))
    assert np.asarray(beyond)[:, :250].min() == 255


@pytest.mark.usefixtures("no_face")
def test_a_face_that_must_be_found() -> None:
    with pytest.raises((FaceError, WeightsError)):
        drawing.framed(lines(), align=True)


def test_the_whole_page_is_never_stretched(forbidden: None) -> None:
    found = drawing.framed(on_sheet((400, 200), (100, 0)), align=False)
    assert found.width == found.height
    left, top, right, bottom = drawing.ink_box(found)
    assert (right - left) == pytest.approx(bottom - top, abs=4)
    assert (left + right) / 2 == pytest.approx(found.width / 2, abs=4)


def test_faint_pencil_becomes_dark(forbidden: None, tmp_path: Path) -> None:
    Image.eval(lines(), lambda value: 255 - (255 - value) // 5).save(tmp_path / "faint.png")
    page = np.asarray(clean_drawing(read_stored(tmp_path / "faint.png")))
    ink = np.asarray(lines()) == 0
    assert page[ink].max() < 80
    assert page[~ink].min() == 255
    gray = Image.eval(lines(), lambda value: max(value, 110))  # as the darkest pencils are
    gray.save(tmp_path / "gray.png")
    assert clean_drawing(read_stored(tmp_path / "gray.png")).tobytes() == gray.tobytes()
