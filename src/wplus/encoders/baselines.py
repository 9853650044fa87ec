"""The paper's baselines ("Encoding in Style", table 2): one code from the last feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wplus.encoders.base import Encoder
from wplus.errors import ConfigError
from wplus.nn.equalized import EqualizedLinear
from wplus.nn.irse import STAGES_50, IRSETrunk, Stages

POOLED = 7  # side of the map that the naive W+ head reads


class SingleWEncoder(Encoder):
    """One w for all styles: trunk, mean over the map, linear layer ("naive W" in the paper).

    Arguments as for `PyramidEncoder`.
    """

    def __init__(
        self,
        num_styles: int = 18,
        input_channels: int = 3,
        style_dim: int = 512,
        stages: Stages = STAGES_50,
        input_size: int = 256,
    ) -> None:
        super().__init__(num_styles, input_channels, style_dim, input_size)
        self.trunk = IRSETrunk(input_channels, stages)
        self.linear = EqualizedLinear(self.trunk.channels, style_dim)

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder.forward`; all L styles of a code are equal."""
        self.check(images)
        x = self.trunk(images.contiguous(memory_format=torch.channels_last))
        w: Tensor = self.linear(x.mean(dim=(2, 3)))
        return w[:, None].expand(-1, self.num_styles, -1)


class NaiveWPlusEncoder(Encoder):
    """All styles from one vector: trunk, BN, 7×7 map, linear layer, linear layer to L styles.

    Arguments as for `PyramidEncoder`.
    """

    def __init__(
        self,
        num_styles: int = 18,
        input_channels: int = 3,
        style_dim: int = 512,
        stages: Stages = STAGES_50,
        input_size: int = 256,
    ) -> None:
        super().__init__(num_styles, input_channels, style_dim, input_size)
        self.trunk = IRSETrunk(input_channels, stages)
        if input_size < self.trunk.stride:
            raise ConfigError(f"the input must be at least {self.trunk.stride} pixels a side")
        self.norm = nn.BatchNorm2d(self.trunk.channels)
        self.pool = nn.AdaptiveAvgPool2d(POOLED)
        self.hidden = nn.Linear(self.trunk.channels * POOLED**2, style_dim)
        self.linear = EqualizedLinear(style_dim, style_dim * num_styles)

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder.forward`."""
        self.check(images)
        x = self.trunk(images.contiguous(memory_format=torch.channels_last))
        x = self.hidden(self.pool(self.norm(x)).flatten(1))
        codes: Tensor = self.linear(x)
        return codes.view(-1, self.num_styles, self.style_dim)
