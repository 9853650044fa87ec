"""StyleGAN2 (Karras et al. 2020) with skip connections to RGB, in plain PyTorch.

Equal to the published networks (config-f and ADA's variants) up to rounding, on any device, with no
custom kernel: see `nn.modulated` and `nn.fir` for the identities that replace them, and `nn.rows`
for how the high resolutions run on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators.base import Generator, Noise, draw_noise
from wplus.nn import rows
from wplus.nn.equalized import EqualizedLinear
from wplus.nn.fir import blur, blur_weight, upsample2x
from wplus.nn.modulated import EPSILON, demodulation, per_channel, wide

SLOPE = 0.2
GAIN = math.sqrt(2.0)  # keeps the variance through the leaky ReLU
WHOLE_BYTES = 12 * 2**20  # layers below this size are computed whole: they stay in the cache


class Mapping(nn.Module):
    """z -> w: pixel norm, then fully connected layers at a hundredth of the learning rate."""

    def __init__(self, style_dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualizedLinear(style_dim, style_dim, lr_mul=0.01) for _ in range(num_layers)
        )

    def forward(self, z: Tensor) -> Tensor:
        """(N, style_dim) -> (N, style_dim)."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * GAIN
        return x


class StyledConv(nn.Module):
    """Modulated 3×3 convolution, noise, bias and leaky ReLU; with `upsample`, doubling first.

    Args:
        in_channels, out_channels: of the activations.
        style_dim: length of w.
        resolution: of the output, for the stored noise map.
        upsample: double the resolution (transposed convolution, then blur).
        clamp: limit of |activation|, as networks trained in half precision have it.
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
        style = self.affine(w) * self.scale
        gain = demodulation(self.weight, style) * GAIN
        x = x * per_channel(style, x)
        if self.upsample:
            x = blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * per_channel(gain, x) + (self.bias * GAIN)[None, :, None, None].to(x.dtype)
        return self.activate(x, noise)

    def activate(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Noise and leaky ReLU, in place; the gain √2 is already in `x`."""
        if noise is not None:
            x = x.add_((noise * (self.noise_strength * GAIN)).to(x.dtype))
        x = F.leaky_relu_(x, SLOPE)
        return x if self.clamp is None else x.clamp_(-self.clamp, self.clamp)

    def folded(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """For one sample: the weight with both scales, the demodulation and √2 in it, and the bias.

        Args:
            w: (1, style_dim).

        Returns:
            (out, in, 3, 3) and (out,), of the type of the parameters.
        """
        style = self.affine(w) * self.scale
        weight = wide(self.weight) * wide(style)[0, None, :, None, None]
        energy = weight.square().sum(dim=(1, 2, 3), keepdim=True)
        weight *= torch.rsqrt(energy + EPSILON) * GAIN
        return weight.to(self.weight.dtype), self.bias * GAIN


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
        style = self.affine(w) * self.scale
        if x.shape[0] == 1:
            rgb = F.conv2d(x, self.weight * per_channel(style, self.weight))
        else:
            rgb = F.conv2d(x * per_channel(style, x), self.weight)
        rgb = wide(rgb) + wide(self.bias)[None, :, None, None]
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

    def bands(
        self, x: Tensor, rgb: Tensor, codes: Tensor, noises: Sequence[Tensor | None]
    ) -> rows.Bands:
        """The same for one sample without gradients, a band of rows at a time.

        Yields the activations as (first, end, rows); `rgb`, already of this resolution, is added
        to in place.
        """
        size = self.resolution
        up_weight, up_bias = self.up.folded(codes[:, 0])
        up_weight = up_weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        weight, bias = self.conv.folded(codes[:, 1])
        weight = weight.contiguous(memory_format=torch.channels_last)
        fir = blur_weight(self.out_channels, weight).contiguous()
        for first, end in rows.bands(size, self.out_channels * size * x.element_size()):
            above, below = int(first == 0), int(end == size)
            low, high = first - 1 + above, end + 1 - below
            slab = rows.up_convolution_rows(x, up_weight, fir, up_bias, low, high)
            slab = self.up.activate(slab, rows.cut(noises[0], low, high))
            slab = rows.convolution_rows(slab, weight, bias, above, below)
            slab = self.conv.activate(slab, rows.cut(noises[1], first, end))
            rgb[:, :, first:end] += self.to_rgb(slab, codes[:, 2])
            yield first, end, slab


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
        self.mapping = Mapping(style_dim, mapping_layers)
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

    def synthesize(
        self, codes: Tensor, noise: Noise = "fixed", rng: torch.Generator | None = None
    ) -> Tensor:
        """See `Generator.synthesize`."""
        codes = self.broadcast(codes)
        lean = codes.device.type == "cpu" and not self.needs_graph(codes)
        if lean and len(codes) > 1:
            # Sample by sample the activations stay in the cache; a batch gains nothing here.
            return torch.cat([self.synthesize(code[None], noise, rng) for code in codes])
        x = self.constant.expand(len(codes), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x, codes[:, 0], self._noise(self.stem, x, noise, rng))
        rgb = self.stem_rgb(x, codes[:, 1])
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            styles = codes[:, 2 * i + 1 : 2 * i + 4]
            noises = [self._noise(layer, x, noise, rng) for layer in (block.up, block.conv)]
            size = block.out_channels * block.resolution**2 * x.element_size()
            if lean and size > WHOLE_BYTES:
                rgb = upsample2x(rgb)
                bands = block.bands(x, rgb, styles, noises)
                if block.resolution == self.resolution:
                    for _ in bands:  # the largest activations are only needed for the image
                        pass
                else:
                    x = rows.collect(bands, block.resolution)
            else:
                x, rgb = block(x, rgb, styles, noises)
        return rgb

    @staticmethod
    def _noise(
        layer: StyledConv, x: Tensor, noise: Noise, rng: torch.Generator | None
    ) -> Tensor | None:
        if noise == "fixed":
            return layer.noise
        if noise == "none":
            return None
        if noise != "random":
            raise ConfigError(f"noise {noise!r} is none of: fixed, random, none")
        return draw_noise((len(x), 1, layer.resolution, layer.resolution), x, rng)
