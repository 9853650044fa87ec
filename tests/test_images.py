"""The ways between pictures and tensors, writing, sizes and sheets. (Reading has its own file.)"""

import numpy as np
import pytest
import torch
from PIL import Image

from wplus import images
from wplus.errors import ImageError


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture without symmetry: every flip, turn and channel swap changes it."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / width, 255 * y / height
    blue = 255 * np.hypot(x - 20, y - 10) / np.hypot(width, height)
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8))


def distance(a: Image.Image, b: Image.Image) -> float:
    assert a.mode == b.mode == "RGB"
    assert a.size == b.size
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    tensor = images.to_tensor(Image.fromarray(levels))
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.min() == -1
    assert tensor.max() == 1
    assert tensor.is_contiguous()
    assert (np.asarray(images.to_picture(tensor)) == levels).all()
    assert (np.asarray(images.to_picture(tensor.to(torch.float64)[0])) == levels).all()


def test_channels_and_rows_stay_in_place():
    picture = scene(20, 16)
    tensor = images.to_tensor(picture)
    for x, y in ((0, 0), (19, 3), (7, 15)):
        expected = torch.tensor(picture.getpixel((x, y))) / 127.5 - 1
        torch.testing.assert_close(tensor[0, :, y, x], expected)


def test_to_picture_rounds_and_clamps():
    values = torch.tensor([-2.0, -1.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 1.0, 7.0])
    picture = images.to_picture(values.expand(3, 1, 6).clone())
    assert [int(v) for v in np.asarray(picture)[0, :, 0]] == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(1, 8, 8),
        torch.zeros(8, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.full((3, 8, 8), float("nan")),
        torch.full((3, 8, 8), float("inf")),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ImageError):
        images.to_picture(bad)


def test_to_tensor_takes_other_modes_and_leaves_its_input_alone():
    picture = scene().convert("RGBA")
    picture.putalpha(0)
    tensor = images.to_tensor(picture)
    assert (tensor == 1).all()
    assert picture.mode == "RGBA"


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.JPG", 2), ("a.webp", 3)])
def test_save_and_read_back(tmp_path, name, tolerance):
    path = tmp_path / "new" / "folder" / name
    images.save(images.to_tensor(scene()), path)
    assert distance(images.read(path), scene()) <= tolerance
    images.save(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), path)  # replaces; JPEG has no alpha
    assert distance(images.read(path), Image.new("RGB", (20, 20), "white")) <= tolerance
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_save_leaves_nothing_behind_when_it_fails(tmp_path):
    for name in ("a.heic", "a", "a.txt"):
        with pytest.raises(ImageError, match=r"\.png"):
            images.save(scene(), tmp_path / name)
    with pytest.raises(ImageError, match="cannot be written"):
        images.save(Image.new("RGB", (70_000, 1)), tmp_path / "wide.jpg")
    with pytest.raises(ImageError):
        images.save(torch.zeros(3, 8, 8, dtype=torch.int64), tmp_path / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot be written"):
        images.save(scene(), tmp_path / "file" / "a.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_shrinking_averages_and_enlarging_interpolates():
    pixels = torch.randn(2, 3, 8, 12)
    smaller = images.resize(pixels, (4, 3))
    for i, j in ((0, 0), (1, 2), (3, 1)):
        block = pixels[:, :, 2 * i : 2 * i + 2, 4 * j : 4 * j + 4]
        torch.testing.assert_close(smaller[:, :, i, j], block.mean((2, 3)))
    larger = images.resize(pixels, (16, 24))
    weights = pixels[..., 0, 0] * 9 / 16 + (pixels[..., 0, 1] + pixels[..., 1, 0]) * 3 / 16
    torch.testing.assert_close(larger[..., 1, 1], weights + pixels[..., 1, 1] / 16)
    mixed = images.resize(pixels, (16, 3))  # taller, narrower
    torch.testing.assert_close(mixed, images.resize(images.resize(pixels, (8, 3)), (16, 3)))
    assert images.resize(pixels, (8, 12)) is pixels
    assert images.resize(pixels, 5).shape == (2, 3, 5, 5)
    with pytest.raises(ImageError):
        images.resize(pixels, 0)
    with pytest.raises(ImageError):
        images.resize(pixels[0], 4)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (512, 512), (700, 512), (64, 80)])
def test_the_middle_square_is_averaged_or_enlarged(shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = pixels[top : top + side, left : left + side]
    wanted = images.resize(images.to_tensor(Image.fromarray(middle)), 256)
    square = images.middle_square(Image.fromarray(pixels), 256)
    assert square.size == (256, 256)
    difference = images.to_tensor(square) - wanted
    assert float(difference.abs().max()) * 127.5 <= 0.51  # 8-bit rounding


def test_an_image_of_the_size_is_left_as_it_is():
    image = Image.new("RGB", (256, 256), (1, 2, 3))
    assert images.resample(image, 256) is image
    with pytest.raises(ImageError):
        images.resample(image, 0)


def test_side_by_side():
    left, right = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (20, 20), "blue")
    row = images.side_by_side([left, right], gap=5)
    assert row.size == (85, 40)
    assert row.getpixel((20, 20)) == (255, 0, 0)
    assert row.getpixel((42, 20)) == (255, 255, 255)
    assert row.getpixel((65, 20)) == (0, 0, 255)
    labeled = images.side_by_side([left, right], ["a", "b"], gap=5)
    assert labeled.width == 85
    assert (np.asarray(labeled)[:40] == np.asarray(row)).all()
    assert np.asarray(labeled)[40:, :40].min() < 128  # the label's ink
    assert np.asarray(labeled)[40:, 45:].min() < 128
    with pytest.raises(ImageError):
        images.side_by_side([])
    with pytest.raises(ImageError):
        images.side_by_side([left], ["a", "b"])


def test_grid():
    colors = ["red", "green", "blue", "black", "gray"]
    sheet = images.grid([Image.new("RGB", (16, 16), color) for color in colors], gap=2)
    assert sheet.size == (3 * 18 - 2, 2 * 18 - 2)
    for index, color in enumerate(colors):
        row, column = divmod(index, 3)
        center = (column * 18 + 8, row * 18 + 8)
        assert sheet.getpixel(center) == Image.new("RGB", (1, 1), color).getpixel((0, 0))
    assert sheet.getpixel((50, 30)) == (255, 255, 255)
    wide = images.grid([Image.new("RGB", (16, 16)), Image.new("RGB", (64, 32), "red")], columns=1)
    assert wide.size == (16, 36)
    assert wide.getpixel((8, 28)) == (255, 0, 0)
    assert wide.getpixel((8, 21)) == (255, 255, 255)  # the wide one keeps its proportions
    assert images.grid([Image.new("RGB", (16, 16))], columns=9).size == (16, 16)
    for pictures, columns in (([], None), ([scene()], 0)):
        with pytest.raises(ImageError):
            images.grid(pictures, columns)
