"""Layers computed a band of rows at a time equal the whole layers, in every cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.nn import rows
from wplus.nn.fir import blur_weight


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


@pytest.mark.parametrize("band_bytes", [1, 30, 100, 1000, 10**9])
@pytest.mark.parametrize("height", [1, 7, 8, 16, 33])
def test_cuts_cover_every_row_once(
    height: int, band_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BAND_BYTES", band_bytes)
    monkeypatch.setattr(rows, "FEWEST_ROWS", 3)
    found = list(rows.cuts(height, 10))
    assert [row for first, end in found for row in range(first, end)] == list(range(height))
    largest = max(3, band_bytes // 10)
    assert all(end - first == largest for first, end in found[:-1])
    assert found[-1][1] - found[-1][0] <= largest


def test_convolution_of_any_rows() -> None:
    x, weight, bias = normal(1, 3, 6, 5), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)
    whole = F.conv2d(x, weight, bias, padding=1)
    for first in range(6):
        for end in range(first + 1, 7):
            above, below = int(first == 0), int(end == 6)
            slab = rows.cut(x, first - 1 + above, end + 1 - below)
            assert slab is not None
            found = rows.convolution_rows(slab, weight, bias, above, below)
            np.testing.assert_allclose(found, whole[:, :, first:end], atol=1e-12)


@pytest.mark.parametrize("height", [1, 2, 5])
def test_up_convolution_of_any_rows(height: int) -> None:
    x, weight, bias = normal(1, 3, height, 4), normal(3, 2, 3, 3, seed=1), normal(2, seed=2)
    fir = blur_weight(2, weight)
    up = F.conv_transpose2d(x, weight, stride=2)
    whole = F.conv2d(up, fir, bias, padding=1, groups=2)
    assert whole.shape[2] == 2 * height
    for first in range(2 * height):
        for end in range(first + 1, 2 * height + 1):
            low, high = rows.up_source_rows(first, end, height)
            assert 0 <= low < high <= height
            slab = x[:, :, low:high]
            found = rows.up_convolution_rows(slab, weight, fir, bias, first, end, height)
            np.testing.assert_allclose(found, whole[:, :, first:end], atol=1e-12)


def test_cutting_and_padding() -> None:
    x = normal(1, 1, 4, 2)
    assert rows.cut(None, 0, 2) is None
    cut = rows.cut(x, 1, 3)
    assert cut is not None
    assert torch.equal(cut, x[:, :, 1:3])
    assert rows.pad_rows(x, 0, 0) is x
    padded = rows.pad_rows(x, 1, 2)
    assert torch.equal(padded[:, :, 1:5], x)
    assert padded.shape == (1, 1, 7, 2)
    assert padded[:, :, [0, 5, 6]].abs().sum() == 0


def plan_of(height: int, step: int) -> list[rows.Band]:
    """Bands of `step` rows for a convolution that reaches one row to either side."""
    plan = []
    for first in range(0, height, step):
        end = min(first + step, height)
        plan.append(rows.Band(first, end, max(0, first - 1), min(height, end + 1)))
    return plan


def layer(
    band: rows.Band, slab: Tensor, weight: Tensor, bias: Tensor, nothing: None
) -> tuple[Tensor, Tensor]:
    """A convolution with an activation in place, and its rows doubled."""
    assert nothing is None
    above, below = int(band.first == 0), int(band.end == 7)
    y = F.leaky_relu_(rows.convolution_rows(slab, weight, bias, above, below), 0.2)
    return y, y.repeat_interleave(2, dim=2) * 3


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 9])
def test_bands_give_the_values_and_the_gradients_of_the_whole(step: int, keep: bool) -> None:
    tensors = [normal(1, 2, 7, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    whole = layer(rows.Band(0, 7, 0, 7), *tensors, None)
    banded = rows.banded(layer, plan_of(7, step), *tensors, None, keep=keep)
    patterns = [normal(*part.shape, seed=3) for part in whole]
    for expected, found in zip(whole, banded):
        np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-12)
    expected = torch.autograd.grad(whole, tensors, patterns)
    for one, other in zip(expected, torch.autograd.grad(banded, tensors, patterns)):
        np.testing.assert_allclose(other, one, atol=1e-11)


def test_gradients_of_some_arguments_and_of_one_result() -> None:
    x, weight, bias = normal(1, 2, 7, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)
    weight.requires_grad_()
    for index in (0, 1):
        whole = layer(rows.Band(0, 7, 0, 7), x, weight, bias, None)[index]
        banded = rows.banded(layer, plan_of(7, 2), x, weight, bias, None)[index]
        (expected,) = torch.autograd.grad(whole.square().sum(), weight)
        (found,) = torch.autograd.grad(banded.square().sum(), weight)
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_what_is_kept_is_not_computed_again_and_serves_once() -> None:
    x = normal(1, 2, 7, 4).requires_grad_()
    bands: list[int] = []

    def counted(band: rows.Band, slab: Tensor) -> tuple[Tensor, ...]:
        bands.append(band.first)
        return layer(band, slab, weight, bias, None)

    weight, bias = normal(3, 2, 3, 3, seed=1), normal(3, seed=2)
    for keep, again in ((True, 0), (False, 3)):
        bands.clear()
        loss = rows.banded(counted, plan_of(7, 3), x, keep=keep)[0].square().sum()
        assert len(bands) == 3
        (first,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert len(bands) == 3 + again
        (second,) = torch.autograd.grad(loss, x)  # what was kept is gone: computed anew
        assert len(bands) == 6 + again
        assert torch.equal(first, second)


def test_without_gradients_nothing_is_kept() -> None:
    x, weight, bias = normal(1, 2, 7, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)
    (found, _) = rows.banded(layer, plan_of(7, 3), x, weight, bias, None)
    assert not found.requires_grad
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("inside", [False, True])
def test_autocast_covers_both_ways(inside: bool) -> None:
    tensors = [normal(1, 2, 7, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)]
    tensors = [tensor.float().requires_grad_() for tensor in tensors]
    whole = layer(rows.Band(0, 7, 0, 7), *tensors, None)
    expected = torch.autograd.grad(sum(part.square().sum() for part in whole), tensors)
    with torch.autocast("cpu", torch.bfloat16):
        x = tensors[0].bfloat16()  # as an earlier layer leaves it; the weights are wider
        banded = rows.banded(layer, plan_of(7, 3), x, *tensors[1:], None)
        assert banded[0].dtype == torch.bfloat16
        with torch.autocast("cpu", enabled=inside):
            loss = sum(part.float().square().sum() for part in banded)
            found = torch.autograd.grad(loss, tensors)
    for one, other in zip(found, expected):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 0.03 * other.abs().max()


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    x, weight, bias = normal(1, 2, 7, 4), normal(3, 2, 3, 3, seed=1), normal(3, seed=2)
    x.requires_grad_()
    (found, _) = rows.banded(layer, plan_of(7, 3), x, weight, bias, None)
    (grad,) = torch.autograd.grad(found.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()
