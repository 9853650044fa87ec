"""Label maps in CelebAMask-HQ's colors, and colors that are none of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wplus.errors import ImageError
from wplus.faces.labels import LABELS
from wplus.sources.kind import from_file, from_image
from wplus.sources.label_colors import PALETTE
from wplus.sources.labels import class_numbers, colored, one_hot_labels


def label_map(side: int = 40) -> np.ndarray:
    blocks = np.random.default_rng(0).integers(0, 19, (side // 5, side // 5), dtype=np.uint8)
    blocks.ravel()[:19] = np.arange(19)
    return blocks.repeat(5, 0).repeat(5, 1)


def painted(numbers: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(PALETTE, np.uint8)[numbers])


def one_hot(numbers: np.ndarray, size: int = 40) -> torch.Tensor:
    return one_hot_labels(torch.from_numpy(numbers)[None], size=size)


def test_the_palette() -> None:
    assert len(set(PALETTE)) == len(LABELS) == 19
    known = {"skin": (204, 0, 0), "hair": (0, 0, 204), "neck": (255, 153, 51), "cloth": (0, 204, 0)}
    for name, color in known.items():  # as the data set's own g_color.py paints them
        assert PALETTE[LABELS.index(name)] == color


def test_colors_are_read_as_their_numbers(tmp_path: Path) -> None:
    numbers = label_map()
    rgb = painted(numbers)
    files = {"rgb.png": rgb, "rgba.png": rgb.convert("RGBA"), "rgb.bmp": rgb}
    # A palette of one's own, sorted by how often a color comes.
    files["adaptive.png"] = rgb.quantize(19, method=Image.Quantize.MEDIANCUT)
    files["colored.png"] = colored(torch.from_numpy(numbers).long())
    for name, picture in files.items():
        picture.save(tmp_path / name)
        found = from_file(tmp_path / name, "labels", 40)
        assert torch.equal(found, one_hot(numbers)), name
    assert not np.array_equal(np.asarray(files["adaptive.png"]), numbers)
    small = from_file(tmp_path / "rgb.png", "labels", 20)
    assert torch.equal(small, one_hot(numbers, 20))


def test_colored_maps_hold_numbers_and_show_colors(tmp_path: Path) -> None:
    numbers = label_map()
    picture = colored(torch.from_numpy(numbers).long())
    picture.save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as read:
        assert np.array_equal(np.asarray(read), numbers)
        assert np.array_equal(np.asarray(read.convert("RGB")), np.asarray(painted(numbers)))
    with pytest.raises(ImageError, match="label 19 is out of range"):
        colored(torch.full((4, 4), 19))
    with pytest.raises(ImageError, match="integers"):
        colored(torch.zeros(4, 4))


def test_palettes_that_say_nothing_leave_the_numbers_alone() -> None:
    numbers = label_map()
    for colors in ([0] * 768, list(range(256)) * 3):
        picture = Image.fromarray(numbers).convert("P")
        picture.putpalette(colors)
        picture.putdata(numbers.ravel().tolist())
        assert np.array_equal(class_numbers(picture)[0], numbers)
    flat = colored(torch.full((8, 8), 13))
    assert (class_numbers(flat) == 13).all()


def test_unknown_colors_are_named_with_the_nearest_class(tmp_path: Path) -> None:
    pixels = np.array(painted(label_map()))
    pixels[0, :6], pixels[1, :4] = (200, 8, 3), (0, 3, 199)
    pixels[2, :3], pixels[3, :2] = (250, 250, 10), (1, 1, 2)
    Image.fromarray(pixels).save(tmp_path / "map.png")
    with pytest.raises(ImageError) as caught:
        from_file(tmp_path / "map.png", "labels")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'map.png'}: is in color, and 15 of 1600 pixels")
    assert "(200, 8, 3) on 6 pixels, nearest to skin (204, 0, 0)" in message
    assert "(0, 3, 199) on 4 pixels, nearest to hair (0, 0, 204)" in message
    assert "(250, 250, 10) on 3 pixels, nearest to u_lip (255, 255, 0)" in message
    assert "and 1 more" in message and "\n" not in message


def test_other_schemes_have_no_colors() -> None:
    with pytest.raises(ImageError, match="is in color; a label map holds class numbers"):
        from_image(painted(label_map()), "labels", channels=12)
