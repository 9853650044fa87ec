"""The inverse Haar transform against transposed convolutions with its four filters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.nn.haar import inverse_haar

LOW, HIGH = np.array([1.0, 1.0]) / np.sqrt(2), np.array([1.0, -1.0]) / np.sqrt(2)
# (along the rows' axis, along the columns' axis): low-low, vertical, horizontal, diagonal detail.
FILTERS = [np.outer(a, b) for a, b in ((LOW, LOW), (HIGH, LOW), (LOW, HIGH), (HIGH, HIGH))]


def slow(bands: Tensor) -> Tensor:
    """Each sub-band spread by its filter, and all four added up: the transform with its factor."""
    count = bands.shape[1] // 4
    out = bands.new_zeros(len(bands), count, 2 * bands.shape[2], 2 * bands.shape[3])
    for band, kernel in enumerate(FILTERS):
        weight = torch.from_numpy(kernel).to(bands)[None, None]
        for c in range(count):
            part = bands[:, band * count + c : band * count + c + 1]
            out[:, c : c + 1] += F.conv_transpose2d(part, weight, stride=2)
    return out


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 8, 3, 5), (1, 12, 4, 4)])
def test_equals_transposed_convolutions_but_for_the_factor(shape: tuple[int, ...]) -> None:
    bands = torch.randn(shape, dtype=torch.float64, generator=torch.manual_seed(0))
    found = inverse_haar(bands)
    np.testing.assert_allclose(found * 0.5, slow(bands), atol=1e-12)
    channels_last = bands.contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(inverse_haar(channels_last), found)


def test_one_band_at_a_time_lands_where_it_should() -> None:
    for band, quad in enumerate(([[1, 1], [1, 1]], [[1, 1], [-1, -1]],
                                 [[1, -1], [1, -1]], [[1, -1], [-1, 1]])):  # fmt: skip
        bands = torch.zeros(1, 4, 1, 1)
        bands[0, band] = 1
        assert inverse_haar(bands)[0, 0].tolist() == quad


def test_gradient_is_the_forward_transform() -> None:
    bands = torch.randn(2, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(inverse_haar, bands)
    pattern = torch.randn(2, 2, 4, 6, dtype=torch.float64)
    (found,) = torch.autograd.grad(inverse_haar(bands), bands, pattern)
    (expected,) = torch.autograd.grad(slow(bands), bands, pattern)
    np.testing.assert_allclose(found * 0.5, expected, atol=1e-12)
    strided = pattern.transpose(2, 3).contiguous().transpose(2, 3)
    (again,) = torch.autograd.grad(inverse_haar(bands), bands, strided)
    np.testing.assert_array_equal(again, found)


def test_input_is_left_as_it_is_and_types_are_kept() -> None:
    bands = torch.randn(1, 4, 2, 2)
    before = bands.clone()
    for dtype in (torch.float32, torch.bfloat16):
        assert inverse_haar(bands.to(dtype)).dtype == dtype
    assert torch.equal(bands, before)
