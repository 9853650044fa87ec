"""StyleGAN2 (Karras et al. 2020) with skip connections to RGB, in plain PyTorch.

Equal to the published networks (config-f and ADA's variants) up to rounding, on any device, without
custom kernels: see `nn.modulated` and `nn.fir` for the identities that replace them, and `banded`
for the high resolutions on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators import banded
from wplus.generators.base import Corrections, Generator, corrected
from wplus.nn.equalized import EqualizedLinear
from wplus.nn.fir import blur, upsample2x
from wplus.nn.mapping import Mapping
from wplus.nn.modulated import GAIN, SLOPE, demodulation, per_channel, to_float32


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, noise, bias and leaky ReLU; with `upsample`, doubling first.

    Args:
        in_channels, out_channels: of the activations.
        style_dim: length of w.
        resolution: of the output, for the stored noise map.
        upsample: double the resolution (transposed convolution, then blur).
        clamp: limit of |activation|, for networks trained in half precision.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        resolution: int,
        upsample: bool = False,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))
        self.noise: Tensor
        self.scale = 1.0 / math.sqrt(in_channels * 9)
        self.resolution = resolution
        self.upsample = upsample
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """(N, in, H, W), (N, style_dim) -> (N, out, R, R) with R = `resolution`."""
        style, gain = self.scales(w)
        x = x * per_channel(style, x)
        if self.upsample:
            x = blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = torch.addcmul(per_channel((self.bias * GAIN)[None], x), x, per_channel(gain, x))
        return self.activate(x, self.scaled(noise))

    def scales(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Of the input's channels (N, in) and of the output's (N, out), √2 included."""
        style: Tensor = self.affine(w) * self.scale
        return style, demodulation(self.weight, style) * GAIN

    def scaled(self, noise: Tensor | None) -> Tensor | None:
        """The noise map at its strength, √2 included."""
        return None if noise is None else noise * (self.noise_strength * GAIN)

    def activate(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Add `scaled` noise and apply the leaky ReLU, in place; √2 is already in `x`."""
        if noise is not None:
            x = x.add_(noise.to(x.dtype))
        x = F.leaky_relu_(x, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to 3 channels, without demodulation."""

    def __init__(self, in_channels: int, style_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.scale = 1.0 / math.sqrt(in_channels)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, in, H, W), (N, style_dim) -> (N, 3, H, W) float32, as the sum over blocks needs."""
        if x.shape[0] == 1:
            return self.finish(F.conv2d(x, self.folded(w)), self.bias)
        style = self.affine(w) * self.scale
        return self.finish(F.conv2d(x * per_channel(style, x), self.weight), self.bias)

    def folded(self, w: Tensor) -> Tensor:
        """For one sample: the weight (3, in, 1, 1) with the style in it."""
        style: Tensor = self.affine(w) * self.scale
        return self.weight * per_channel(style, self.weight)

    def finish(self, rgb: Tensor, bias: Tensor) -> Tensor:
        """Bias and clamp, in float32."""
        rgb = to_float32(rgb) + to_float32(bias)[None, :, None, None]
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """One resolution: doubling convolution, convolution, and a contribution to the image."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        style_dim: int,
        resolution: int,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.up = StyledConv(in_channels, out_channels, style_dim, resolution, True, clamp)
        self.conv = StyledConv(out_channels, out_channels, style_dim, resolution, False, clamp)
        self.to_rgb = ToRGB(out_channels, style_dim, clamp)
        self.resolution = resolution
        self.out_channels = out_channels

    def forward(
        self, x: Tensor, rgb: Tensor, codes: Tensor, noises: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """Activations and image at half the resolution to both at this one.

        Args:
            x: (N, in, R/2, R/2).
            rgb: (N, 3, R/2, R/2) float32.
            codes: (N, 3, style_dim): the styles of `up`, `conv` and `to_rgb`.
            noises: the noise maps of `up` and `conv`, (1 or N, 1, R, R) or None.
        """
        x = self.up(x, codes[:, 0], noises[0])
        x = self.conv(x, codes[:, 1], noises[1])
        return x, upsample2x(rgb) + self.to_rgb(x, codes[:, 2])


class StyleGAN2(Generator):
    """The generator: mapping network and skip-connected synthesis network.

    Args:
        resolution: 2^k, from 8 up.
        style_dim: length of z and w.
        mapping_layers: depth of the mapping network (8; NVIDIA's "auto" configurations have 2).
        channel_base: channels at resolution r are min(channel_base / r, channel_max); 32768 is
            the paper's config-f (channel multiplier 2), 16384 half of it.
        channel_max: most channels of a layer.
        clamp: limit of |activation|, for networks that were trained with one.

    Raises:
        ConfigError: the resolution is not a power of two, or a count is not positive.
    """

    training_noise = "random"  # as published

    def __init__(
        self,
        resolution: int = 1024,
        style_dim: int = 512,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        if resolution < 8 or resolution & (resolution - 1):
            raise ConfigError(f"resolution {resolution} is not a power of two from 8 up")
        if min(style_dim, mapping_layers, channel_base // resolution, channel_max) < 1:
            raise ConfigError("style_dim, mapping_layers and channels must be at least 1")

        def channels(size: int) -> int:
            return min(channel_base // size, channel_max)

        self.resolution = resolution
        self.style_dim = style_dim
        self.mapping = Mapping(
            EqualizedLinear(style_dim, style_dim, lr_mul=0.01) for _ in range(mapping_layers)
        )
        self.constant = nn.Parameter(torch.randn(1, channels(4), 4, 4))
        self.stem = StyledConv(channels(4), channels(4), style_dim, 4, clamp=clamp)
        self.stem_rgb = ToRGB(channels(4), style_dim, clamp)
        sizes = [2**k for k in range(3, resolution.bit_length())]
        self.blocks = nn.ModuleList(
            Block(channels(size // 2), channels(size), style_dim, size, clamp) for size in sizes
        )
        self.register_buffer("mean_w", torch.zeros(style_dim))
        # Style 2i+1 colors block i's input image and block i's `up`: the image at one resolution
        # and the doubling to the next share a style, as published.
        self.style_resolutions = (4, 4, *(size for size in sizes for _ in (0, 1)))
        # The last features are not kept, and a correction of them would come too late.
        self.feature_channels = {size: channels(size) for size in sizes[:-1]}

    def levels(
        self,
        codes: Tensor,
        noises: Sequence[Tensor | None],
        corrections: Corrections,
        wanted: Set[int],
    ) -> dict[int, Tensor]:
        """See `Generator.levels`."""
        in_bands, found = self.runs_banded(codes), {}
        x = self.constant.expand(len(codes), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x, codes[:, 0], noises[0])
        rgb: Tensor = self.stem_rgb(x, codes[:, 1])
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            size = block.resolution
            if size > max(wanted, default=0):
                break
            inputs = x, rgb, codes[:, 2 * i + 1 : 2 * i + 4], noises[2 * i + 1 : 2 * i + 3]
            if in_bands and banded.activation_bytes(block, x) > banded.STYLEGAN2_BYTES:
                x, rgb = banded.stylegan2_block(block, *inputs, size < self.resolution)
            else:
                x, rgb = block(*inputs)
            x = corrected(x, corrections)
            if size in wanted:
                found[size] = rgb if size == self.resolution else x
        return found

    def style_affines(self) -> Iterator[tuple[int, nn.Module]]:
        """See `Generator.style_affines`."""
        yield from ((0, self.stem.affine), (1, self.stem_rgb.affine))
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            affines = (block.up.affine, block.conv.affine, block.to_rgb.affine)
            yield from enumerate(affines, 2 * i + 1)
