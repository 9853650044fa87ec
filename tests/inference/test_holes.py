"""What is missing of a photograph: masks, boxes, paint and transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.inference.options import Options
from wplus.inference.readers import Request, read_hole, read_samples
from wplus.sources import SOURCES
from wplus.sources.kind import SourceOptions


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(60, 196, (10, 12, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(noise).resize((96, 80), Image.Resampling.BICUBIC).save(path)
    return path


def hole(path: Path, **settings: object) -> np.ndarray:
    options = Options(align=False, **settings)  # type: ignore[arg-type]
    request = Request(str(path), SOURCES["masked"], options, SourceOptions())
    try:
        picture, found = read_hole(request)
    except ImageError:
        read_samples(request)  # names the file
        raise
    assert found.shape == (picture.height, picture.width)
    return found


def test_a_box(photo: Path) -> None:
    found = hole(photo, box=(10, 20, 30, 5))
    assert found.shape == (80, 96)
    assert found.sum() == 150
    assert found[20:25, 10:40].all()
    with pytest.raises(ImageError, match=r"photo\.png.*96x80"):
        hole(photo, box=(90, 0, 10, 10))
    for box in ((-1, 0, 5, 5), (0, 0, 0, 5)):
        with pytest.raises(ConfigError, match="--box"):
            Options(box=box)


def test_a_mask_file_is_white_where_something_is_missing(photo: Path, tmp_path: Path) -> None:
    expected = np.zeros((80, 96), bool)
    expected[5:9, 60:70] = True
    Image.fromarray(expected).save(tmp_path / "mask.png")
    assert np.array_equal(hole(photo, mask=tmp_path / "mask.png"), expected)
    folder = tmp_path / "masks"
    folder.mkdir()
    with pytest.raises(ImageError, match="no mask named photo"):
        hole(photo, mask=folder)
    Image.fromarray(expected).save(folder / "photo.png")
    Image.fromarray(~expected).save(folder / "photo2.png")
    assert np.array_equal(hole(photo, mask=folder), expected)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.eye(64, 96, dtype=np.uint8) * 255, r"96x64 does not fit.*96x80"),
        (np.zeros((80, 96), np.uint8), "removes nothing"),
        (np.full((80, 96), 255, np.uint8), "removes everything"),
    ],
)
def test_masks_that_do_not_fit(photo: Path, tmp_path: Path, mask: np.ndarray, said: str) -> None:
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(ImageError, match=said) as caught:
        hole(photo, mask=tmp_path / "mask.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_painted_region(photo: Path, tmp_path: Path, suffix: str) -> None:
    picture = images.read(photo)
    ImageDraw.Draw(picture).ellipse((30, 30, 60, 60), fill=(255, 0, 255))
    file = tmp_path / f"painted{suffix}"
    picture.save(file)
    found = hole(file)
    rows, columns = np.indices((80, 96))
    away = np.hypot(rows - 45, columns - 45)
    assert found[away < 15].all()
    assert not found[away > 21].any()


def test_an_erased_region(photo: Path, tmp_path: Path) -> None:
    alpha = np.full((80, 96), 255, np.uint8)
    alpha[40:50, 10:20] = 0
    picture = images.read(photo)
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "erased.png")
    found = hole(tmp_path / "erased.png")
    assert found[alpha == 0].all()
    assert found.sum() < 250  # grown by a soft brush's edge, no more
    with pytest.raises(ImageError, match="nothing is removed"):
        hole(photo)


def test_one_way_to_say_it() -> None:
    with pytest.raises(ConfigError, match="use one of them"):
        Options(mask=Path("mask.png"), box=(0, 0, 1, 1))
