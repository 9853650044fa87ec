"""Small photographs: the degradation of training at any size, and files of a few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wplus import images
from wplus.errors import ImageError
from wplus.inference.low_resolution import read_small, shrink
from wplus.sources.low_resolution import degrade


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_shrinking_is_the_degradation_of_training(factor: int) -> None:
    full = torch.rand(2, 3, 512, 512) * 2 - 1
    expected = degrade((images.resize(full, 256) + 1) / 2, factor) * 2 - 1
    assert torch.equal(shrink(full, 256 // factor), expected)


@pytest.mark.parametrize("size", [8, 33, 50, 85, 100, 128, 200, 256])
def test_every_size_keeps_the_place_and_the_mean(size: int) -> None:
    # A slope must stay a slope: nothing is shifted by more than a part of a small pixel.
    slope = torch.linspace(-1, 1, 1024).expand(1, 3, 1024, 1024)
    small = shrink(slope, size)
    assert small.shape == (1, 3, size, size)
    expected = images.resize(slope, size)
    inner = slice(2, -2)
    apart = (small - expected)[..., inner, inner].abs().max()
    assert float(apart) < 0.26 * 2 / size  # a quarter of a small pixel
    with pytest.raises(ImageError, match="8 to 256"):
        shrink(slope, 257)


def test_shrinking_lets_gradients_through() -> None:
    full = (torch.rand(1, 3, 64, 64) - 0.5).requires_grad_()
    shrink(full, 32).sum().backward()
    assert full.grad is not None
    assert float(full.grad.abs().min()) > 0


def test_pictures_of_a_few_pixels_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "tiny.png")
    assert np.array_equal(np.asarray(read_small(str(tmp_path / "tiny.png"))), pixels)
    Image.fromarray(pixels[:7]).save(tmp_path / "tinier.png")
    with pytest.raises(ImageError, match=r"tinier\.png.*too small"):
        read_small(str(tmp_path / "tinier.png"))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.png"):
        read_small(str(tmp_path / "text.png"))
    with pytest.raises(ImageError, match="no such file"):
        read_small(str(tmp_path / "missing.png"))
