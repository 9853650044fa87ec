"""Weights in 8 bits: a quarter of the file, one scale for each output channel.

w ≈ scale · q with q in -127 … 127, scale the largest |w| of the channel over 127: each weight is
off by at most half a scale. Biases and small tensors are stored in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SUFFIX = "|scale"
SMALLEST = 4096  # numbers; below, the file gains nothing


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored.

    Args:
        state: floating tensors are packed, others stay.

    Returns:
        For each large matrix or kernel (out, …) an int8 tensor of its name and (out,) float32
        scales under the name + `SUFFIX`; what is small as `half` has it.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not value.is_floating_point():
            packed[name] = value
        elif value.ndim < 2 or value.numel() < SMALLEST:
            packed[name] = half(value)
        else:
            rows = value.float().flatten(1)
            scale = (rows.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
            packed[name] = (rows / scale[:, None]).round().to(torch.int8).view(value.shape)
            packed[name + SUFFIX] = scale
    return packed


def half(value: Tensor) -> Tensor:
    """In float16; in float32 if a number is too large for that."""
    short = value.detach().half()
    return short if bool(short.isfinite().all()) else value.detach().float()


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, in float32; tensors that are not packed stay as they are.

    Raises:
        ValueError: scales do not fit their tensor.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(SUFFIX):
            continue
        scale = state.get(name + SUFFIX)
        if scale is None:
            found[name] = value
            continue
        if value.dtype != torch.int8 or value.ndim < 1 or scale.shape != value.shape[:1]:
            raise ValueError(f"the scales of {name} do not fit it")
        found[name] = value.float() * scale.float().view(-1, *(1,) * (value.ndim - 1))
    lost = sorted(
        name for name in state if name.endswith(SUFFIX) and name.removesuffix(SUFFIX) not in state
    )
    if lost:
        raise ValueError(f"{lost[0]} has no tensor")
    return found
