"""Results back in their photographs: in the right place, under the mask only, without a seam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wplus import faces
from wplus.errors import FaceError
from wplus.faces import CropGeometry
from wplus.faces.geometry import square
from wplus.faces.paste import ellipse, membrane, paste, softened

Array = np.ndarray[Any, Any]


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 215, (6, 7, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def turned(
    center: tuple[float, float], half: float, degrees: float, size: tuple[int, int]
) -> CropGeometry:
    angle = math.radians(degrees)
    axis = (half * math.cos(angle), half * math.sin(angle))
    return CropGeometry(square(center, axis), size, 64)


GEOMETRIES = {
    "inside": turned((100, 80), 40, 17, (200, 160)),
    "beyond two edges": turned((20, 140), 45, -30, (200, 160)),
    "upside down": turned((120, 80), 50, 170, (200, 160)),
    "whole": faces.middle_square((160, 160), 64),
    "around all": turned((100, 80), 300, 5, (200, 160)),
}


def inside_of(geometry: CropGeometry, mask: Array) -> Array:
    """The photograph's pixels whose center lies under a mask (S, S)."""
    width, height = geometry.picture_size
    touched = np.zeros((height, width), bool)
    y, x = np.indices((height, width))
    places = geometry.from_picture(np.stack([x, y], axis=-1))
    for nudge in (-1e-6, 1e-6):  # on an edge it may be either
        spots = np.floor((places + 0.5 + nudge) * len(mask) / geometry.output_size).astype(int)
        good = ((spots >= 0) & (spots < len(mask))).all(axis=-1)
        column, row = np.moveaxis(np.clip(spots, 0, len(mask) - 1), -1, 0)
        touched |= good & mask[row, column]
    return touched


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("feather", [0.0, 0.06])
def test_only_pixels_under_the_mask_change(name: str, light: bool, feather: float) -> None:
    geometry = GEOMETRIES[name]
    photo = smooth(*geometry.picture_size)
    result = Image.new("RGB", (96, 96), (255, 0, 255))
    mask = np.zeros((32, 32), bool)
    mask[6:25, 4:20] = True
    mask[10:14, 8:12] = False  # and a hole in it
    done = paste(photo, result, geometry, mask=mask, feather=feather, match_light=light)
    assert (done.mode, done.size) == ("RGB", photo.size)
    changed = (np.asarray(done) != np.asarray(photo)).any(axis=2)
    allowed = inside_of(geometry, mask)
    assert not changed[~allowed].any()
    assert changed.sum() > 0.3 * allowed.sum()


@pytest.mark.parametrize("name", ["inside", "beyond two edges", "upside down", "whole"])
@pytest.mark.parametrize("side", [64, 256])
def test_the_crop_laid_back_is_the_photograph(name: str, side: int) -> None:
    geometry = GEOMETRIES[name]
    photo = smooth(*geometry.picture_size)
    crop = faces.crop(photo, CropGeometry(geometry.quad, geometry.picture_size, side))
    done = paste(photo, crop, geometry, mask=np.ones((64, 64), bool), match_light=False)
    difference = np.abs(np.asarray(done, float) - np.asarray(photo, float))
    changed = difference.any(axis=2)
    assert changed.mean() > 0.1  # it was laid there
    assert difference.mean() < 1.2 and difference.max() < 14
    other = Image.fromarray(255 - np.asarray(crop))
    inverse = paste(photo, other, geometry, mask=np.ones((64, 64), bool), match_light=False)
    assert np.abs(np.asarray(inverse, float) - np.asarray(photo, float)).mean() > 5


def test_a_point_comes_back_to_its_place() -> None:
    geometry = GEOMETRIES["inside"]
    photo = Image.new("RGB", geometry.picture_size, "black")
    result = Image.new("RGB", (64, 64), "black")
    result.paste("white", (40, 20, 43, 23))
    done = paste(photo, result, geometry, mask=np.ones((64, 64), bool), match_light=False)
    weight = np.asarray(done.convert("L"), float)
    y, x = np.indices(weight.shape)
    found = ((x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum())
    np.testing.assert_allclose(found, geometry.to_picture((41, 21)), atol=0.15)


def test_masks_fade_inwards_only() -> None:
    mask = np.zeros((200, 200), bool)
    mask[50:150, 60:140] = True
    mask[80:90, 80:90] = False
    soft = np.asarray(softened(mask, 0.05)).astype(float)
    assert not soft[~mask].any()
    assert soft[120, 100] == 255 and soft[120, 60] < 30
    assert (np.diff(soft[120, 60:80]) >= 0).all()
    assert np.array_equal(np.asarray(softened(mask, 0)) > 0, mask)
    full = np.asarray(softened(np.ones((100, 100), bool), 0.1))
    assert full[0].max() < 30 and full[50, 0] < 30 and full[50, 50] == 255
    same = [mask, mask.astype(np.uint8) * 255, mask.astype(float), Image.fromarray(mask)]
    assert len({softened(each).tobytes() for each in same}) == 1


def test_light_is_matched_and_detail_kept() -> None:
    photo = smooth(200, 200)
    geometry = faces.middle_square((200, 200), 100)
    rng = np.random.default_rng(1)
    grain = rng.normal(0, 8, (200, 200, 1))
    tint = np.linspace(-25, 15, 200)[None, :, None] * (1.0, 0.5, -0.5)  # other light, side to side
    pixels = np.asarray(photo, float) + grain + tint
    result = Image.fromarray(np.uint8(np.clip(np.rint(pixels), 0, 255)))
    mask = ellipse(100)
    inner = np.asarray(softened(mask).resize((200, 200), Image.Resampling.NEAREST)) == 255
    plain, matched = (
        np.asarray(paste(photo, result, geometry, mask=mask, match_light=on), float)
        for on in (False, True)
    )
    truth = np.asarray(photo, float) + grain
    before, after = (np.abs((made - truth)[inner]).mean() for made in (plain, matched))
    assert after < 0.3 * before and after < 2.5
    detail = (matched - np.asarray(photo, float))[inner]
    assert (
        np.corrcoef(detail[:, 1], np.broadcast_to(grain, (*photo.size, 3))[inner][:, 1])[0, 1]
        > 0.97
    )


def test_another_content_at_the_border_is_no_light() -> None:
    """Dark hair beside a bright wall must not darken the face."""
    photo = Image.new("RGB", (200, 200), (200, 200, 200))
    result = Image.new("RGB", (200, 200), (190, 190, 190))
    result.paste((20, 20, 20), (0, 0, 200, 90))
    done = paste(photo, result, faces.middle_square((200, 200)), mask=np.ones((50, 50), bool))
    face = np.asarray(done, float)[120:180, 60:140]
    assert np.abs(face - 200).mean() < 4  # what differs by light is matched
    assert np.asarray(done)[20:60, 60:140].max() < 60  # and what does not stays
    dark = paste(photo, Image.new("RGB", (9, 9), (5, 5, 5)), faces.middle_square((200, 200)))
    assert np.asarray(dark)[120, 100].max() == 5


def test_membrane_solves_laplace() -> None:
    rng = np.random.default_rng(0)
    known = np.zeros((17, 23), bool)
    known[[0, -1]] = known[:, [0, -1]] = True
    known[5, 7] = True
    y, x = np.indices(known.shape)
    values = np.where(
        known[..., None], np.stack([x, y**2 / 10, rng.random(known.shape) * 9], -1), 777.0
    )
    found = membrane(values.astype(np.float32), known)
    assert np.array_equal(found[known], values[known].astype(np.float32))
    count = known.size
    matrix, right = np.eye(count), values.reshape(count, 3).copy()
    for spot, (row, column) in enumerate(np.ndindex(known.shape)):
        if not known[row, column]:
            for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                matrix[spot, (row + a) * known.shape[1] + column + b] = -0.25
            right[spot] = 0
    exact = np.linalg.solve(matrix, right).reshape(values.shape)
    error = np.abs(found - exact).max(axis=(0, 1))
    assert (error < 0.06 * np.ptp(exact, axis=(0, 1))).all()
    few = np.zeros((9, 9), bool)
    few[2, 3] = True
    np.testing.assert_allclose(membrane(np.full((9, 9, 1), 4.0), few), 4)


def test_other_modes_and_what_is_refused() -> None:
    geometry = GEOMETRIES["inside"]
    photo, result = smooth(200, 160), smooth(64, 64, 1)
    gray = paste(photo.convert("L"), result, geometry)
    assert gray.mode == "RGB" and np.asarray(gray)[0, 0, 0] == np.asarray(photo.convert("L"))[0, 0]
    before = photo.tobytes()
    assert paste(photo, result.convert("RGBA"), geometry).tobytes() != before == photo.tobytes()
    refused = {
        "belongs to a photograph of 200x160, not of 100x80": (
            (photo.resize((100, 80)), result),
            {},
        ),
        "a result is square as its crop is, not 64x32": ((photo, result.resize((64, 32))), {}),
        "the mask is empty": ((photo, result), {"mask": np.zeros((8, 8))}),
        "a mask is square as its crop is, not 9x8": ((photo, result), {"mask": np.ones((8, 9))}),
        "0 to 0.5, not 0.7": ((photo, result), {"feather": 0.7}),
        r"one plane \(S, S\)": ((photo, result), {"mask": np.ones((8, 8, 3))}),
    }
    for reason, (pictures, options) in refused.items():
        with pytest.raises(FaceError, match=reason):
            paste(*pictures, geometry, **options)
    with pytest.raises(FaceError, match="outside"):
        paste(photo, result, turned((500, 500), 30, 0, (200, 160)))
