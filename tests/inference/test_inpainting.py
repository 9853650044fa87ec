"""Holes are filled without a seam, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from wplus import faces
from wplus.errors import ImageError
from wplus.inference import inpainting
from wplus.inference.crops import cut


def photograph(width: int = 160, height: int = 120) -> Image.Image:
    rows, columns = np.indices((height, width))
    waves = [128 + 90 * np.sin(rows / 17 + k) * np.cos(columns / 23 - k) for k in range(3)]
    return Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))


def test_a_fill_of_other_colors_leaves_no_seam_and_touches_nothing_else() -> None:
    picture = photograph()
    geometry = faces.middle_square(picture.size)
    hole = np.zeros((120, 160), bool)
    hole[40:80, 60:100] = True
    made = cut(picture, geometry, 240)
    darker = Image.fromarray((np.asarray(made) * 0.6 + 20).astype(np.uint8))
    filled = np.asarray(inpainting.fill(picture, hole, geometry, darker)).astype(int)
    original = np.asarray(picture).astype(int)
    assert np.array_equal(filled[~hole], original[~hole])
    naive = np.asarray(inpainting.placed(darker, geometry, (0, 0, 160, 120))).astype(int)
    inside, across = (slice(41, 79), 60), (slice(41, 79), 59)
    seam = np.abs(filled[inside] - filled[across]).mean()
    assert seam < 1.5 * np.abs(original[inside] - original[across]).mean() + 1
    assert np.abs(naive[inside] - original[across]).mean() > 5 * seam
    # The same picture, laid back, is the picture.
    again = np.asarray(inpainting.fill(picture, hole, geometry, made)).astype(int)
    assert np.abs(again - original).max() <= 6


def test_a_turned_crop_comes_back_to_its_place() -> None:
    picture = photograph(300, 260)
    quad = faces.geometry.square((150.0, 130.0), np.array([70.0, 25.0]))
    geometry = faces.CropGeometry(quad, picture.size, 256)
    hole = np.zeros((260, 300), bool)
    hole[110:150, 130:170] = True
    made = faces.crop(picture, faces.CropGeometry(quad, picture.size, 512))
    laid = np.asarray(inpainting.placed(made, geometry, (130, 110, 170, 150))).astype(int)
    original = np.asarray(picture)[110:150, 130:170].astype(int)
    assert np.abs(laid - original).mean() < 1.5
    shifted = np.asarray(picture)[110:150, 132:172].astype(int)
    assert np.abs(laid - shifted).mean() > 3  # the check would see two pixels


def test_a_hole_at_the_edge_of_the_picture() -> None:
    picture = photograph()
    hole = np.zeros((120, 160), bool)
    hole[:30, 20:60] = True
    whole = np.asarray(inpainting.fill_smoothly(picture, hole)).astype(int)
    original = np.asarray(picture).astype(int)
    assert np.array_equal(whole[~hole], original[~hole])
    assert np.abs(np.diff(whole[:30, 20:60], axis=0)).max() < 40


def test_what_lies_in_the_hole_is_not_looked_at() -> None:
    picture, hole = photograph(), np.zeros((120, 160), bool)
    hole[40:80, 60:100] = True
    painted = np.array(picture)
    painted[hole] = (255, 0, 255)
    other = Image.fromarray(painted)
    geometry = faces.middle_square(picture.size)
    made = cut(photograph(120, 120), faces.middle_square(photograph(120, 120).size), 256)
    for one, two in (
        (inpainting.fill_smoothly(picture, hole), inpainting.fill_smoothly(other, hole)),
        (
            inpainting.fill(picture, hole, geometry, made),
            inpainting.fill(other, hole, geometry, made),
        ),
    ):
        assert np.array_equal(np.asarray(one), np.asarray(two))
    with pytest.raises(ImageError, match="everything is missing"):
        inpainting.fill_smoothly(picture, ~np.zeros((120, 160), bool))


def test_a_slope_is_continued() -> None:
    slope = np.broadcast_to(np.linspace(20, 220, 160)[None, :, None], (120, 160, 3))
    picture = Image.fromarray(slope.astype(np.uint8))
    hole = np.zeros((120, 160), bool)
    hole[30:90, 40:120] = True
    whole = np.asarray(inpainting.fill_smoothly(picture, hole)).astype(int)
    assert np.abs(whole - np.asarray(picture).astype(int)).max() < 12


def test_stripes_hide_what_was_there() -> None:
    picture = photograph()
    hole = np.zeros((120, 160), bool)
    hole[10:30, 20:60] = True
    shown = np.asarray(inpainting.hatched(picture, hole))
    assert set(np.unique(shown[hole])) == {130, 170}
    assert np.array_equal(shown[~hole], np.asarray(picture)[~hole])
