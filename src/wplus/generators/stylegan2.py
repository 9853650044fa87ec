"""StyleGAN2 (Karras et al. 2020) with skip connections to RGB, in plain PyTorch.

Equal to the published networks (config-f and ADA's variants) up to rounding, on any device, with no
custom kernel: see `nn.modulated` and `nn.fir` for the identities that replace them, and `nn.rows`
for how the high resolutions run on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators.base import Corrections, Generator, Noise, corrected, one_by_one
from wplus.nn import rows
from wplus.nn.equalized import EqualizedLinear
from wplus.nn.fir import blur, blur_weight, upsample2x
from wplus.nn.modulated import EPSILON, demodulation, per_channel, wide

SLOPE = 0.2
GAIN = math.sqrt(2.0)  # keeps the variance through the leaky ReLU
WHOLE_BYTES = 12 * 2**20  # layers below this size are computed whole: they stay in the cache
KEPT_BYTES = 40 * 2**20  # above it, what gradients need is computed anew instead of being kept


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


class _ForRows(NamedTuple):
    weight: Tensor  # (out, in, 3, 3)
    bias: Tensor | None  # (out,), where the scales are folded into the weight; else:
    style: Tensor | None = None  # (1, in, 1, 1), scale of the input
    gain: Tensor | None = None  # (1, out, 1, 1), scale of the output
    shift: Tensor | None = None  # (1, out, 1, 1), the bias


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
        weight = weight * (torch.rsqrt(energy + EPSILON) * GAIN)
        return weight.to(self.weight.dtype), self.bias * GAIN

    def for_rows(self, w: Tensor, fold: bool) -> _ForRows:
        """What a band of rows of one sample needs, with the scales `fold`ed into the weight or not.

        Without gradients folding is cheapest; with them it is not, since the gradient of a folded
        weight costs a convolution more.
        """
        if fold:
            return _ForRows(*self.folded(w))
        style, gain = (per_channel(scale, self.weight) for scale in self.scales(w))
        shift = per_channel((self.bias * GAIN)[None], self.weight)
        return _ForRows(self.weight, None, style, gain, shift)


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
        rgb = wide(rgb) + wide(bias)[None, :, None, None]
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

    def in_bands(
        self,
        x: Tensor,
        rgb: Tensor,
        codes: Tensor,
        noises: Sequence[Tensor | None],
        last: bool,
    ) -> tuple[Tensor, Tensor]:
        """The same for one sample and frozen weights, a band of rows at a time.

        With `last`, the activations are not kept, and the first result is `x` as it came.
        """
        size, height = self.resolution, x.shape[2]
        # Without gradients the scales go into the weights. With them they go to the activations:
        # the gradient of a folded weight would be a convolution more.
        fold = not (torch.is_grad_enabled() and (x.requires_grad or codes.requires_grad))
        up, conv = self.up.for_rows(codes[:, 0], fold), self.conv.for_rows(codes[:, 1], fold)
        up_weight = up.weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        weight = conv.weight.contiguous(memory_format=torch.channels_last)
        fir = blur_weight(self.out_channels, weight).contiguous()

        def run(
            band: rows.Band,
            slab: Tensor,
            up_style: Tensor | None,
            up_gain: Tensor | None,
            up_noise: Tensor | None,
            style: Tensor | None,
            gain: Tensor | None,
            noise: Tensor | None,
            rgb_weight: Tensor,
        ) -> tuple[Tensor, ...]:
            above, below = int(band.first == 0), int(band.end == size)
            low, high = band.first - 1 + above, band.end + 1 - below
            slab = _scaled(slab, up_style)
            slab = rows.up_convolution_rows(slab, up_weight, fir, up.bias, low, high, height)
            slab = _scaled(slab, up_gain, up.shift)
            slab = self.up.activate(slab, rows.cut(up_noise, low, high))
            slab = _scaled(slab, style)
            slab = rows.convolution_rows(slab, weight, conv.bias, above, below)
            slab = _scaled(slab, gain, conv.shift)
            slab = self.conv.activate(slab, rows.cut(noise, band.first, band.end))
            image = self.to_rgb.finish(F.conv2d(slab, rgb_weight), self.to_rgb.bias)
            return (image,) if last else (image, slab)

        bytes_per_row = self.out_channels * size * x.element_size()
        plan = []
        for first, end in rows.cuts(size, bytes_per_row):
            source = rows.up_source_rows(max(0, first - 1), min(size, end + 1), height)
            plan.append(rows.Band(first, end, *source))
        image, *kept = rows.banded(
            run,
            plan,
            x,
            up.style,
            up.gain,
            self.up.scaled(noises[0]),
            conv.style,
            conv.gain,
            self.conv.scaled(noises[1]),
            self.to_rgb.folded(codes[:, 2]),
            keep=bytes_per_row * size <= KEPT_BYTES,
        )
        return (kept[0] if kept else x), upsample2x(rgb) + image


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
        # The last features are not kept, and a correction of them would come too late.
        self.feature_channels = {size: channels(size) for size in sizes[:-1]}

    def synthesize(
        self,
        codes: Tensor,
        noise: Noise = "fixed",
        rng: torch.Generator | None = None,
        corrections: Corrections | None = None,
    ) -> Tensor:
        """See `Generator.synthesize`."""
        codes, corrections = self.broadcast(codes), corrections or {}
        self.check_features(len(codes), corrections)
        if not len(codes):
            return codes.new_zeros((0, 3, self.resolution, self.resolution), dtype=torch.float32)
        if self.runs_banded(codes) and len(codes) > 1:
            # Sample by sample the activations stay in the cache; a batch gains nothing here.
            singles = one_by_one(codes, corrections)
            return torch.cat([self.synthesize(code, noise, rng, own) for code, own in singles])
        maps = self.noise_maps(len(codes), noise, rng)
        *_, (_, rgb) = self._levels(codes, maps, corrections)
        return rgb

    def pyramid(
        self,
        codes: Tensor,
        resolutions: Iterable[int],
        noise: Noise = "fixed",
        corrections: Corrections | None = None,
    ) -> dict[int, Tensor]:
        """See `Generator.pyramid`."""
        codes, corrections, wanted = self.broadcast(codes), corrections or {}, set(resolutions)
        self.check_features(len(codes), corrections, *wanted)
        if self.runs_banded(codes) and len(codes) > 1:
            singles = [
                self.pyramid(code, wanted, noise, own)
                for code, own in one_by_one(codes, corrections)
            ]
            return {size: torch.cat([single[size] for single in singles]) for size in wanted}
        maps, found = self.noise_maps(len(codes), noise, None), {}
        for size, (x, _) in zip(
            self.feature_channels, self._levels(codes, maps, corrections, max(wanted, default=0))
        ):
            if size in wanted:
                found[size] = x
        return found

    def _levels(
        self,
        codes: Tensor,
        maps: list[Tensor | None],
        corrections: Corrections,
        highest: int | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and image of each resolution, up to the highest that is wanted."""
        x = self.constant.expand(len(codes), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.stem(x, codes[:, 0], maps[0])
        rgb: Tensor = self.stem_rgb(x, codes[:, 1])
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if highest is not None and block.resolution > highest:
                return
            styles = codes[:, 2 * i + 1 : 2 * i + 4]
            noises = maps[2 * i + 1 : 2 * i + 3]
            size = block.out_channels * block.resolution**2 * x.element_size()
            if self.runs_banded(codes) and size > WHOLE_BYTES:
                last = block.resolution == self.resolution
                x, rgb = block.in_bands(x, rgb, styles, noises, last)
            else:
                x, rgb = block(x, rgb, styles, noises)
            x = corrected(x, corrections)
            yield x, rgb


def _scaled(x: Tensor, scale: Tensor | None, shift: Tensor | None = None) -> Tensor:
    if scale is None:
        return x
    return x * scale if shift is None else torch.addcmul(shift, x, scale)
