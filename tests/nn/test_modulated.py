"""Demodulation against the norm of per-sample weights (StyleGAN2, equations 1-3)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wplus.nn.modulated import demodulation, per_channel, to_float32


def test_factor_is_the_inverse_norm_of_the_modulated_weight() -> None:
    rng = torch.manual_seed(0)
    weight = torch.randn(3, 4, 3, 3, dtype=torch.float64, generator=rng)
    style = torch.randn(2, 4, dtype=torch.float64, generator=rng)
    found = demodulation(weight, style)
    assert found.shape == (2, 3)
    for n in range(2):
        for o in range(3):
            modulated = [weight[o, i] * style[n, i] for i in range(4)]
            energy = sum((part**2).sum().item() for part in modulated)
            assert found[n, o].item() == pytest.approx(1 / np.sqrt(energy + 1e-8), rel=1e-12)


def test_nothing_is_divided_by_zero() -> None:
    found = demodulation(torch.randn(3, 4, 1, 1), torch.zeros(2, 4))
    np.testing.assert_allclose(found, 1e4, rtol=1e-6)


def test_scaling_around_one_convolution_equals_per_sample_weights() -> None:
    rng = torch.manual_seed(0)
    weight = torch.randn(3, 4, 3, 3, dtype=torch.float64, generator=rng)
    style = torch.randn(2, 4, dtype=torch.float64, generator=rng)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=rng)
    y = F.conv2d(x * per_channel(style, x), weight, padding=1)
    y = y * per_channel(demodulation(weight, style), y)
    for n in range(2):
        own = weight * style[n][None, :, None, None]
        own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        np.testing.assert_allclose(y[n], F.conv2d(x[n][None], own, padding=1)[0], atol=1e-12)


def test_half_precision_has_no_say_in_the_sum() -> None:
    weight, style = torch.full((1, 512, 3, 3), 3.0), torch.full((1, 512), 100.0)
    expected = demodulation(weight, style)
    for dtype in (torch.float16, torch.bfloat16):  # 4e8 is beyond float16
        found = demodulation(weight.to(dtype), style.to(dtype))
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, expected, rtol=1e-2)
    assert to_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


def test_gradients_reach_weight_and_style() -> None:
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(demodulation, (weight, style))


def test_values_per_channel_take_the_type_of_what_they_scale() -> None:
    found = per_channel(torch.ones(2, 3), torch.zeros(1, dtype=torch.bfloat16))
    assert found.shape == (2, 3, 1, 1)
    assert found.dtype == torch.bfloat16
