"""The inverse Haar transform, which doubles an image from four sub-bands (MobileStyleGAN, 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _InverseHaar(torch.autograd.Function):
    """The transform is orthogonal up to its factor, so its gradient is the forward transform."""

    @staticmethod
    def forward(ctx: Any, bands: Tensor) -> Tensor:
        count, channels, height, width = bands.shape
        out = _empty(bands, count, channels // 4, 2 * height, 2 * width)
        low, vertical, horizontal, diagonal = bands.chunk(4, dim=1)
        even, odd = low + vertical, low - vertical  # rows 2i and 2i + 1, mean of the two columns
        even_step, odd_step = horizontal + diagonal, horizontal - diagonal
        torch.add(even, even_step, out=out[:, :, 0::2, 0::2])
        torch.sub(even, even_step, out=out[:, :, 0::2, 1::2])
        torch.add(odd, odd_step, out=out[:, :, 1::2, 0::2])
        torch.sub(odd, odd_step, out=out[:, :, 1::2, 1::2])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        upper_left, upper_right = grad[:, :, 0::2, 0::2], grad[:, :, 0::2, 1::2]
        lower_left, lower_right = grad[:, :, 1::2, 0::2], grad[:, :, 1::2, 1::2]
        upper, upper_step = upper_left + upper_right, upper_left - upper_right
        lower, lower_step = lower_left + lower_right, lower_left - lower_right
        count, channels, height, width = grad.shape
        out = _empty(grad, count, 4 * channels, height // 2, width // 2)
        low, vertical, horizontal, diagonal = out.chunk(4, dim=1)
        torch.add(upper, lower, out=low)
        torch.sub(upper, lower, out=vertical)
        torch.add(upper_step, lower_step, out=horizontal)
        torch.sub(upper_step, lower_step, out=diagonal)
        return out


def _empty(like: Tensor, *shape: int) -> Tensor:
    layout = torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def inverse_haar(bands: Tensor) -> Tensor:
    """(N, 4·C, H, W) sub-bands -> (N, C, 2H, 2W), without the factor one half of the transform.

    The channels are low-low, then vertical, horizontal and diagonal detail, C of each; the caller
    puts the factor into a scale that it applies anyway.
    """
    result: Tensor = _InverseHaar.apply(bands)  # type: ignore[no-untyped-call]
    return result
