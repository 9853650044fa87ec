"""The paper's pyramid and its two variants, against the figure written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.encoders import PyramidEncoder
from wplus.errors import ConfigError

STAGES = ((4, 1), (6, 2), (8, 1), (12, 1))
TINY: dict[str, Any] = {"num_styles": 9, "style_dim": 12, "stages": STAGES, "input_size": 64}


def tiny(**options: Any) -> PyramidEncoder:
    """An encoder in double precision whose batch norms have seen something."""
    torch.manual_seed(0)
    encoder = PyramidEncoder(**{**TINY, **options}).double()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


def images_for(encoder: PyramidEncoder, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    size = encoder.input_size
    shape = (count, encoder.input_channels, size, size)
    return torch.rand(shape, dtype=torch.float64, generator=rng) * 2 - 1


def doubling_matrix(size: int) -> Tensor:
    """(2·size, size): linear interpolation with the corners aligned."""
    matrix = torch.zeros(2 * size, size, dtype=torch.float64)
    for i in range(2 * size):
        place = i * (size - 1) / (2 * size - 1)
        low = min(int(place), size - 1)
        matrix[i, low] += 1 - (place - low)
        if low + 1 < size:
            matrix[i, low + 1] += place - low
    return matrix


def written_out(encoder: PyramidEncoder, images: Tensor, levels: list[int]) -> Tensor:
    state = encoder.state_dict()
    fine, medium, coarse = encoder.trunk.features(images)
    maps = [coarse]
    for i, feature in enumerate((medium, fine)):
        if f"laterals.{i}.weight" in state:
            matrix = doubling_matrix(maps[-1].shape[-1])
            above = torch.einsum("ih,nchw,jw->ncij", matrix, maps[-1], matrix)
            weight, bias = state[f"laterals.{i}.weight"], state[f"laterals.{i}.bias"]
            lateral = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], feature)
            maps.append(above + lateral + bias[:, None, None])
    codes = []
    for style, level in enumerate(levels):
        x = maps[level]
        for i in range(round(math.log2(x.shape[-1]))):
            name = f"styles.{style}.convs.{i}"
            x = F.conv2d(F.pad(x, (1, 1, 1, 1)), state[f"{name}.weight"], stride=2)
            x = x + state[f"{name}.bias"][:, None, None]
            x = torch.where(x > 0, x, 0.01 * x)
        assert x.shape[2:] == (1, 1)
        weight = state[f"styles.{style}.linear.weight"] / math.sqrt(x.shape[1])
        codes.append(x[:, :, 0, 0] @ weight.t() + state[f"styles.{style}.linear.bias"])
    return torch.stack(codes, 1)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ("coarse_to_fine", [0, 0, 0, 1, 1, 1, 1, 2, 2]),
        ("largest", [2] * 9),
        ("smallest", [0] * 9),
    ],
)
@torch.no_grad()
def test_equals_the_figure_written_out(levels: str, expected: list[int]) -> None:
    encoder = tiny(levels=levels)
    images = images_for(encoder)
    found = encoder(images)
    assert found.shape == (2, 9, 12)
    np.testing.assert_allclose(found, written_out(encoder, images, expected), atol=1e-10)
    np.testing.assert_array_equal(encoder(images), found)


@torch.no_grad()
def test_samples_of_a_batch_do_not_touch() -> None:
    encoder = tiny()
    images = images_for(encoder, 3)
    np.testing.assert_allclose(encoder(images)[1:2], encoder(images[1:2]), atol=1e-10)


@pytest.mark.parametrize("levels", ["coarse_to_fine", "largest", "smallest"])
@pytest.mark.parametrize("num_styles", [2, 5, 9])
def test_gradients_reach_every_parameter(levels: str, num_styles: int) -> None:
    encoder = tiny(levels=levels, num_styles=num_styles).train()
    (encoder(images_for(encoder)) * torch.randn(num_styles, 12)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("channels", [1, 3, 19])
@torch.no_grad()
def test_any_number_of_input_channels(channels: int) -> None:
    encoder = tiny(input_channels=channels)
    images = images_for(encoder)
    codes = encoder(images)
    assert codes.shape == (2, 9, 12)
    for channel in range(channels):  # none is ignored
        changed = images.clone()
        changed[:, channel] += 1
        assert (encoder(changed) - codes).abs().max() > 1e-6


@pytest.mark.parametrize(
    "shape", [(2, 3, 128, 128), (2, 3, 64, 32), (2, 1, 64, 64), (3, 64, 64), (2, 4, 64, 64)]
)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"takes images of shape \(N, 3, 64, 64\), not "):
        tiny()(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("size", [16, 48, 80])
@torch.no_grad()
def test_sizes_that_are_no_power_of_two(size: int) -> None:
    encoder = tiny(input_size=size)
    assert encoder(images_for(encoder)).shape == (2, 9, 12)


@torch.no_grad()
def test_half_precision_is_close() -> None:
    encoder = tiny()
    images = images_for(encoder)
    expected = encoder(images)
    found = encoder.to(torch.bfloat16)(images.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - expected).square().mean().sqrt() < 0.03 * expected.std()


@pytest.mark.parametrize(
    ("num_styles", "levels", "convolutions"),
    [
        (18, "coarse_to_fine", 3 * 4 + 4 * 5 + 11 * 6),
        (14, "coarse_to_fine", 3 * 4 + 4 * 5 + 7 * 6),
        (18, "largest", 18 * 6),
        (18, "smallest", 18 * 4),
    ],
)
def test_size_of_the_papers_encoders(num_styles: int, levels: str, convolutions: int) -> None:
    with torch.device("meta"):
        encoder = PyramidEncoder(num_styles, levels=levels)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    trunk = sum(parameter.numel() for parameter in encoder.trunk.parameters())
    laterals = 0 if levels == "smallest" else 512 * (256 + 128) + 2 * 512
    heads = convolutions * (512 * 512 * 9 + 512) + num_styles * (512 * 512 + 512)
    assert count == trunk + laterals + heads
    if (num_styles, levels) == (18, "coarse_to_fine"):
        assert count / 1e6 == pytest.approx(267.1, abs=0.05)
    assert encoder(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, num_styles, 512)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stages": ((4, 1), (12, 1))}, "three stages"),
        ({"input_size": 72}, "divides by 16"),
        ({"input_size": 0}, "divides by 16"),
        ({"style_dim": 8}, "must have 8 channels, not 12"),
        ({"levels": "middle"}, "'middle' is none of"),
    ],
)
def test_sizes_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        PyramidEncoder(**{**TINY, **options})
