"""The depthwise convolution against PyTorch's own, gradients too."""

from __future__ import annotations

import pytest
import torch

from wplus.nn.depthwise import depthwise


@pytest.mark.parametrize("size", [1, 3, 7])
def test_equals_the_grouped_convolution(size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 1, size, size, dtype=torch.float64, requires_grad=True)
    pattern = torch.randn(2, 5, 9, 6, dtype=torch.float64)
    expected = torch.conv2d(x, weight, padding=size // 2, groups=5)
    torch.testing.assert_close(depthwise(x, weight), expected)
    for found, wanted in zip(
        torch.autograd.grad(depthwise(x, weight), (x, weight), pattern),
        torch.autograd.grad(expected, (x, weight), pattern),
    ):
        torch.testing.assert_close(found, wanted)


def test_only_the_gradients_that_are_needed() -> None:
    x = torch.randn(1, 4, 5, 5)
    weight = torch.randn(4, 1, 3, 3, requires_grad=True)
    depthwise(x, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is None and weight.grad is not None
