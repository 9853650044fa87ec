"""ResNet with bottleneck blocks (He et al. 2015) up to its mean features; MoCo v2 has 50 layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

BLOCKS_50: Sequence[int] = (3, 4, 6, 3)
EXPANSION = 4


class ConvNorm(nn.Module):
    """Convolution that keeps the size (but for its stride) and batch norm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, stride, padding=kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.norm(self.conv(x))
        return out


class Block(nn.Module):
    """1x1 to `width` channels, 3x3 with the stride, 1x1 to 4 x `width`; ReLU after the sum."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        channels = EXPANSION * width
        self.reduce = ConvNorm(in_channels, width, 1)
        self.spread = ConvNorm(width, width, 3, stride)
        self.expand = ConvNorm(width, channels, 1)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ConvNorm(in_channels, channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, 4 x width, ceil(H / stride), ceil(W / stride))."""
        residual: Tensor = self.expand(self.spread(self.reduce(x).relu()).relu())
        return (residual + (x if self.shortcut is None else self.shortcut(x))).relu()


class ResNet(nn.Module):
    """Stem, stages of blocks, mean over the image.

    Args:
        blocks: of each stage; every stage but the first halves the resolution.
        width: inner channels of the first stage; they double from stage to stage.
        input_channels: of the images.
    """

    def __init__(
        self, blocks: Sequence[int] = BLOCKS_50, width: int = 64, input_channels: int = 3
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(input_channels, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        channels = width
        for s, count in enumerate(blocks):
            stage = nn.Sequential()
            for i in range(count):
                stage.append(Block(channels, width << s, 2 if s and not i else 1))
                channels = EXPANSION * (width << s)
            self.stages.append(stage)
        self.channels = channels
        """Length of an image's features."""

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, input_channels, H, W) to features (N, channels), not normalized."""
        x = self.pool(self.stem(x).relu())
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))
