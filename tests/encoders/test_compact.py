"""The compact pyramid: small, and every style read at the level and place where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.encoders import CompactEncoder
from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN, StyleGAN2

TINY: dict[str, Any] = {
    "style_resolutions": (4, 8, 8, 16, 32, 64, 128),
    "style_dim": 10,
    "width": 8,
    "narrow": 6,
    "input_size": 64,
    "stem": 4,
    "stages": ((4, 4, 1), (6, 4, 0), (8, 6, 1)),
}


def tiny(**options: Any) -> CompactEncoder:
    torch.manual_seed(0)
    return CompactEncoder(**{**TINY, **options}).double().eval()


def images_for(encoder: CompactEncoder, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    size = encoder.input_size
    shape = (count, encoder.input_channels, size, size)
    return torch.rand(shape, dtype=torch.float64, generator=rng) * 2 - 1


@pytest.mark.parametrize("size", [64, 128])
@torch.no_grad()
def test_equals_its_description_written_out(size: int) -> None:
    encoder = tiny(input_size=size)
    images = images_for(encoder)
    state = encoder.state_dict()
    maps: list[Tensor] = []
    above: Tensor | None = None
    for level, feature in enumerate(reversed(encoder.trunk.features(images))):
        weight, bias = state[f"laterals.{level}.weight"], state[f"laterals.{level}.bias"]
        here = torch.einsum("oi,nihw->nohw", weight[:, :, 0, 0], feature) + bias[:, None, None]
        if above is not None:  # each pixel of the smaller map counts for four
            here = here + above.repeat_interleave(2, 2).repeat_interleave(2, 3)
        above, x, i = here, here, 0
        while x.shape[-1] > 4:
            name = f"reduces.{level}.convs.{i}"
            y = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], 2, 1)
            slope = state[f"reduces.{level}.acts.{i}.weight"][:, None, None]
            y = torch.where(y > 0, y, slope * y)
            x = y + x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))
            i += 1
        maps.append(x)
    expected = []
    for style, level in enumerate((0, 0, 0, 1, 1, 2, 2)):
        name = f"styles.{style}"
        x = F.conv2d(maps[level], state[f"{name}.narrow.weight"], state[f"{name}.narrow.bias"])
        x = torch.where(x > 0, x, state[f"{name}.act.weight"][:, None, None] * x).reshape(2, -1)
        expected.append(x @ state[f"{name}.linear.weight"].t() + state[f"{name}.linear.bias"])
    found = encoder(images)
    assert found.shape == (2, 7, 10)
    np.testing.assert_allclose(found, torch.stack(expected, 1), atol=1e-10)


@torch.no_grad()
def test_the_baselines_of_the_paper() -> None:
    """Naive W+ reads the smallest map alone; single W is the same for every layer."""
    images = images_for(tiny())
    naive = tiny(design="naive_wplus")
    assert len(naive.laterals) == len(naive.reduces) == 1
    assert len(naive.styles) == 7
    codes = naive(images)
    assert codes.shape == (2, 7, 10)
    assert (codes[:, 0] - codes[:, 6]).abs().max() > 1e-3
    feature = naive.reduces[0](naive.laterals[0](naive.trunk(images)))
    np.testing.assert_allclose(codes[:, 5], naive.styles[5](feature), atol=1e-12)
    single = tiny(design="single_w")
    codes = single(images)
    assert codes.shape == (2, 7, 10)
    assert torch.equal(codes, codes[:, :1].expand(-1, 7, -1))
    assert len(single.styles) == 1
    with pytest.raises(ConfigError, match="'double' is none of: pyramid, naive_wplus, single_w"):
        tiny(design="double")


@torch.no_grad()
def test_where_things_are_is_not_lost() -> None:
    """A mark matters to every style as much by where it is as by being there."""
    encoder = tiny(input_size=128)
    blank = torch.zeros(1, 3, 128, 128, dtype=torch.float64)
    one = blank.clone()
    one[:, :, 32:40, 32:40] = 1
    two = one.roll((64, 64), (2, 3))  # by whole cells of the 4×4 map
    moved = (encoder(one) - encoder(two)).abs().amax(dim=(0, 2))
    drawn = (encoder(one) - encoder(blank)).abs().amax(dim=(0, 2))
    assert (moved > 0.5 * drawn).all()


@pytest.mark.parametrize("resolutions", [(4, 8), (4, 8, 16, 32), (4, 8, 16, 64, 128)])
def test_gradients_reach_every_parameter(resolutions: tuple[int, ...]) -> None:
    encoder = tiny(style_resolutions=resolutions).train()
    (encoder(images_for(encoder)) * torch.randn(len(resolutions), 10)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("channels", [1, 3, 19])
@torch.no_grad()
def test_batch_channels_and_repetition(channels: int) -> None:
    encoder = tiny(input_channels=channels)
    images = images_for(encoder, 3)
    codes = encoder(images)
    np.testing.assert_array_equal(encoder(images), codes)
    np.testing.assert_allclose(encoder(images[2:]), codes[2:], atol=1e-10)
    for channel in range(channels):
        changed = images.clone()
        changed[:, channel] += 1
        assert (encoder(changed) - codes).abs().max() > 1e-6


@pytest.mark.parametrize("shape", [(2, 3, 128, 128), (2, 1, 64, 64), (3, 64, 64)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"\(N, 3, 64, 64\), not "):
        tiny()(torch.zeros(shape, dtype=torch.float64))


@torch.no_grad()
def test_half_precision_is_close() -> None:
    encoder = tiny()
    images = images_for(encoder)
    expected = encoder(images)
    found = encoder.to(torch.bfloat16)(images.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - expected).square().mean().sqrt() < 0.03 * expected.std()


def test_it_is_small_enough_to_ship() -> None:
    with torch.device("meta"):
        mobile, style = MobileStyleGAN(), StyleGAN2()
        encoder = CompactEncoder(mobile.style_resolutions)
        other = CompactEncoder(style.style_resolutions)
    assert encoder.num_styles == 23
    assert sum(parameter.numel() for parameter in encoder.parameters()) <= 10_000_000
    assert encoder(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 23, 512)
    assert other(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 18, 512)
    assert encoder.level_of == [0] * 4 + [1] * 6 + [2] * 13


@pytest.mark.parametrize("size", [0, 32, 48, 96, 250])
def test_sizes_that_make_no_sense(size: int) -> None:
    with pytest.raises(ConfigError, match=f"power of two from 64 up, not {size}$"):
        tiny(input_size=size)
