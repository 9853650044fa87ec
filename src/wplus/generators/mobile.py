"""MobileStyleGAN (Belousov 2021, arXiv 2104.04767): a generator small enough for a laptop.

Its layers are depthwise-separable: a style scales the channels, a depthwise 3×3 and a pointwise
convolution follow. Demodulation is folded into the trained weights, doubling is an inverse Haar
transform, and the image is made once, at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators.base import Corrections, Generator, Noise, corrected, one_by_one
from wplus.nn import rows
from wplus.nn.haar import inverse_haar
from wplus.nn.modulated import per_channel, wide

SLOPE = 0.2
GAIN = 2.0**0.5
WHOLE_BYTES = 6 * 2**20  # layers below this size are computed whole: they stay in the cache


class Mapping(nn.Module):
    """z -> w: pixel norm, then fully connected layers (their learning-rate scale is folded in)."""

    def __init__(self, style_dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(style_dim, style_dim) for _ in range(num_layers))

    def forward(self, z: Tensor) -> Tensor:
        """(N, style_dim) -> (N, style_dim)."""
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE) * GAIN
        return x


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
        x = x * per_channel(self.affine(w), x)
        x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
        return activate(F.conv2d(x, self.pointwise, self.bias), noise)

    def rows(
        self, slab: Tensor, depthwise: Tensor, noise: Tensor | None, above: int, below: int
    ) -> Tensor:
        """The same for a slab of rows with its neighbors, the style already in `depthwise`."""
        slab = rows.pad_rows(slab, above, below)
        slab = F.conv2d(slab, depthwise, padding=(0, 1), groups=slab.shape[1])
        return activate(F.conv2d(slab, self.pointwise, self.bias), noise)

    def styled_depthwise(self, w: Tensor) -> Tensor:
        """(in, 1, 3, 3): for one sample, the scale of a channel can go into its filter."""
        style: Tensor = self.affine(w)
        return (self.depthwise * style[0, :, None, None, None]).to(self.depthwise.dtype)


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

    def forward(self, x: Tensor, codes: Tensor, noises: list[Tensor | None]) -> Tensor:
        """(N, in, R/2, R/2) and codes (N, 3, style_dim) to (N, out, R, R)."""
        x = self.up(x, self.up_affine(codes[:, 0]))
        x = self.conv1(x, codes[:, 1], noises[0])
        x = self.conv2(x, codes[:, 2], noises[1])
        return x

    def in_bands(
        self,
        x: Tensor,
        codes: Tensor,
        noises: list[Tensor | None],
        to_image: ToImage | None = None,
        w: Tensor | None = None,
    ) -> Tensor:
        """The same for one sample and frozen weights, a band of rows at a time.

        With `to_image` and its style `w`, the result is the image: the largest activations are
        never whole.
        """
        size = self.resolution

        def run(
            band: rows.Band,
            slab: Tensor,
            style: Tensor,
            filters1: Tensor,
            noise1: Tensor | None,
            filters2: Tensor,
            noise2: Tensor | None,
            image_weight: Tensor | None,
        ) -> tuple[Tensor, ...]:
            # conv2 needs rows low … high of conv1, which needs one more on either side.
            above, below = int(band.first == 0), int(band.end == size)
            low, high = band.first - 1 + above, band.end + 1 - below
            above1, below1 = int(low == 0), int(high == size)
            low1, high1 = low - 1 + above1, high + 1 - below1
            slab = self.up(slab, style)[:, :, low1 % 2 :][:, :, : high1 - low1]
            slab = self.conv1.rows(slab, filters1, rows.cut(noise1, low, high), above1, below1)
            noise2 = rows.cut(noise2, band.first, band.end)
            slab = self.conv2.rows(slab, filters2, noise2, above, below)
            return (slab if to_image is None else to_image.finish(slab, image_weight),)

        plan = []
        for first, end in rows.cuts(size, self.out_channels * size * x.element_size()):
            low, high = max(0, first - 2), min(size, end + 2)
            plan.append(rows.Band(first, end, low // 2, (high + 1) // 2))
        (result,) = rows.banded(
            run,
            plan,
            x,
            self.up_affine(codes[:, 0]),
            self.conv1.styled_depthwise(codes[:, 1]),
            noises[0],
            self.conv2.styled_depthwise(codes[:, 2]),
            noises[1],
            None if to_image is None or w is None else to_image.folded(w),
        )
        return result


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
        return inverse_haar(wide(F.conv2d(x, weight, self.bias)) * 0.5)


class MobileStyleGAN(Generator):
    """The distilled generator; 23 styles at 1024² (one, then three for each of 7 blocks, one).

    Args:
        style_dim: length of z and w.
        mapping_layers: depth of the mapping network.
        stem_channels: channels at 4².
        channels: channels of the blocks at 8², 16², …; the image has twice the last resolution.

    Raises:
        ConfigError: channels that do not divide by the four sub-bands, or a count is not positive.
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
        self.mapping = Mapping(style_dim, mapping_layers)
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

    def synthesize(
        self,
        codes: Tensor,
        noise: Noise = "fixed",
        rng: torch.Generator | None = None,
        corrections: Corrections | None = None,
    ) -> Tensor:
        """See `Generator.synthesize`. "random" noise has the strength of the stored maps."""
        codes, corrections = self.broadcast(codes), corrections or {}
        self.check_features(len(codes), corrections)
        if not len(codes):
            return codes.new_zeros((0, 3, self.resolution, self.resolution), dtype=torch.float32)
        banded = self.runs_banded(codes)
        if banded and len(codes) > 1:
            # Sample by sample the activations stay in the cache; a batch gains nothing here.
            singles = one_by_one(codes, corrections)
            return torch.cat([self.synthesize(code, noise, rng, own) for code, own in singles])
        maps = self.noise_maps(len(codes), noise, rng)
        x = self._begin(codes, maps)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            last = block.resolution * 2 == self.resolution and block.resolution not in corrections
            if banded and last and _is_large(block, x):
                styles, noises = codes[:, 3 * i + 1 : 3 * i + 4], maps[2 * i + 1 : 2 * i + 3]
                return block.in_bands(x, styles, noises, self.to_image, codes[:, -1])
            x = corrected(self._advance(i, x, codes, maps, banded), corrections)
        image: Tensor = self.to_image(x, codes[:, -1])
        return image

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
        banded = self.runs_banded(codes)
        if banded and len(codes) > 1:
            singles = [
                self.pyramid(code, wanted, noise, own)
                for code, own in one_by_one(codes, corrections)
            ]
            return {size: torch.cat([single[size] for single in singles]) for size in wanted}
        maps = self.noise_maps(len(codes), noise, None)
        x, found = self._begin(codes, maps), {}
        for i, size in enumerate(self.feature_channels):
            if size > max(wanted, default=0):
                break
            x = corrected(self._advance(i, x, codes, maps, banded), corrections)
            if size in wanted:
                found[size] = x
        return found

    def _begin(self, codes: Tensor, maps: list[Tensor | None]) -> Tensor:
        constant = self.constant.contiguous(memory_format=torch.channels_last)
        x: Tensor = self.stem(constant, codes[:, 0], maps[0])
        return x

    def _advance(
        self, i: int, x: Tensor, codes: Tensor, maps: list[Tensor | None], banded: bool
    ) -> Tensor:
        """Block i, in bands of rows where it is large and weights are frozen."""
        block = self.blocks[i]
        assert isinstance(block, Block)
        styles, noises = codes[:, 3 * i + 1 : 3 * i + 4], maps[2 * i + 1 : 2 * i + 3]
        if banded and _is_large(block, x):
            return block.in_bands(x, styles, noises)
        out: Tensor = block(x, styles, noises)
        return out

    def draw_noise(self, stored: Tensor, rng: torch.Generator | None) -> Tensor:
        """A random map of the strength of the stored one, which has it folded in."""
        return super().draw_noise(stored, rng) * wide(stored).std().to(stored.dtype)


def _is_large(block: Block, x: Tensor) -> bool:
    return block.out_channels * block.resolution**2 * x.element_size() > WHOLE_BYTES
