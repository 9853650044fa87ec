"""MobileFaceNet (Chen et al. 2018) as InsightFace publishes it: batch norms folded into biases.

Its features at strides 4, 8 and 16 have the sizes of the pSp pyramid (64, 32 and 16 for a
256x256 image), with a tenth of the parameters of IR-SE-50.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wplus.nn.prelu import PReLU

Stages = Sequence[tuple[int, int, int]]
"""(channels, hidden channels of the first block, residual blocks after it) of each stage.

The first block of a stage halves the resolution.
"""

STAGES: Stages = ((128, 128, 4), (256, 256, 6), (256, 512, 2))


class ConvPReLU(nn.Module):
    """Convolution that keeps the size (but for its stride), with a bias, and PReLU."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups
        )
        self.act = PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.act(self.conv(x))
        return out


class Bottleneck(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project linearly by 1x1.

    With stride 1 the input is added to the result.
    """

    def __init__(self, in_channels: int, hidden: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.expand = ConvPReLU(in_channels, hidden, 1)
        self.spread = ConvPReLU(hidden, hidden, 3, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.project(self.spread(self.expand(x)))
        return x + out if self.residual else out


class MobileFaceTrunk(nn.Module):
    """Stem (stride 2) and three stages (strides 4, 8, 16).

    Args:
        input_channels: of the images; 3 for the face net itself.
        stem: channels of the stem.
        stages: (channels, hidden channels of the first block, residual blocks) of each stage.
    """

    def __init__(self, input_channels: int = 3, stem: int = 128, stages: Stages = STAGES) -> None:
        super().__init__()
        if len(stages) != 3 or stem % 2:
            raise ValueError(f"a trunk has an even stem and three stages, not {stem} and {stages}")
        self.stem = nn.Sequential(
            ConvPReLU(input_channels, stem, 3, stride=2),
            ConvPReLU(stem, stem, 3, groups=stem // 2),
        )
        self.stages = nn.ModuleList()
        width = stem
        for channels, hidden, blocks in stages:
            stage = nn.Sequential(Bottleneck(width, hidden, channels, 2))
            for _ in range(blocks):
                stage.append(Bottleneck(channels, channels, channels, 1))
            self.stages.append(stage)
            width = channels
        self.channels: tuple[int, ...] = tuple(channels for channels, _, _ in stages)
        """Channels of the three features."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 4, 8 and 16.

        Args:
            x: (N, input_channels, H, W), RGB in [-1, 1] for photographs; H, W multiples of 16.

        Returns:
            (N, 128, H/4, W/4), (N, 256, H/8, W/8) and (N, 256, H/16, W/16) with the default stages.

        Raises:
            ValueError: the height or the width is not a multiple of 16.
        """
        if x.shape[-2] % 16 or x.shape[-1] % 16:
            raise ValueError(f"height and width must be multiples of 16, not {tuple(x.shape[-2:])}")
        # Depthwise and 1x1 convolutions in turn: on a CPU this layout takes half the time.
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        quarter: Tensor = self.stages[0](x)
        eighth: Tensor = self.stages[1](quarter)
        sixteenth: Tensor = self.stages[2](eighth)
        return quarter, eighth, sixteenth

    def forward(self, x: Tensor) -> Tensor:
        """The features at stride 16 alone."""
        return self.features(x)[-1]


class MobileFaceNet(nn.Module):
    """The trunk and a linear layer over the whole image.

    Args:
        trunk: its features at stride 16 are read.
        head: channels of the first 1x1 convolution of the head.
        squeeze: channels of the second, which the linear layer reads.
        embedding: numbers in an embedding.
        size: height and width of the images.
    """

    def __init__(
        self,
        trunk: MobileFaceTrunk,
        head: int = 512,
        squeeze: int = 64,
        embedding: int = 512,
        size: int = 112,
    ) -> None:
        super().__init__()
        self.size = size
        self.trunk = trunk
        self.head = nn.Sequential(
            ConvPReLU(trunk.channels[-1], head, 1), ConvPReLU(head, squeeze, 1)
        )
        self.embed = nn.Linear(squeeze * (size // 16) ** 2, embedding)
        self.norm = nn.BatchNorm1d(embedding)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at strides 4, 8 and 16 of images of any size: `MobileFaceTrunk.features`."""
        return self.trunk.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Embed aligned faces (N, 3, size, size), RGB in [-1, 1]: (N, embedding), of any length.

        Raises:
            ValueError: the images have another size.
        """
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"faces must be {self.size}x{self.size}, not {x.shape[-2]}x{x.shape[-1]}"
            )
        out: Tensor = self.norm(self.embed(self.head(self.trunk(x)).flatten(1)))
        return out
