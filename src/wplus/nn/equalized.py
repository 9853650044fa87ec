"""Linear layer with an equalized learning rate (Karras et al. 2018, section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualizedLinear(nn.Module):
    """y = x·Wᵀ·(lr_mul / √in) + b·lr_mul, with W stored as N(0, 1) / lr_mul.

    The stored weight has unit variance, so that an optimizer that normalizes its steps moves every
    layer at the same relative speed; the constant is applied at run time. `lr_mul` slows a layer
    down further (0.01 in StyleGAN's mapping network).

    Args:
        in_features, out_features: sizes of the last dimension of input and output.
        bias_init: value of the effective bias at the start.
        lr_mul: learning rate multiplier.
    """

    def __init__(
        self, in_features: int, out_features: int, bias_init: float = 0.0, lr_mul: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init) / lr_mul))
        self.scale = lr_mul / math.sqrt(in_features)
        self.lr_mul = lr_mul

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        # Scaling the weight, not the product, keeps the published order of rounding.
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
