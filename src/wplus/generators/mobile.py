"""MobileStyleGAN (Belousov 2021, arXiv 2104.04767): a generator small enough for a laptop.

Its layers are depthwise-separable: a style scales the channels, a depthwise 3×3 and a pointwise
convolution follow. Demodulation is folded into the trained weights, doubling is an inverse Haar
transform, and only the last layer outputs an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators import banded
from wplus.generators.base import Corrections, Generator, corrected
from wplus.nn.haar import inverse_haar
from wplus.nn.mapping import Mapping
from wplus.nn.modulated import SLOPE, per_channel, to_float32


class SeparableConv(nn.Module):
    """Style scale, depthwise 3×3, pointwise convolution, noise, bias, leaky ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, resolution: int
    ) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, in_channels)
        self.depthwise = nn.Parameter(torch.randn(in_channels, 1, 3, 3) / 3)
        self.pointwise = nn.Parameter(
            torch.randn(out_channels, in_channels, 1, 1) / in_channels**0.5
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("noise", 0.1 * torch.randn(1, 1, resolution, resolution))
        self.noise: Tensor

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """(N, in, R, R), (N, style_dim) -> (N, out, R, R)."""
        return self.convolve(x * per_channel(self.affine(w), x), self.depthwise, (1, 1), noise)

    def convolve(
        self, x: Tensor, depthwise: Tensor, padding: tuple[int, int], noise: Tensor | None
    ) -> Tensor:
        """The two convolutions and the activation of a scaled input."""
        x = F.conv2d(x, depthwise, padding=padding, groups=x.shape[1])
        return activate(F.conv2d(x, self.pointwise, self.bias), noise)


def activate(x: Tensor, noise: Tensor | None) -> Tensor:
    """Noise and leaky ReLU, in place."""
    if noise is not None:
        x = x.add_(noise.to(x.dtype))
    return F.leaky_relu_(x, SLOPE)


class Stem(nn.Module):
    """The first layer: a full modulated 3×3 convolution at 4²."""

    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, channels)
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3) / (3 * channels**0.5))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", 0.1 * torch.randn(1, 1, 4, 4))
        self.noise: Tensor

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """(1 or N, C, 4, 4), (N, style_dim) -> (N, C, 4, 4)."""
        x = x * per_channel(self.affine(w), x)
        return activate(F.conv2d(x, self.weight, self.bias, padding=1), noise)


class Block(nn.Module):
    """One resolution: styled inverse Haar transform, then two separable convolutions."""

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, resolution: int
    ) -> None:
        super().__init__()
        self.up_affine = nn.Linear(style_dim, in_channels)
        self.conv1 = SeparableConv(in_channels // 4, out_channels, style_dim, resolution)
        self.conv2 = SeparableConv(out_channels, out_channels, style_dim, resolution)
        self.resolution = resolution
        self.out_channels = out_channels

    def up(self, x: Tensor, style: Tensor) -> Tensor:
        """(N, in, H, W) sub-bands, scaled by style (N, in), to (N, in / 4, 2H, 2W)."""
        return inverse_haar(x * per_channel(style * 0.5, x))

    def forward(self, x: Tensor, codes: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """(N, in, R/2, R/2) and codes (N, 3 or more, style_dim) to (N, out, R, R)."""
        x = self.up(x, self.up_affine(codes[:, 0]))
        x = self.conv1(x, codes[:, 1], noises[0])
        x = self.conv2(x, codes[:, 2], noises[1])
        return x


class ToImage(nn.Module):
    """Styled pointwise convolution to the four sub-bands of the image, and their transform."""

    def __init__(self, in_channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, in_channels)
        self.weight = nn.Parameter(torch.randn(12, in_channels, 1, 1) / in_channels**0.5)
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, in, H, W), (N, style_dim) -> (N, 3, 2H, 2W) float32."""
        if len(x) == 1:
            return self.finish(x, self.folded(w))
        return self.finish(x * per_channel(self.affine(w), x), self.weight)

    def folded(self, w: Tensor) -> Tensor:
        """For one sample: the weight (12, in, 1, 1) with the style in it."""
        style: Tensor = self.affine(w)
        return self.weight * per_channel(style, self.weight)

    def finish(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Features to the image, with a styled weight."""
        assert weight is not None
        return inverse_haar(to_float32(F.conv2d(x, weight, self.bias)) * 0.5)


class MobileStyleGAN(Generator):
    """The distilled generator; 23 styles at 1024² (one, then three for each of 7 blocks, one).

    Args:
        style_dim: length of z and w.
        mapping_layers: depth of the mapping network.
        stem_channels: channels at 4².
        channels: channels of the blocks at 8², 16², …; the image has twice the last resolution.

    Raises:
        ConfigError: channels are no multiple of the four sub-bands, or a count is not positive.
    """

    def __init__(
        self,
        style_dim: int = 512,
        mapping_layers: int = 8,
        stem_channels: int = 512,
        channels: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64),
    ) -> None:
        super().__init__()
        if not channels or any(c % 4 or c < 4 for c in (stem_channels, *channels)):
            raise ConfigError("every layer's channels must be a multiple of 4 (four sub-bands)")
        if min(style_dim, mapping_layers) < 1:
            raise ConfigError("style_dim and mapping_layers must be at least 1")
        self.style_dim = style_dim
        self.mapping = Mapping(nn.Linear(style_dim, style_dim) for _ in range(mapping_layers))
        self.constant = nn.Parameter(torch.randn(1, stem_channels, 4, 4))
        self.stem = Stem(stem_channels, style_dim)
        self.blocks = nn.ModuleList(
            Block(before, after, style_dim, 8 * 2**i)
            for i, (before, after) in enumerate(zip((stem_channels, *channels), channels))
        )
        self.to_image = ToImage(channels[-1], style_dim)
        self.register_buffer("mean_w", torch.zeros(style_dim))
        sizes = [8 * 2**i for i in range(len(channels))]
        self.feature_channels = dict(zip(sizes, channels))
        self.resolution = 2 * sizes[-1]
        self.style_resolutions = (4, *(size for size in sizes for _ in range(3)), self.resolution)

    def levels(
        self,
        codes: Tensor,
        noises: Sequence[Tensor | None],
        corrections: Corrections,
        wanted: Set[int],
    ) -> dict[int, Tensor]:
        """See `Generator.levels`."""
        in_bands = self.runs_banded(codes)
        found: dict[int, Tensor] = {}
        constant = self.constant.contiguous(memory_format=torch.channels_last)
        x: Tensor = self.stem(constant, codes[:, 0], noises[0])
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            size = block.resolution
            if size > max(wanted, default=0):
                return found
            inputs = x, codes[:, 3 * i + 1 : 3 * i + 5], noises[2 * i + 1 : 2 * i + 3]
            if in_bands and banded.activation_bytes(block, x) > banded.MOBILE_BYTES:
                if 2 * size == self.resolution and size not in (*wanted, *corrections):
                    found[self.resolution] = banded.mobile_block(block, *inputs, self.to_image)
                    return found
                x = banded.mobile_block(block, *inputs)
            else:
                x = block(*inputs)
            x = corrected(x, corrections)
            if size in wanted:
                found[size] = x
        if self.resolution in wanted:
            found[self.resolution] = self.to_image(x, codes[:, -1])
        return found

    def style_affines(self) -> Iterator[tuple[int, nn.Module]]:
        """See `Generator.style_affines`."""
        yield 0, self.stem.affine
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            yield from enumerate(
                (block.up_affine, block.conv1.affine, block.conv2.affine), 3 * i + 1
            )
        yield self.num_styles - 1, self.to_image.affine

    def draw_noise(self, stored: Tensor, rng: torch.Generator | None) -> Tensor:
        """A random map, scaled to the standard deviation of the stored one."""
        return super().draw_noise(stored, rng) * to_float32(stored).std().to(stored.dtype)
