"""The mapping network z -> w (StyleGAN, section 2)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.nn.modulated import EPSILON, GAIN, SLOPE


class Mapping(nn.Module):
    """Pixel norm, then fully connected layers with leaky ReLU.

    Args:
        layers: linear layers, style_dim to style_dim.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor) -> Tensor:
        """(N, style_dim) -> (N, style_dim)."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + EPSILON)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * GAIN
        return x
