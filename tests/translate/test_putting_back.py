"""Answers back in their photographs; a small one is enlarged first."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wplus.errors import FaceError
from wplus.faces import CropGeometry, geometry
from wplus.translate.putting_back import put_back


def photograph(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def placed(width: int, height: int) -> CropGeometry:
    quad = geometry.square((width * 0.5, height * 0.5), np.array([20.0, 6.0]))
    return CropGeometry(quad, (width, height), 256)


def test_only_the_face_changes() -> None:
    photo = photograph(120, 100)
    done = put_back(photo, Image.new("RGB", (512, 512), "white"), placed(120, 100))
    changed = (np.asarray(done) != np.asarray(photo)).any(axis=2)
    assert done.size == photo.size
    assert changed[50, 60]
    assert not changed[:20].any()
    assert not changed[:, :30].any()


def test_a_small_photograph_is_enlarged_by_the_factor() -> None:
    photo = photograph(120, 100)
    done = put_back(photo, Image.new("RGB", (512, 512), "white"), placed(120, 100), 4)
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
        put_back(photo, Image.new("RGB", (512, 512)), placed(600, 100), 32)
