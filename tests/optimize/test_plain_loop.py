"""The optimizer against a plain loop that shares nothing with it but the networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import tiny
from wplus.losses import LPIPS, LossNetworks
from wplus.optimize import Constraint, minimize, refine
from wplus.schedules import Phase, Schedule

STEPS, RATE = 6, 0.1
WEIGHTS = {"l2": 1.0, "lpips": 0.8, "distance": 0.5, "prior": 0.01, "spread": 0.02}


def plain_adam(
    codes: torch.Tensor, loss_of: Callable[[torch.Tensor], torch.Tensor]
) -> list[tuple[float, torch.Tensor]]:
    """Losses and codes of every evaluation; Adam as in Kingma & Ba 2015, algorithm 1."""
    first = second = torch.zeros_like(codes)
    seen = []
    for step in range(STEPS + 1):
        codes = codes.detach().requires_grad_()
        loss = loss_of(codes)
        seen.append((float(loss.detach()), codes.detach()))
        (slope,) = torch.autograd.grad(loss, codes)
        up = min(1.0, (step + 1) / STEPS / 0.1)
        left = min(1.0, (1 - step / STEPS) / 0.3)
        rate = RATE * up * (0.5 - 0.5 * math.cos(left * math.pi))
        first = 0.9 * first + 0.1 * slope
        second = 0.99 * second + 0.01 * slope**2
        corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1))
        codes = codes.detach() - rate * corrected[0] / (corrected[1].sqrt() + 1e-8)
    return seen


@pytest.mark.parametrize("generator", ["mobilestylegan", "stylegan2"])
def test_equal_to_a_plain_loop(generator: str) -> None:
    torch.manual_seed(0)
    model, lpips = tiny.model(generator, None), LPIPS()
    target = torch.rand(1, 3, 64, 64) * 2 - 1
    weights = (torch.rand(1, 1, 64, 64) > 0.3).float()
    start = model.sample(1, seed=3)
    z = torch.randn(8192, model.generator.style_dim, generator=torch.Generator().manual_seed(0))
    mean = model.generator.mean_w
    offsets = model.generator.map(z) - mean
    covariance = offsets.T @ offsets / 8192
    values, vectors = torch.linalg.eigh(covariance)
    whitening = vectors / values.clamp_min(1e-3 * values.mean()).sqrt()
    wide_target = F.interpolate(target, (256, 256), mode="bilinear")

    def loss_of(codes: torch.Tensor) -> torch.Tensor:
        made = F.interpolate(model.generator(codes), (64, 64), mode="bilinear")
        l2 = ((made - target) ** 2 * weights).sum() / (3 * weights.sum())
        shown = F.interpolate(target + (made - target) * weights, (256, 256), mode="bilinear")
        white = (codes - mean) @ whitening
        return (
            l2
            + 0.8 * lpips(shown, wide_target).sum()
            + 0.5 * ((codes - start) ** 2).mean()
            + 0.01 * (white**2).mean()
            + 0.02 * ((white - white.mean(1, keepdim=True)) ** 2).mean()
        )

    seen = plain_adam(start, loss_of)
    found = refine(
        model,
        Constraint(
            target, lambda images: F.interpolate(images, (64, 64), mode="bilinear"), weights
        ),
        start,
        phases=[Phase(Schedule(STEPS, RATE, patience=0), WEIGHTS)],
        networks=LossNetworks(lpips=lpips),
    )
    losses = [float(terms["loss"]) for terms in found.history]
    assert losses == pytest.approx([loss for loss, _ in seen], rel=1e-3)
    best = min(range(STEPS + 1), key=lambda step: seen[step][0])
    assert best > 0
    torch.testing.assert_close(found.codes, seen[best][1], rtol=1e-2, atol=1e-3)
    assert float(found.losses) == min(losses)


def test_other_variables_than_codes() -> None:
    """An affine map of images, one for each image and of another shape than codes have."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 8, 8, generator=rng)
    gains, offsets = torch.rand(3, 3, 1, 1, generator=rng) + 0.5, torch.rand(3, 1, generator=rng)
    targets = images * gains + offsets[:, :, None, None]

    def synthesize(gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        return images * gain + offset[:, :, None, None]

    def losses(made: torch.Tensor, *variables: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": (made - targets).square().mean(dim=(1, 2, 3))}

    start = [torch.ones(3, 3, 1, 1), torch.zeros(3, 1)]
    found = minimize(start, synthesize, losses, Schedule(300, 0.05, patience=0))
    assert (found.losses < 1e-6).all()
    torch.testing.assert_close(found.variables[0], gains, atol=1e-2, rtol=0)
    torch.testing.assert_close(found.variables[1], offsets, atol=1e-2, rtol=0)
    assert torch.equal(start[0], torch.ones(3, 3, 1, 1))
