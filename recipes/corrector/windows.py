"""A window of MobileStyleGAN from its features at 64² on, with gradients: a fraction of the whole.

Losses that look at a window need no more than it: a window of 32 cells of the features takes a
sixth of the time of all 64, whose activations leave the processor's cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.generators import MobileStyleGAN
from wplus.generators.mobile import Block, SeparableConv
from wplus.nn.depthwise import depthwise
from wplus.nn.haar import inverse_haar
from wplus.nn.modulated import per_channel

CELLS = 64  # side of the features in cells
FIRST = 4  # index of the block at 128²
BLUR = 2  # cells at an inner side of a window that zeros around it spoil


@dataclass(frozen=True)
class Window:
    """A square of cells, from (top, left) up to (bottom, right)."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, x: Tensor) -> Tensor:
        """The window of (N, C, S, S) of the whole image, whatever S."""
        k = x.shape[-1] // CELLS
        rows, columns = slice(self.top * k, self.bottom * k), slice(self.left * k, self.right * k)
        return x[:, :, rows, columns].contiguous(memory_format=torch.channels_last)

    def shrunk(self, margin: int) -> Window:
        """Smaller by a margin on sides that are not the image's."""
        return Window(
            self.top + margin * (self.top > 0),
            self.left + margin * (self.left > 0),
            self.bottom - margin * (self.bottom < CELLS),
            self.right - margin * (self.right < CELLS),
        )

    def inside(self, outer: Window, x: Tensor) -> Tensor:
        """The window out of (N, C, h, w) that shows `outer`."""
        k = x.shape[-1] // (outer.right - outer.left)
        rows = slice((self.top - outer.top) * k, (self.bottom - outer.top) * k)
        columns = slice((self.left - outer.left) * k, (self.right - outer.left) * k)
        return x[:, :, rows, columns].contiguous(memory_format=torch.channels_last)


def block(model: MobileStyleGAN, index: int, x: Tensor, codes: Tensor, window: Window) -> Tensor:
    """Block `index` on a window of what comes before it."""
    part = model.blocks[index]
    assert isinstance(part, Block)
    styles = codes[:, 3 * index + 1 : 3 * index + 4]
    x = inverse_haar(x * per_channel(part.up_affine(styles[:, 0]) * 0.5, x))
    x = _convolve(part.conv1, x, styles[:, 1], window)
    return _convolve(part.conv2, x, styles[:, 2], window)


def _convolve(conv: SeparableConv, x: Tensor, style: Tensor, window: Window) -> Tensor:
    x = depthwise(x * per_channel(conv.affine(style), x), conv.depthwise)
    x = F.conv2d(x, conv.pointwise, conv.bias) + window.cut(conv.noise)
    return F.leaky_relu(x, 0.2)


def decode(model: MobileStyleGAN, fine: Tensor, codes: Tensor, window: Window) -> Tensor:
    """The image of a window of the features at 128², at full size."""
    x = block(model, FIRST + 1, fine, codes, window)
    x = block(model, FIRST + 2, x, codes, window)
    head = model.to_image
    x = x * per_channel(head.affine(codes[:, -1]), x)
    return inverse_haar(F.conv2d(x, head.weight, head.bias).float() * 0.5)
