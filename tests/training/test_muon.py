"""Muon: against a singular value decomposition for matrices, and against AdamW for the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wplus.training.muon import Muon, is_matrix, orthogonal


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (32, 32)])
def test_singular_values_become_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.mT @ orthogonal(7 * matrix) @ right.mT
    diagonal = found.diagonal()
    torch.testing.assert_close(found, diagonal.diag(), atol=1e-9, rtol=0)
    large = values > 0.05 * values.max()
    assert large.any() and ((diagonal[large] > 0.6) & (diagonal[large] < 1.3)).all()


def test_what_has_no_gradient_does_not_move() -> None:
    assert torch.equal(orthogonal(torch.zeros(20, 30)), torch.zeros(20, 30))
    weight = nn.Parameter(torch.ones(20, 20))
    Muon([weight]).step()
    assert torch.equal(weight, torch.ones(20, 20))


def test_which_weights_are_matrices() -> None:
    assert is_matrix(torch.zeros(16, 2, 3, 3))  # 18 columns
    for shape in ((64,), (64, 1, 3, 3), (3, 512), (512, 8)):
        assert not is_matrix(torch.zeros(shape))


def test_matrices_follow_the_momentum() -> None:
    weight = nn.Parameter(torch.zeros(24, 4, 3, 3))
    optimizer = Muon([weight], lr=0.1, momentum=0.8, weight_decay=0.5)
    rng = torch.Generator().manual_seed(1)
    expected, average = torch.ones(24, 36), torch.zeros(24, 36)
    with torch.no_grad():
        weight.fill_(1.0)
    for _ in range(4):
        weight.grad = torch.randn(weight.shape, generator=rng)
        gradient = weight.grad.view(24, 36)
        average = 0.8 * average + gradient
        update = 0.2 * 36**0.5 * orthogonal(gradient + 0.8 * average)
        expected = expected - 0.1 * 0.5 * expected - 0.1 * update
        optimizer.step()
    torch.testing.assert_close(weight.view(24, 36), expected, rtol=1e-5, atol=1e-5)
    rms = float(update.square().mean().sqrt())
    assert 0.1 < rms < 0.3  # about AdamW's


def test_lower_precision_is_near() -> None:
    moved = []
    for precision in (torch.float32, torch.bfloat16):
        weight = nn.Parameter(torch.zeros(32, 48))
        weight.grad = torch.randn(32, 48, generator=torch.Generator().manual_seed(4))
        Muon([weight], lr=1.0, precision=precision).step()
        assert weight.dtype == torch.float32
        moved.append(weight.detach())
    assert not torch.equal(*moved)
    assert (moved[0] - moved[1]).norm() < 0.03 * moved[0].norm()


def test_the_rest_moves_as_under_adamw() -> None:
    pairs = []
    for kind in (Muon, torch.optim.AdamW):
        torch.manual_seed(2)
        weights = [nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(40, 1, 3, 3))]
        optimizer = kind(weights, lr=0.01, weight_decay=0.1)
        for step in range(5):
            for weight in weights:
                weight.grad = torch.sin(weight.detach() * (step + 1))
            optimizer.step()
        pairs.append(weights)
    for ours, theirs in zip(*pairs):
        torch.testing.assert_close(ours, theirs)


def test_it_goes_on_from_its_state() -> None:
    def run(stop: bool) -> torch.Tensor:
        torch.manual_seed(3)
        weights = [nn.Parameter(torch.randn(20, 20)), nn.Parameter(torch.randn(20))]
        optimizer = Muon(weights, lr=0.01)
        for step in range(6):
            if stop and step == 3:
                kept = optimizer.state_dict()
                optimizer = Muon(weights, lr=0.01)
                optimizer.load_state_dict(kept)
            for weight in weights:
                weight.grad = torch.cos(weight.detach() * (step + 1))
            optimizer.step()
        return torch.cat([weight.detach().flatten() for weight in weights])

    assert torch.equal(run(False), run(True))
