"""BiSeNet (Yu et al. 2018, arXiv 1808.00897), as trained for the parts of faces.

A ResNet-18 gives features at 1/8, 1/16 and 1/32 of the resolution. The two coarse ones are weighted
channel by channel, summed from coarse to fine with the mean of the whole image, and joined with
the features at 1/8, which replace the paper's spatial path. The two heads that only help
training are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus.nn.resnet import ConvNorm

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of the photographs of ImageNet in [0, 1]: the normalization of the ResNet's input."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride; ReLU after the sum (He et al. 2015)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, channels, 3, stride)
        self.second = ConvNorm(channels, channels, 3)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ConvNorm(in_channels, channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        residual: Tensor = self.second(self.first(x).relu())
        return (residual + (x if self.shortcut is None else self.shortcut(x))).relu()


class Refinement(nn.Module):
    """Features, their channels weighted by a gate of their mean (attention refinement)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.features = ConvNorm(in_channels, channels, 3)
        self.attention = ConvNorm(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        features: Tensor = self.features(x).relu()
        weight: Tensor = self.attention(features.mean((2, 3), keepdim=True)).sigmoid()
        return features * weight


class Fusion(nn.Module):
    """Fine and coarse features joined, plus a weighted copy of the result (feature fusion)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.features = ConvNorm(in_channels, channels, 1)
        self.squeeze = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.excite = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map two tensors, together (N, in_channels, H, W), to (N, channels, H, W)."""
        features: Tensor = self.features(torch.cat([fine, coarse], dim=1)).relu()
        mean = features.mean((2, 3), keepdim=True)
        weight: Tensor = self.excite(self.squeeze(mean).relu()).sigmoid()
        return features + features * weight


class BiSeNet(nn.Module):
    """Images to one score per class and pixel.

    Args:
        classes: number of classes.
        width: channels of the first stage of the ResNet; they double from stage to stage.
        blocks: of each of its four stages; (2, 2, 2, 2) is ResNet-18.
    """

    def __init__(
        self, classes: int = 19, width: int = 64, blocks: Sequence[int] = (2, 2, 2, 2)
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(3, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        channels = width
        for s, count in enumerate(blocks):
            stage = nn.Sequential()
            for i in range(count):
                stage.append(BasicBlock(channels, width << s, 2 if s and not i else 1))
                channels = width << s
            self.stages.append(stage)
        context = 2 * width
        self.whole = ConvNorm(channels, context, 1)
        self.refine_32 = Refinement(channels, context)
        self.refine_16 = Refinement(channels // 2, context)
        self.after_32 = ConvNorm(context, context, 3)
        self.after_16 = ConvNorm(context, context, 3)
        self.fusion = Fusion(2 * context, 2 * context)
        self.head = ConvNorm(2 * context, 2 * context, 3)
        self.scores = nn.Conv2d(2 * context, classes, 1, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB images (N, 3, H, W) in [-1, 1] to scores (N, classes, H, W).

        The sides should be multiples of 32; the published weights expect 512.
        """
        x = ((images + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("std")
        x = self.pool(self.stem(x).relu())
        quarter, eighth, sixteenth, thirty_second = self.stages
        at_8 = eighth(quarter(x))
        at_16 = sixteenth(at_8)
        at_32 = thirty_second(at_16)

        whole = self.whole(at_32.mean((2, 3), keepdim=True)).relu()
        coarse = self.refine_32(at_32) + whole
        coarse = functional.interpolate(coarse, at_16.shape[2:], mode="nearest")
        coarse = self.refine_16(at_16) + self.after_32(coarse).relu()
        coarse = functional.interpolate(coarse, at_8.shape[2:], mode="nearest")
        coarse = self.after_16(coarse).relu()

        scores = self.scores(self.head(self.fusion(at_8, coarse)).relu())
        # With aligned corners, as in training.
        return functional.interpolate(scores, images.shape[2:], mode="bilinear", align_corners=True)
