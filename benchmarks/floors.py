"""The floor of a decoder: its convolutions and nothing else.

Channels-last, weights ready, every layer whole, outputs dropped: no modulation, blur, noise,
activation, skip image or Haar transform. (A decoder that works in bands can fall below it, because
fresh memory for whole outputs has a cost of its own.)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.generators import MobileStyleGAN, StyleGAN2, mobile, stylegan2


class Floor:
    """Convolutions to be run one after the other.

    Attributes:
        gmac: multiplications of all of them, in 10⁹.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.gmac = 0.0
        self._jobs: list[Callable[[], Tensor]] = []

    def add(self, weight: Tensor, size: int, up: bool = False) -> None:
        """A convolution of `weight` (out, in or 1, k, k) over a random input of `size`²."""
        out, inner, taps, _ = weight.shape
        self.gmac += weight.numel() * size * size / 1e9
        groups = out if inner == 1 else 1
        weight = weight.transpose(0, 1) if up else weight
        weight = weight.to(self.dtype).contiguous(memory_format=torch.channels_last)
        x = torch.randn(1, inner * groups, size, size).to(self.dtype)
        x = x.to(memory_format=torch.channels_last)
        if up:
            self._jobs.append(lambda: F.conv_transpose2d(x, weight, stride=2))
        else:
            self._jobs.append(lambda: F.conv2d(x, weight, padding=taps // 2, groups=groups))

    def __call__(self) -> None:
        """Run them all."""
        for job in self._jobs:
            job()


def of_stylegan2(generator: StyleGAN2, dtype: torch.dtype) -> Floor:
    """Every 3×3 convolution (74 GMAC at 1024²)."""
    floor = Floor(dtype)
    floor.add(generator.stem.weight, 4)
    for block in generator.blocks:
        assert isinstance(block, stylegan2.Block)
        floor.add(block.up.weight, block.resolution // 2, up=True)
        floor.add(block.conv.weight, block.resolution)
    return floor


def of_mobilestylegan(generator: MobileStyleGAN, dtype: torch.dtype) -> Floor:
    """Every depthwise 3×3 and every pointwise convolution."""
    floor = Floor(dtype)
    floor.add(generator.stem.weight, 4)
    for block in generator.blocks:
        assert isinstance(block, mobile.Block)
        for conv in (block.conv1, block.conv2):
            floor.add(conv.depthwise, block.resolution)
            floor.add(conv.pointwise, block.resolution)
    floor.add(generator.to_image.weight, generator.resolution // 2)
    return floor
