"""StyleGAN2 as its paper reads and as today's implementations run it on a CPU, for comparison.

Every sample gets its own modulated and demodulated weights, which a grouped convolution over the
batch applies; the filter [1, 3, 3, 1] is a 2-D convolution of single channels after zero insertion
(the fallback for custom kernels); activations are contiguous NCHW. It reads the tensors of our
`StyleGAN2`, so both compute the same image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def fir(x: Tensor, gain: float, up: int, pad: tuple[int, int]) -> Tensor:
    """Insert zeros, pad, and convolve with the 4×4 filter.

    Args:
        x: (N, C, H, W).
        gain: what the filter sums to.
        up: zeros go between pixels so that the picture grows this many times.
        pad: zeros before and after each axis.
    """
    count, channels, height, width = x.shape
    x = x.reshape(count * channels, 1, height, 1, width, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1))
    x = x.reshape(count * channels, 1, height * up, width * up)
    x = F.pad(x, (*pad, *pad))
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype)
    kernel = taps[:, None] * taps
    x = F.conv2d(x, (kernel * (gain / kernel.sum()))[None, None])
    return x.reshape(count, channels, *x.shape[2:])


class PlainStyleGAN2:
    """The synthesis network.

    Args:
        state: the state dict of our `StyleGAN2` (without a clamp), any floating type.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})

    def synthesize(self, codes: Tensor) -> Tensor:
        """(N, L, style_dim) -> (N, 3, R, R), with the stored noise maps."""
        codes = codes.to(self.state["constant"].dtype)
        x = self.state["constant"].repeat(len(codes), 1, 1, 1)
        x = self._styled("stem", x, codes[:, 0])
        image = self._to_rgb("stem_rgb", x, codes[:, 1])
        for i in range(self.depth):
            x = self._styled(f"blocks.{i}.up", x, codes[:, 2 * i + 1], up=True)
            x = self._styled(f"blocks.{i}.conv", x, codes[:, 2 * i + 2])
            image = fir(image, gain=4.0, up=2, pad=(2, 1))
            image = image + self._to_rgb(f"blocks.{i}.to_rgb", x, codes[:, 2 * i + 3])
        return image

    def _style(self, name: str, w: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.affine.weight"], self.state[f"{name}.affine.bias"]
        return F.linear(w, weight / math.sqrt(weight.shape[1]), bias)

    def _modulated(self, name: str, x: Tensor, w: Tensor, demodulate: bool, up: bool) -> Tensor:
        """Equations 1-3 as they stand: (N, in, H, W) -> (N, out, H or 2H, …)."""
        shared = self.state[f"{name}.weight"]
        out, inner, size, _ = shared.shape
        count, _, height, width = x.shape
        weight = shared[None] / math.sqrt(inner * size * size)
        weight = weight * self._style(name, w)[:, None, :, None, None]
        if demodulate:
            energy = weight.square().sum(dim=(2, 3, 4), keepdim=True)
            weight = weight * torch.rsqrt(energy + 1e-8)
        x = x.reshape(1, count * inner, height, width)
        if up:
            weight = weight.transpose(1, 2).reshape(count * inner, out, size, size)
            x = F.conv_transpose2d(x, weight, stride=2, groups=count)
            x = x.reshape(count, out, *x.shape[2:])
            return fir(x, gain=4.0, up=1, pad=(1, 1))
        weight = weight.reshape(count * out, inner, size, size)
        x = F.conv2d(x, weight, padding=size // 2, groups=count)
        return x.reshape(count, out, height, width)

    def _styled(self, name: str, x: Tensor, w: Tensor, up: bool = False) -> Tensor:
        x = self._modulated(name, x, w, demodulate=True, up=up)
        x = x + self.state[f"{name}.noise_strength"] * self.state[f"{name}.noise"]
        x = x + self.state[f"{name}.bias"][:, None, None]
        return F.leaky_relu(x, 0.2) * math.sqrt(2.0)

    def _to_rgb(self, name: str, x: Tensor, w: Tensor) -> Tensor:
        x = self._modulated(name, x, w, demodulate=False, up=False)
        return x + self.state[f"{name}.bias"][:, None, None]
