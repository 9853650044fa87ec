"""Depthwise convolution whose gradients are fast on a CPU.

PyTorch's own gradient of a depthwise weight takes up to a hundred times as long there as the
convolution itself. Here it is one product and sum for each tap of the kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        size, pad = weight.shape[-1], weight.shape[-1] // 2
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = F.conv2d(grad, weight.flip(2, 3), padding=pad, groups=x.shape[1])
        if ctx.needs_input_grad[1]:
            padded, rows = F.pad(x, (pad,) * 4).permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
            _, height, width, _ = rows.shape
            taps = [
                (padded[:, i : i + height, j : j + width] * rows).sum((0, 1, 2))
                for i in range(size)
                for j in range(size)
            ]
            of_weight = torch.stack(taps, 1).view_as(weight)
        return of_x, of_weight


def depthwise(x: Tensor, weight: Tensor) -> Tensor:
    """Each channel of (N, C, H, W) with its own kernel of (C, 1, k, k), k odd, zeros around."""
    result: Tensor = _Depthwise.apply(x, weight)  # type: ignore[no-untyped-call]
    return result
