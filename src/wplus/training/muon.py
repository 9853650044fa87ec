"""Muon: momentum whose singular values are all made one, for matrices; AdamW for the rest.

A step costs some matrix products more than AdamW's, which is little beside a pass through a
generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

NARROWEST = 16  # rows or columns below which a matrix is left to AdamW, as a depthwise kernel is
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values towards 1 (Jordan et al. 2024)."""
ITERATIONS = 5
ROOT_MEAN_SQUARE = 0.2
"""Of an update in units of the learning rate, as AdamW's are about (Liu et al. 2025)."""


class Muon(Optimizer):
    """Momentum, orthogonalized (Jordan et al. 2024), with updates as large as AdamW's.

    With g the gradient of a weight seen as a matrix (rows, columns), convolutions flattened:

        m ← μ·m + g
        θ ← θ - lr·(0.2·√max(rows, columns)·orthogonal(g + μ·m) + weight_decay·θ)

    so that one learning rate suits both kinds (Liu et al. 2025, "Muon is scalable"). Biases,
    depthwise kernels and what has fewer than 16 rows or columns move as under AdamW.

    Args:
        params: tensors or groups.
        lr: learning rate.
        momentum: μ.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: decoupled from the gradient.
        precision: in which updates are made orthogonal: bfloat16 (as published) takes a quarter of
            the time where the processor computes in it.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.precision = precision
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                update = self._matrix(p, group) if is_matrix(p) else self._adam(p, group)
                p.add_(update, alpha=-group["lr"])
        return loss

    def _matrix(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        average: Tensor = state["momentum"]
        assert p.grad is not None
        average.mul_(group["momentum"]).add_(p.grad)
        ahead = p.grad.add(average, alpha=group["momentum"]).flatten(1)
        scale = ROOT_MEAN_SQUARE * math.sqrt(max(ahead.shape))
        return orthogonal(ahead.to(self.precision)).to(p).mul_(scale).view_as(p)

    def _adam(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[p]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
        state["step"] += 1
        count, (first, second) = int(state["step"]), group["betas"]
        state["exp_avg"].lerp_(p.grad, 1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
        spread = (state["exp_avg_sq"] / (1 - second**count)).sqrt_().add_(group["eps"])
        update: Tensor = state["exp_avg"] / (1 - first**count) / spread
        return update


def is_matrix(p: Tensor) -> bool:
    """Whether a weight (rows, …) is orthogonalized, its other dimensions flattened."""
    return p.ndim >= 2 and min(len(p), p.numel() // max(len(p), 1)) >= NARROWEST


def orthogonal(matrix: Tensor) -> Tensor:
    """(rows, columns) with the same singular vectors and all singular values near 1 (0.7 to 1.2).

    By Newton-Schulz iteration, which needs no decomposition; directions without a gradient stay 0.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
