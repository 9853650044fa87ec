"""The pixels of the crop: against the published implementation's, and against a slow reading."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wplus.errors import FaceError
from wplus.faces import crop, from_landmarks, from_points, geometry, middle_square
from wplus.faces.geometry import CropGeometry

REFERENCE = Path(__file__).parent.parent / "reference" / "crops.npz"


def mosaic(seed: int, height: int, width: int) -> Image.Image:
    cells = (math.ceil(height / 16), math.ceil(width / 16), 3)
    colors = np.random.default_rng(seed).integers(0, 256, cells, dtype=np.uint8)
    return Image.fromarray(colors.repeat(16, 0).repeat(16, 1)[:height, :width])


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    assert one.size == other.size
    return np.abs(np.asarray(one, float) - np.asarray(other, float))


def tilted(center, side: float, angle: float, size, output_size: int = 256) -> CropGeometry:
    axis = np.array([math.cos(angle), math.sin(angle)]) * side / 2
    return CropGeometry(geometry.square(center, axis), size, output_size)


def slow_crop(picture: Image.Image, square: CropGeometry, transform_size: int) -> Image.Image:
    """Every step on the whole picture, one after the other."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="comes with scikit-image (dev extra)")
    out, quad, side = square.output_size, np.array(square.quad), square.side
    times = int(side / out / 2)
    if times >= 2:
        size = [round(length / times) for length in picture.size]
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        quad, side = quad / times, side / times
    border = max(3, round(side / 10))
    low, high = np.floor(quad.min(0)) - border, np.ceil(quad.max(0)) + border
    start, stop = np.maximum(low, 0).astype(int), np.minimum(high, picture.size).astype(int)
    pixels = np.asarray(picture, np.float32)[start[1] : stop[1], start[0] : stop[0]]
    missing = np.concatenate([start - low, high - stop]).astype(int)  # left, top, right, bottom
    quad = quad - start
    if missing.max() > border - 4:
        left, top, right, bottom = (max(m, round(0.3 * side)) for m in missing)
        pixels = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect")
        height, width = pixels.shape[:2]
        mask = np.empty((height, width, 1))
        for y in range(height):
            for x in (0, width - 1):  # the nearest distance in shares of each margin
                mask[y, x] = 0
            rows = min(y / top, (height - 1 - y) / bottom)
            columns = np.minimum(np.arange(width) / left, np.arange(width)[::-1] / right)
            mask[y, :, 0] = 1 - np.minimum(rows, columns)
        soft = ndimage.gaussian_filter(pixels, (0.02 * side, 0.02 * side, 0))
        pixels = pixels + (soft - pixels) * np.clip(1 + 3 * mask, 0, 1)
        pixels = pixels + (np.median(pixels, (0, 1)) - pixels) * np.clip(mask, 0, 1)
        quad = quad + np.array([left, top])
    part = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    result = part.transform(
        (transform_size, transform_size),
        Image.Transform.QUAD,
        list((quad + 0.5).ravel()),
        Image.Resampling.BILINEAR,
    )
    if transform_size > out:
        result = result.resize((out, out), Image.Resampling.LANCZOS)
    return result


@pytest.mark.parametrize("case", ["inside", "padded"])
def test_equals_the_published_implementation(case):
    with np.load(REFERENCE) as cases:
        seed, height, width = (int(value) for value in cases[f"crop.{case}.rule"])
        landmarks, expected = cases[f"crop.{case}.landmarks"], cases[f"crop.{case}.output"]
    picture = mosaic(seed, height, width)
    result = crop(picture, from_landmarks(landmarks, picture.size))
    assert result.size == (256, 256)
    assert (
        difference(Image.fromarray(np.asarray(result)[::4, ::4]), Image.fromarray(expected)).mean()
        < 1
    )


SQUARES = {  # picture width and height, center, side, angle, output and transform size
    "inside": (500, 400, (250, 200), 200, 0.2, 64, 64),
    "enlarged": (500, 400, (250, 200), 40, 0.2, 64, 64),
    "left": (500, 400, (10, 200), 150, 0.0, 64, 64),
    "corner": (500, 400, (490, 395), 150, 0.4, 64, 64),
    "all around": (120, 90, (60, 45), 200, 0.1, 64, 64),
    "on its head": (500, 400, (250, 200), 300, 3.0, 64, 64),
    "lying": (500, 400, (250, 200), 350, 1.57, 64, 64),
    "shrunk": (1201, 907, (600, 450), 700, 0.3, 64, 64),
    "shrunk and padded": (1201, 907, (100, 800), 700, -0.3, 64, 64),
    "not quite shrunk": (700, 600, (350, 300), 255, 0.3, 64, 64),
    "FFHQ's": (1201, 907, (600, 450), 700, 0.3, 64, 256),
    "sliver": (20, 400, (10, 200), 150, 0.3, 64, 64),
}


@pytest.mark.parametrize("name", SQUARES)
def test_equals_the_slow_reading(name):
    width, height, center, side, angle, output, transform = SQUARES[name]
    picture = mosaic(3, height, width)
    square = tilted(center, side, angle, picture.size, output)
    away = difference(
        crop(picture, square, transform_size=transform), slow_crop(picture, square, transform)
    )
    assert away.mean() < 0.05
    assert away.max() <= 3


def test_the_whole_of_a_picture_is_the_picture():
    picture = mosaic(1, 96, 96)
    assert difference(crop(picture, middle_square((96, 96), 96), padding=False), picture).max() == 0


def test_coordinates_of_crop_and_picture_agree():
    y, x = np.mgrid[:300, :400]
    smooth = np.stack([x / 2, y / 2, (x + y) / 4], axis=2)
    picture = Image.fromarray(smooth.round().astype(np.uint8))
    square = tilted((200, 150), 120, 0.6, picture.size, 120)
    result = np.asarray(crop(picture, square), float)
    for point in ((0, 0), (60, 60), (119, 5), (20, 110)):
        px, py = square.to_picture(point)
        there = [px / 2, py / 2, (px + py) / 4]
        np.testing.assert_allclose(result[point[1], point[0]], there, atol=1.5)


def test_turned_picture_same_crop():
    """The picture turned by a quarter with its points gives the same crop."""
    picture = mosaic(5, 400, 500)
    points = np.array([[220.0, 180], [280, 190], [250, 215], [225, 240], [270, 245]])
    plain = crop(picture, from_points(points, picture.size, 128))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    there = np.stack([points[:, 1], picture.width - 1 - points[:, 0]], axis=1)
    assert difference(crop(turned, from_points(there, turned.size, 128)), plain).max() <= 1


def test_without_padding_the_outside_is_gray():
    picture = Image.new("RGB", (200, 200), "red")
    result = np.asarray(crop(picture, tilted((0, 100), 100, 0, picture.size, 64), padding=False))
    assert (result[:, :30] == 127).all()
    assert (result[:, 34:] == (255, 0, 0)).all()


def test_modes_other_than_rgb():
    picture = mosaic(2, 200, 200)
    square = tilted((100, 100), 100, 0.1, picture.size, 64)
    transparent = picture.convert("RGBA")
    assert difference(crop(transparent, square), crop(picture, square)).max() == 0
    assert crop(picture.convert("L"), square).mode == "RGB"


def test_what_cannot_be_cropped():
    picture = mosaic(2, 200, 200)
    with pytest.raises(FaceError, match="outside"):
        crop(picture, tilted((900, 100), 100, 0.1, picture.size))
    with pytest.raises(FaceError, match="belongs to"):
        crop(picture, tilted((100, 100), 100, 0.1, (201, 200)))
    with pytest.raises(FaceError, match="transform"):
        crop(picture, tilted((100, 100), 100, 0.1, picture.size), transform_size=128)


def test_huge_squares_stay_small_in_memory():
    """The work follows the output, not the square: a square of a billion pixels is shrunk first."""
    result = crop(mosaic(2, 200, 200), tilted((100, 100), 30_000, 0.1, (200, 200), 64))
    assert result.size == (64, 64)
