"""The generators read off the papers: slow, plain, and with nothing of the package in it.

Both take a state dict under our names and do everything per sample: modulated weights in a grouped
convolution, filters by zero insertion, the wavelet transform by transposed convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]


def mapping(state: State, z: Tensor, lr_mul: float | None = 0.01) -> Tensor:
    """z to w; `lr_mul` None where the scale of the weights is folded into them."""
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    i = 0
    while f"mapping.layers.{i}.weight" in state:
        weight, bias = state[f"mapping.layers.{i}.weight"], state[f"mapping.layers.{i}.bias"]
        if lr_mul is not None:
            weight, bias = weight * lr_mul / math.sqrt(weight.shape[1]), bias * lr_mul
        x = x @ weight.t() + bias
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
        i += 1
    return x


def stylegan2(
    state: State,
    codes: Tensor,
    noises: list[Tensor] | None = None,
    clamp: float = math.inf,
) -> Tensor:
    """Codes (N, L, style_dim) to images, with the given noise maps or the stored ones."""
    names = ["stem"]
    while f"blocks.{len(names) // 2}.up.weight" in state:
        names += [f"blocks.{len(names) // 2}.{part}" for part in ("up", "conv")]
    noises = [state[f"{name}.noise"] for name in names] if noises is None else noises
    count = len(codes)

    def layer(x: Tensor, index: int, style: int) -> Tensor:
        name = names[index]
        x = _modulated(state, name, x, codes[:, style], up=name.endswith("up"), demodulate=True)
        x = x + noises[index] * state[f"{name}.noise_strength"]
        x = x + state[f"{name}.bias"].view(1, -1, 1, 1)
        return (torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)).clamp(-clamp, clamp)

    def color(x: Tensor, name: str, style: int) -> Tensor:
        rgb = _modulated(state, name, x, codes[:, style], up=False, demodulate=False)
        return (rgb + state[f"{name}.bias"].view(1, -1, 1, 1)).clamp(-clamp, clamp)

    x = layer(state["constant"].repeat(count, 1, 1, 1), 0, 0)
    image = color(x, "stem_rgb", 1)
    for i in range(len(names) // 2):
        x = layer(x, 2 * i + 1, 2 * i + 1)
        x = layer(x, 2 * i + 2, 2 * i + 2)
        image = _filtered(_spread(image), 2, 1) + color(x, f"blocks.{i}.to_rgb", 2 * i + 3)
    return image


def _modulated(state: State, name: str, x: Tensor, w: Tensor, up: bool, demodulate: bool) -> Tensor:
    affine, weight = state[f"{name}.affine.weight"], state[f"{name}.weight"]
    style = w @ affine.t() / math.sqrt(affine.shape[1]) + state[f"{name}.affine.bias"]
    out, channels, kernel = weight.shape[:3]
    weight = weight / math.sqrt(channels * kernel**2) * style[:, None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    count, size = len(x), x.shape[-1]
    if up:  # a transposed convolution is a convolution of the spread input, with the weight turned
        x, weight = F.pad(_spread(x), (2, 1, 2, 1)), weight.flip((3, 4))
    elif kernel == 3:
        x = F.pad(x, (1, 1, 1, 1))
    x = x.reshape(1, count * channels, *x.shape[2:])
    x = F.conv2d(x, weight.reshape(count * out, channels, kernel, kernel), groups=count)
    x = x.reshape(count, out, *x.shape[2:])
    if up:
        assert x.shape[-1] == 2 * size + 1
        x = _filtered(x, 1, 1)
    return x


def _spread(x: Tensor) -> Tensor:
    """A zero after every pixel."""
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    out[:, :, ::2, ::2] = x
    return out


def _filtered(x: Tensor, before: int, after: int) -> Tensor:
    """The filter [1, 3, 3, 1] in both directions, of sum 4."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = (taps[:, None] * taps / 16).flip((0, 1)).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, groups=x.shape[1])


def mobilestylegan(state: State, codes: Tensor, noises: list[Tensor] | None = None) -> Tensor:
    """Codes (N, L, style_dim) to images, with the given noise maps or the stored ones."""
    names = ["stem"]
    while f"blocks.{len(names) // 2}.up_affine.weight" in state:
        names += [f"blocks.{len(names) // 2}.{part}" for part in ("conv1", "conv2")]
    noises = [state[f"{name}.noise"] for name in names] if noises is None else noises

    def style(name: str, index: int) -> Tensor:
        values = codes[:, index] @ state[f"{name}.weight"].t() + state[f"{name}.bias"]
        return values[:, :, None, None]

    def finish(x: Tensor, index: int) -> Tensor:
        x = x + noises[index] + state[f"{names[index]}.bias"].view(1, -1, 1, 1)
        return torch.where(x > 0, x, 0.2 * x)

    x = state["constant"] * style("stem.affine", 0)
    x = finish(F.conv2d(x, state["stem.weight"], padding=1), 0)
    for i in range(len(names) // 2):
        x = wavelet(x * style(f"blocks.{i}.up_affine", 3 * i + 1))
        for j in (1, 2):
            name = f"blocks.{i}.conv{j}"
            x = x * style(f"{name}.affine", 3 * i + 1 + j)
            x = F.conv2d(x, state[f"{name}.depthwise"], padding=1, groups=x.shape[1])
            x = finish(F.conv2d(x, state[f"{name}.pointwise"]), 2 * i + j)
    x = x * style("to_image.affine", codes.shape[1] - 1)
    x = F.conv2d(x, state["to_image.weight"]) + state["to_image.bias"].view(1, -1, 1, 1)
    return wavelet(x)


def wavelet(x: Tensor) -> Tensor:
    """Sub-bands (low, vertical, horizontal, diagonal detail) to a picture of twice the size."""
    parts = x.chunk(4, 1)
    rows = [_doubled(parts[2 * i], parts[2 * i + 1], 2) for i in (0, 1)]
    return _doubled(rows[0], rows[1], 3)


def _doubled(low: Tensor, high: Tensor, axis: int) -> Tensor:
    shape, stride = ((2, 1), (2, 1)) if axis == 2 else ((1, 2), (1, 2))
    channels = low.shape[1]
    even = torch.full((channels, 1, *shape), math.sqrt(0.5), dtype=low.dtype)
    odd = even.clone().flatten(1)
    odd[:, 1] *= -1
    odd = odd.view_as(even)
    return F.conv_transpose2d(low, even, stride=stride, groups=channels) + F.conv_transpose2d(
        high, odd, stride=stride, groups=channels
    )
