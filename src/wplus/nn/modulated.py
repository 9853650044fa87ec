"""Modulated convolution (StyleGAN2, equations 1-3) without a grouped convolution over the batch.

    w'[o,i,k] = s[i] · w[o,i,k]            modulation
    w''       = w' / √(Σ_{i,k} w'² + ε)    demodulation, per output channel o

Convolution is linear, so per-sample weights are never needed: scale the input by s, convolve once
with the shared w, scale the output by d = rsqrt(s² · Σ_k w² + ε). For a single sample both scales
can instead go into the weight, which saves two passes over the activations; that pays where the
weight is smaller than the activations, at the high resolutions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-8
SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2.0)  # keeps the variance through the leaky ReLU


def demodulation(weight: Tensor, style: Tensor) -> Tensor:
    """The factor d of every output channel.

    Args:
        weight: (out, in, k, k), as it is used (equalized scale included).
        style: (N, in).

    Returns:
        (N, out), in float32 at least.
    """
    energy = to_float32(weight).square().sum(dim=(2, 3))  # (out, in)
    return torch.rsqrt(to_float32(style).square() @ energy.t() + EPSILON)


def to_float32(x: Tensor) -> Tensor:
    """At least float32: half-precision types have no room for sums of squares or of images."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """(N, C) -> (N, C, 1, 1) of the type of `like`."""
    return values.to(like.dtype)[:, :, None, None]
