"""Single-W and naive W+: one code from the last feature map, written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wplus.encoders import Encoder, NaiveWPlusEncoder, SingleWEncoder
from wplus.errors import ConfigError

KINDS: list[type[Encoder]] = [SingleWEncoder, NaiveWPlusEncoder]
TINY: dict[str, Any] = {
    "num_styles": 5,
    "style_dim": 10,
    "stages": ((4, 1), (6, 1), (8, 2)),
    "input_size": 64,
}


def tiny(kind: type[Encoder], **options: Any) -> Encoder:
    torch.manual_seed(0)
    encoder = kind(**{**TINY, **options}).double()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


def images_for(encoder: Encoder, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    size = encoder.input_size
    shape = (count, encoder.input_channels, size, size)
    return torch.rand(shape, dtype=torch.float64, generator=rng) * 2 - 1


@torch.no_grad()
def test_single_w_is_a_linear_layer_on_the_mean_and_the_same_for_all_styles() -> None:
    encoder = tiny(SingleWEncoder)
    images = images_for(encoder)
    found, state = encoder(images), encoder.state_dict()
    features = encoder.trunk(images)
    assert features.shape == (2, 8, 8, 8)
    mean = features.flatten(2).sum(2) / 64
    expected = mean @ state["linear.weight"].t() / math.sqrt(8) + state["linear.bias"]
    for style in range(5):
        np.testing.assert_allclose(found[:, style], expected, atol=1e-12)


@pytest.mark.parametrize("size", [64, 112, 128])
@torch.no_grad()
def test_naive_wplus_written_out(size: int) -> None:
    encoder = tiny(NaiveWPlusEncoder, input_size=size)
    images = images_for(encoder)
    found, state = encoder(images), encoder.state_dict()
    x = encoder.trunk(images)
    scale = state["norm.weight"] / (state["norm.running_var"] + 1e-5).sqrt()
    x = (x - state["norm.running_mean"][:, None, None]) * scale[:, None, None]
    x = x + state["norm.bias"][:, None, None]
    side = x.shape[-1]
    pooled = torch.zeros(2, 8, 7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            window = [slice(k * side // 7, -(-(k + 1) * side // 7)) for k in (i, j)]
            pooled[:, :, i, j] = x[:, :, window[0], window[1]].mean((2, 3))
    hidden = pooled.flatten(1) @ state["hidden.weight"].t() + state["hidden.bias"]
    codes = hidden @ state["linear.weight"].t() / math.sqrt(10) + state["linear.bias"]
    assert found.shape == (2, 5, 10)
    np.testing.assert_allclose(found, codes.reshape(2, 5, 10), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: type[Encoder]) -> None:
    encoder = tiny(kind).train()
    (encoder(images_for(encoder)) * torch.randn(5, 10)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3, 19])
@torch.no_grad()
def test_batch_channels_and_repetition(kind: type[Encoder], channels: int) -> None:
    encoder = tiny(kind, input_channels=channels)
    images = images_for(encoder, 3)
    codes = encoder(images)
    np.testing.assert_array_equal(encoder(images), codes)
    np.testing.assert_allclose(encoder(images[2:]), codes[2:], atol=1e-10)
    changed = images.clone()
    changed[:, -1] += 1
    assert (encoder(changed) - codes).abs().max() > 1e-6
    assert encoder(images[:0]).shape == (0, 5, 10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 3, 128, 128), (2, 1, 64, 64), (3, 64, 64)])
def test_images_of_another_shape_are_refused(kind: type[Encoder], shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"\(N, 3, 64, 64\), not .*; resize them first$"):
        tiny(kind)(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_half_precision_is_close(kind: type[Encoder]) -> None:
    encoder = tiny(kind)
    images = images_for(encoder)
    expected = encoder(images)
    found = encoder.to(torch.bfloat16)(images.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - expected).square().mean().sqrt() < 0.03 * expected.std()


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (SingleWEncoder, 512 * 512 + 512),
        (NaiveWPlusEncoder, 1024 + 25088 * 512 + 512 + 512 * 512 * 18 + 512 * 18),
    ],
)
def test_size_of_the_papers_encoders(kind: type[Encoder], head: int) -> None:
    with torch.device("meta"):
        encoder = kind()
    count = sum(parameter.numel() for parameter in encoder.parameters())
    trunk = sum(parameter.numel() for parameter in encoder.trunk.parameters())
    assert count == trunk + head
    assert encoder(torch.empty(1, 3, 256, 256, device="meta")).shape == (1, 18, 512)


def test_an_input_smaller_than_the_trunks_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 8 pixels"):
        tiny(NaiveWPlusEncoder, input_size=4)
