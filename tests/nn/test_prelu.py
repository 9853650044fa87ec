"""PReLU: the layer of torch, values and gradients, with and without gradients wanted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wplus.nn.prelu import PReLU


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_it_is_that_of_torch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    slopes = torch.tensor([0.25, -0.5, 1.5], dtype=torch.float64)
    ours, theirs = PReLU(3).double(), nn.PReLU(3).double()
    for layer in (ours, theirs):
        layer.weight.data.copy_(slopes)
    pattern = torch.randn_like(x)
    expected = torch.autograd.grad(theirs(x), [x, theirs.weight], pattern)
    found = torch.autograd.grad(ours(x), [x, ours.weight], pattern)
    torch.testing.assert_close(ours(x), theirs(x))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_it_follows_the_type_of_its_input() -> None:
    x = torch.randn(2, 3, 4, 4).bfloat16().requires_grad_()
    assert PReLU(3)(x).dtype == torch.bfloat16
