"""Outputs laid back into their photographs; a small one is enlarged first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from wplus.errors import FaceError
from wplus.faces import CropGeometry, geometry
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser
from wplus.faces.paste import paste
from wplus.inference import pasting
from wplus.inference.pasting import paste_back

SKIN = LABELS.index("skin")


class Painted(nn.Module):
    """Takes pure red for skin."""

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(len(x), len(LABELS), *x.shape[2:])
        scores[:, SKIN] = x[:, 0] - x[:, 1:].amax(1) - 1.5
        return scores


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Instead of the published parser; how often it was loaded."""
    times: list[int] = []

    def load() -> FaceParser:
        times.append(1)
        return FaceParser(Painted(), 64)

    monkeypatch.setattr(pasting, "load_parser", load)
    pasting._parser.cache_clear()
    yield times
    pasting._parser.cache_clear()


def photograph(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def placed(width: int, height: int) -> CropGeometry:
    quad = geometry.square((width * 0.5, height * 0.5), np.array([20.0, 6.0]))
    return CropGeometry(quad, (width, height), 256)


def test_the_face_that_the_parser_sees_is_what_changes(loaded: list[int]) -> None:
    """In the photograph or in the output; and the parser is loaded once for many."""
    place = CropGeometry(((-0.5, -0.5), (-0.5, 255.5), (255.5, 255.5), (255.5, -0.5)), (256, 256))
    photo, made = Image.new("RGB", (256, 256), "blue"), Image.new("RGB", (512, 512), "lime")
    expected = np.zeros((256, 256), bool)
    photo.paste("red", (60, 90, 130, 160))
    expected[90:160, 60:130] = True
    made.paste((230, 0, 0), (2 * 100, 2 * 110, 2 * 190, 2 * 200))  # the output's face is elsewhere
    expected[110:200, 100:190] = True
    for _ in range(3):
        done = paste_back(photo, made, place)
    changed = (np.asarray(done) != np.asarray(photo)).any(axis=2)
    # The parser looks at 64 pixels here, so borders are uncertain by four.
    assert not changed[:84].any() and not changed[:, :54].any()
    assert not changed[206:].any() and not changed[:, 196:].any()
    inner = np.zeros_like(expected)
    inner[108:142, 78:112] = inner[128:182, 118:172] = True
    assert changed[inner].all()
    assert len(loaded) == 1


def test_an_ellipse_where_the_parser_sees_no_face() -> None:
    photo = photograph(120, 100).convert("L").convert("RGB")  # nothing red in it
    made = Image.new("RGB", (512, 512), "white")
    done = paste_back(photo, made, placed(120, 100))
    assert done.tobytes() == paste(photo, made, placed(120, 100)).tobytes()
    changed = (np.asarray(done) != np.asarray(photo)).any(axis=2)
    assert done.size == photo.size
    assert changed[50, 60]
    assert not changed[:20].any()
    assert not changed[:, :30].any()


def test_a_small_photograph_is_enlarged_by_the_factor(loaded: list[int]) -> None:
    photo = photograph(120, 100)
    done = paste_back(photo, Image.new("RGB", (512, 512), "white"), placed(120, 100), 4)
    assert not loaded  # nothing is parsed where all of the square is replaced
    larger = photo.resize((480, 400), Image.Resampling.BICUBIC)
    changed = np.abs(np.asarray(done).astype(int) - np.asarray(larger)).max(axis=2) > 0
    assert done.size == (480, 400)
    # The whole square, four times as large and where it was.
    corners = (np.array(placed(120, 100).quad) + 0.5) * 4
    rows, columns = np.nonzero(changed)
    for found, expected in ((columns, corners[:, 0]), (rows, corners[:, 1])):
        assert found.mean() + 0.5 == pytest.approx(expected.mean(), abs=1)
        assert found.min() == pytest.approx(expected.min(), abs=8)
        assert found.max() == pytest.approx(expected.max(), abs=8)


def test_no_photograph_of_a_thousand_megapixels() -> None:
    photo = photograph(600, 100)
    with pytest.raises(FaceError, match="19200x3200"):
        paste_back(photo, Image.new("RGB", (512, 512)), placed(600, 100), 32)
