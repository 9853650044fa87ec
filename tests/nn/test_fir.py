"""The filter [1, 3, 3, 1] against zero insertion and sums written out."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wplus.nn.fir import blur, blur_weight, upsample2x

TAPS = np.array([1.0, 3.0, 3.0, 1.0])
FILTER = np.outer(TAPS, TAPS) / TAPS.sum() ** 2

Array = NDArray[np.float64]


def filtered(x: Array, kernel: Array, before: int, after: int) -> Array:
    """Pad an (H, W) array with zeros on each side and convolve it with the (flipped) kernel."""
    padded = np.pad(x, (before, after))
    rows, columns = padded.shape[0] - 3, padded.shape[1] - 3
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = (padded[i : i + 4, j : j + 4] * kernel[::-1, ::-1]).sum()
    return out


def doubled(x: Array) -> Array:
    """As published: a zero after every pixel, 2 zeros before and 1 after, then 4·f."""
    spread = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    spread[::2, ::2] = x
    return filtered(spread, 4 * FILTER, 2, 1)


@pytest.mark.parametrize("size", [(4, 4), (1, 1), (5, 3), (2, 7)])
def test_doubling(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.manual_seed(0))
    found = upsample2x(x)
    assert found.shape == (2, 3, 2 * size[0], 2 * size[1])
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(found[n, c], doubled(x[n, c].numpy()), atol=1e-12)


@pytest.mark.parametrize("padding", [1, 2, (1, 2)])
@pytest.mark.parametrize("size", [(5, 5), (6, 9)])
def test_blur(size: tuple[int, int], padding: int | tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.manual_seed(0))
    found = blur(x, padding)
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    for n in range(2):
        for c in range(3):
            wide = np.pad(x[n, c].numpy(), ((rows, rows), (columns, columns)))
            np.testing.assert_allclose(found[n, c], filtered(wide, 4 * FILTER, 0, 0), atol=1e-12)


def test_gradients() -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(upsample2x, x)
    assert torch.autograd.gradcheck(blur, x)


def test_weight_has_the_type_of_what_it_filters() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        weight = blur_weight(3, torch.zeros(1, dtype=dtype))
        assert weight.shape == (3, 1, 4, 4)
        assert weight.dtype == dtype
        # 4·f are sixteenths up to 9: every type holds them exactly.
        np.testing.assert_array_equal(weight[2, 0].double(), 4 * FILTER)
    assert blur(torch.ones(1, 2, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert upsample2x(torch.ones(1, 2, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16
