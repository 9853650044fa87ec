"""A pyramid encoder small enough to ship: MobileFaceNet trunk and heads that keep a 4×4 map.

The paper's heads reduce a feature map to 1×1 by convolutions of 512 channels, one such stack for
each style: 230 of its 267 million parameters. Here the styles of a level share one reduction, which
stops at 4×4, and each style reads that map by its own narrow projection, so that the position of
features is not lost before the style is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.encoders.base import Encoder
from wplus.errors import ConfigError
from wplus.nn.mobilefacenet import STAGES, MobileFaceTrunk, Stages
from wplus.nn.prelu import PReLU

MAP = 4  # side of the map that a style is read from
DESIGNS = ("pyramid", "naive_wplus", "single_w")
# Resolutions up to which a style is coarse or medium (`latents.RANGES`): styles 0–3 and 4–7 of 18,
# where the paper's encoder counts 0–2 and 3–6.
COARSE_UP_TO, MEDIUM_UP_TO = 8, 32

FACES: Mapping[str, Any] = MappingProxyType(
    {
        "style_resolutions": (
            *(4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64),
            *(128, 128, 128, 256, 256, 256, 512, 512, 512, 1024),
        ),
        "style_dim": 512,
        "width": 192,
        "narrow": 16,
        "input_size": 128,
        "stem": 128,
        "stages": STAGES,
        "design": "pyramid",
    }
)
"""The encoder of every shipped `faces` model; only `input_channels` differ by task."""


class Reduce(nn.Module):
    """A pyramid level to (N, width, 4, 4): residual convolutions of stride 2."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        steps = (size // MAP).bit_length() - 1
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for _ in range(steps))
        self.acts = nn.ModuleList(PReLU(width) for _ in range(steps))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, size, size) -> (N, width, 4, 4)."""
        for conv, act in zip(self.convs, self.acts):
            x = act(conv(x)) + F.avg_pool2d(x, 2)
        return x


class StyleHead(nn.Module):
    """A 4×4 map to one style: narrow 1×1 convolution, then a linear layer over all positions."""

    def __init__(self, width: int, narrow: int, style_dim: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(width, narrow, 1)
        self.act = PReLU(narrow)
        self.linear = nn.Linear(narrow * MAP * MAP, style_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, 4, 4) -> (N, style_dim)."""
        result: Tensor = self.linear(self.act(self.narrow(x)).flatten(1))
        return result


class CompactEncoder(Encoder):
    """MobileFaceNet features at 64², 32² and 16², a top-down pyramid, and narrow heads.

    Args:
        style_resolutions: for each style, the resolution at which it acts in the generator; it
            decides the level that the style is read from (`Generator.style_resolutions`).
        input_channels: of the images.
        style_dim: length of a style.
        width: channels of the pyramid.
        narrow: channels of a head.
        input_size: side of the images.
        stem: channels of the trunk's stem.
        stages: of the trunk, see `nn.mobilefacenet`.
        design: "pyramid"; or one of the paper's baselines (section 4.1) on the same trunk:
            "naive_wplus" reads every style from the smallest map, "single_w" one w for all layers.

    Raises:
        ConfigError: a size that the pyramid cannot halve, or an unknown design.
    """

    def __init__(
        self,
        style_resolutions: Sequence[int],
        input_channels: int = 3,
        style_dim: int = 512,
        width: int = 192,
        narrow: int = 16,
        input_size: int = 256,
        stem: int = 128,
        stages: Stages = STAGES,
        design: str = "pyramid",
    ) -> None:
        super().__init__(len(style_resolutions), input_channels, style_dim, input_size)
        if input_size % 16 or input_size // 16 < MAP or input_size & (input_size - 1):
            raise ConfigError(f"input_size must be a power of two from 64 up, not {input_size}")
        if design not in DESIGNS:
            raise ConfigError(f"design {design!r} is none of: {', '.join(DESIGNS)}")
        self.trunk = MobileFaceTrunk(input_channels, stem, stages)
        fine, medium, coarse = self.trunk.channels
        self.level_of = [
            _level(resolution) if design == "pyramid" else 0 for resolution in style_resolutions
        ]
        if design == "single_w":
            self.level_of = self.level_of[:1]
        levels = max(self.level_of) + 1  # what nothing reads would have no gradient
        self.laterals = nn.ModuleList(
            nn.Conv2d(c, width, 1) for c in (coarse, medium, fine)[:levels]
        )
        self.reduces = nn.ModuleList(Reduce(width, input_size // 16 * 2**i) for i in range(levels))
        self.styles = nn.ModuleList(StyleHead(width, narrow, style_dim) for _ in self.level_of)

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder.forward`."""
        self.check(images)
        x = images.contiguous(memory_format=torch.channels_last)
        fine, medium, coarse = self.trunk.features(x)
        maps: list[Tensor] = []
        level: Tensor | None = None
        for lateral, reduce, feature in zip(self.laterals, self.reduces, (coarse, medium, fine)):
            here = lateral(feature)
            level = here if level is None else here + F.interpolate(level, scale_factor=2.0)
            maps.append(reduce(level))
        codes = [head(maps[i]) for head, i in zip(self.styles, self.level_of)]
        return torch.stack(codes, dim=1).expand(-1, self.num_styles, -1)


def _level(resolution: int) -> int:
    """0 is the smallest map (coarse styles), 2 the largest (fine styles)."""
    return int(resolution > COARSE_UP_TO) + int(resolution > MEDIUM_UP_TO)
