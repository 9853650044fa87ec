"""The linear layer with an equalized learning rate, against sums written out."""

import math

import numpy as np
import pytest
import torch

from wplus.nn.equalized import EqualizedLinear


@pytest.mark.parametrize("lr_mul", [1.0, 0.01])
def test_equals_the_sum_written_out(lr_mul: float) -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(5, 3, bias_init=0.7, lr_mul=lr_mul).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(4, 5, dtype=torch.float64)
    found = layer(x).detach().numpy()
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for n in range(4):
        for o in range(3):
            total = sum(x[n, i].item() * weight[o, i] * lr_mul / math.sqrt(5) for i in range(5))
            assert found[n, o] == pytest.approx(total + bias[o] * lr_mul, abs=1e-12)


def test_starts_with_unit_variance_and_the_given_bias() -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(64, 512, bias_init=0.5, lr_mul=0.01)
    assert layer.weight.std().item() == pytest.approx(100, rel=0.02)
    out = layer(torch.randn(1000, 64))
    assert out.mean().item() == pytest.approx(0.5, abs=0.02)
    assert out.std().item() == pytest.approx(1, rel=0.03)


def test_last_dimension_is_mapped_whatever_stands_before_it() -> None:
    layer = EqualizedLinear(4, 6)
    x = torch.randn(2, 3, 4)
    np.testing.assert_allclose(
        layer(x)[1, 2].detach(), layer(x[1, 2][None])[0].detach(), rtol=1e-5, atol=1e-6
    )
    assert layer(x).shape == (2, 3, 6)


def test_bfloat16() -> None:
    torch.manual_seed(0)
    layer = EqualizedLinear(32, 8, bias_init=1.0)
    x = torch.randn(4, 32)
    narrow = layer.to(torch.bfloat16)(x.bfloat16())
    assert narrow.dtype == torch.bfloat16
    wide = layer.float()(x)
    assert (narrow.float() - wide).abs().max() < 0.05
