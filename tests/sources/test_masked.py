"""Photographs with holes: by mask, by painting, by transparency; none shines through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.image_files import read_stored
from wplus.sources.kind import from_file, from_image
from wplus.sources.masked import HOLE, find_hole, remove_region

BOX = (20, 30, 60, 50)


def photo(width: int = 96, height: int = 80) -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(60, 200, (10, 12, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def mask(size: tuple[int, int] = (96, 80)) -> Image.Image:
    made = Image.new("L", size, 0)
    made.paste(255, BOX)
    return made


def hole() -> np.ndarray:
    return np.asarray(mask())


def test_the_hole_is_gray_and_the_rest_the_photograph() -> None:
    pictures = torch.rand(2, 3, 24, 20) * 2 - 1
    masks = torch.zeros(2, 1, 24, 20)
    masks[0, 0, 3:9, 4:12] = 0.2
    found = remove_region(pictures, masks)
    assert (found[0, :, 3:9, 4:12] == 0).all()
    keep = (masks == 0).expand_as(pictures)
    assert torch.equal(found[keep], pictures[keep])
    assert torch.equal(
        remove_region(pictures, masks[:1] > 0)[1, :, 3:9],
        torch.where(masks[0, :, 3:9] > 0, 0.0, pictures[1, :, 3:9]),
    )


@pytest.mark.parametrize("size", [7, 16, 31, 200])
def test_nothing_of_the_hole_shines_through(size: int) -> None:
    masks = torch.zeros(1, 1, 32, 32)
    masks[..., 5:19, 9:22] = 1
    first = torch.zeros(1, 3, 32, 32)
    second = torch.where(masks > 0, 0.9, first)
    found = [remove_region(pictures + 0.1, masks, size) for pictures in (first, second)]
    assert torch.equal(*found) and found[0].shape == (1, 3, size, size)
    share = float((found[0][0, 0] == 0).float().mean())
    assert 14 * 13 / 1024 <= share < 18 * 17 / 1024 + 0.25 * (size < 10)


def test_masks_that_do_not_fit() -> None:
    pictures = torch.zeros(2, 3, 8, 8)
    for wrong in (torch.zeros(2, 1, 8, 9), torch.zeros(3, 1, 8, 8), torch.zeros(2, 8, 8)):
        with pytest.raises(ImageError, match="do not fit"):
            remove_region(pictures, wrong)
    with pytest.raises(ImageError, match="images with holes are a float tensor"):
        remove_region(pictures.int(), torch.zeros(2, 1, 8, 8))
    with pytest.raises(ConfigError, match="0 pixels wide"):
        remove_region(pictures, torch.ones(2, 1, 8, 8), 0)


def test_files_with_a_mask(tmp_path: Path) -> None:
    photo().save(tmp_path / "photo.png")
    mask().save(tmp_path / "mask.png")
    found = from_file(tmp_path / "photo.png", "masked", 64, mask=tmp_path / "mask.png")
    pixels = images.to_tensor(photo())
    expected = remove_region(pixels, images.to_tensor(mask())[:, :1] > 0, 64)
    assert torch.equal(found, expected) and 0.02 < (found == 0).float().mean() < 0.2
    direct = from_image(photo(), "masked", 64, mask=mask())
    assert torch.equal(direct, expected)
    # White strokes on nothing are a mask, too.
    strokes = Image.new("RGBA", (96, 80), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), BOX)
    strokes.save(tmp_path / "strokes.png")
    again = from_file(tmp_path / "photo.png", "masked", 64, mask=tmp_path / "strokes.png")
    assert torch.equal(again, expected)


@pytest.mark.parametrize("kind", ["magenta.png", "magenta.jpg", "clear.png"])
def test_painted_regions(tmp_path: Path, kind: str) -> None:
    painted = photo()
    if kind == "clear.png":
        alpha = Image.eval(mask(), lambda value: 255 - value)
        painted.putalpha(alpha)
    else:
        painted.paste(HOLE, BOX)
    painted.save(tmp_path / kind, quality=90)
    found = find_hole(read_stored(tmp_path / kind))
    assert (found.mode, found.size) == ("L", (96, 80))
    inside = np.asarray(found) == 255
    assert inside[hole() == 255].all()
    grown = np.zeros((80, 96), bool)
    grown[26:54, 16:64] = True
    assert not inside[~grown].any()
    made = from_file(tmp_path / kind, "masked", 80)
    left = made[0].permute(1, 2, 0)[(made[0] != 0).any(0)]
    assert float((left - torch.tensor([1.0, -1.0, 1.0])).abs().sum(1).min()) > 1.0


def test_paint_and_mask_together(tmp_path: Path) -> None:
    painted = photo()
    painted.paste(HOLE, (70, 60, 90, 75))
    painted.save(tmp_path / "photo.png")
    found = find_hole(read_stored(tmp_path / "photo.png"), mask())
    inside = np.asarray(found) > 0
    assert inside[40, 40] and inside[65, 80] and not inside[10, 10]


def test_what_is_no_hole(tmp_path: Path) -> None:
    photo().save(tmp_path / "photo.png")
    mask((96, 81)).save(tmp_path / "other.png")
    Image.new("L", (96, 80)).save(tmp_path / "dark.png")
    Image.new("L", (96, 80), 255).save(tmp_path / "bright.png")
    (tmp_path / "text.png").write_text("no picture")
    reasons = {
        "other.png": r"other\.png: a mask of 96x81 does not fit an image of 96x80",
        "dark.png": r"dark\.png: a mask that removes nothing; white is removed",
        "bright.png": r"bright\.png: a mask that removes everything",
        "text.png": r"text\.png: is no picture",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason) as caught:
            from_file(tmp_path / "photo.png", "masked", mask=tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=r"photo\.png: nothing is removed from it; give a mask"):
        from_file(tmp_path / "photo.png", "masked")
    with pytest.raises(ImageError, match="the mask: a mask of 5x5 does not fit"):
        from_image(photo(), "masked", mask=Image.new("L", (5, 5)))
    with pytest.raises(ImageError, match="everything is removed"):
        from_image(Image.new("RGB", (20, 20), HOLE), "masked")
