"""The paper's encoder ("Encoding in Style", figure 2): a feature pyramid with a head per style."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.encoders.base import Encoder
from wplus.errors import ConfigError
from wplus.nn.equalized import EqualizedLinear
from wplus.nn.irse import STAGES_50, IRSETrunk, Stages

Levels = Literal["coarse_to_fine", "largest", "smallest"]
COARSE, MEDIUM = 3, 4  # styles 0-2 are read at 16², 3-6 at 32², the rest at 64²


class Map2Style(nn.Module):
    """A feature map to one style: convolutions of stride 2 down to 1×1, then a linear layer."""

    def __init__(self, in_channels: int, style_dim: int, size: int) -> None:
        super().__init__()
        steps = (size - 1).bit_length()  # each halves the map and rounds up
        widths = [in_channels] + [style_dim] * steps
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)
        )
        self.linear = EqualizedLinear(style_dim, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, size, size) -> (N, style_dim)."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        result: Tensor = self.linear(x.flatten(1))
        return result


class PyramidEncoder(Encoder):
    """IR-SE trunk, top-down pyramid, and `Map2Style` for each style.

    Args:
        num_styles: L.
        input_channels: of the images.
        style_dim: length of a style, and width of the pyramid.
        stages: (channels, units) of the trunk's stages; the last three are the pyramid's levels.
        input_size: side of the images; the levels are a quarter, an eighth and a sixteenth of it.
        levels: "coarse_to_fine" as in the paper; "largest" reads every style from the 64² level,
            "smallest" from the 16² level (the two baselines of its ablation).
    """

    def __init__(
        self,
        num_styles: int = 18,
        input_channels: int = 3,
        style_dim: int = 512,
        stages: Stages = STAGES_50,
        input_size: int = 256,
        levels: Levels = "coarse_to_fine",
    ) -> None:
        super().__init__(num_styles, input_channels, style_dim, input_size)
        self.trunk = IRSETrunk(input_channels, stages)
        if len(stages) < 3 or input_size < 1 or input_size % self.trunk.stride:
            raise ConfigError(
                f"the pyramid needs three stages and a size that divides by {self.trunk.stride}"
            )
        fine, medium, coarse = (channels for channels, _ in stages[-3:])
        if coarse != style_dim:
            raise ConfigError(f"the last stage must have {style_dim} channels, not {coarse}")
        self.level_of = _levels_of_styles(num_styles, levels)
        deepest = max(self.level_of)  # laterals that nothing reads would have no gradient
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, style_dim, 1) for channels in (medium, fine)[:deepest]
        )
        smallest = input_size // self.trunk.stride
        self.styles = nn.ModuleList(
            Map2Style(style_dim, style_dim, smallest * 2**level) for level in self.level_of
        )

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder.forward`."""
        self.check(images)
        return self.read_styles(images)

    def read_styles(self, x: Tensor) -> Tensor:
        """(N, channels of the trunk, S, S) -> (N, L, style_dim)."""
        x = x.contiguous(memory_format=torch.channels_last)
        fine, medium, coarse = self.trunk.features(x)
        levels = [coarse]
        for lateral, feature in zip(self.laterals, (medium, fine)):
            levels.append(_double(levels[-1]) + lateral(feature))
        if torch.is_grad_enabled() and x.device.type == "cpu":
            # Weights of strided convolutions get their gradients four times faster in this layout.
            levels = [level.contiguous() for level in levels]
        codes = [head(levels[level]) for head, level in zip(self.styles, self.level_of)]
        return torch.stack(codes, dim=1)


def _levels_of_styles(num_styles: int, levels: Levels) -> Sequence[int]:
    """For each style the level that it reads: 0 is the smallest map, 2 the largest."""
    if levels == "largest":
        return [2] * num_styles
    if levels == "smallest":
        return [0] * num_styles
    if levels != "coarse_to_fine":
        raise ConfigError(f"levels {levels!r} is none of: coarse_to_fine, largest, smallest")
    return ([0] * COARSE + [1] * MEDIUM + [2] * num_styles)[:num_styles]


def _double(x: Tensor) -> Tensor:
    size = (2 * x.shape[2], 2 * x.shape[3])
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
