"""A convolutional corrector at two resolutions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.correctors.base import Corrector
from wplus.errors import ConfigError
from wplus.nn.depthwise import depthwise


class Block(nn.Module):
    """Residual: depthwise convolution, layer norm, two 1×1 convolutions (ConvNeXt).

    Args:
        channels: of the features; twice as many between the 1×1 convolutions.
        kernel: side of the depthwise kernel.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Parameter(torch.randn(channels, 1, kernel, kernel) / kernel)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = _zero(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        hidden = depthwise(x, self.depthwise).permute(0, 2, 3, 1)
        hidden = self.norm(hidden).permute(0, 3, 1, 2)
        result: Tensor = x + self.narrow(F.silu(self.widen(hidden)))
        return result


class Transport(nn.Module):
    """Moves what the photograph lacks to where an edit moves it, by attention.

    Each place of the target's features looks for its like among the features of the photograph's
    own code, near by first, and takes over the hidden features from there. Its maps have half the
    resolution of the features.

    Args:
        channels: of the generator's features.
        width: of the hidden features.
        heads: how many; the first looks only around its place, the last far.
        size: of a head.
    """

    def __init__(self, channels: int, width: int, heads: int = 4, size: int = 32) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(channels, heads * size, 1, bias=False)
        self.key = nn.Conv2d(channels, heads * size, 1, bias=False)
        self.value = nn.Conv2d(width, heads * size, 1, bias=False)
        self.out = _zero(nn.Conv2d(heads * size, width, 1))
        self.reach = nn.Parameter(torch.linspace(0.0, 2.5, heads))  # log of the distance

    def forward(self, hidden: Tensor, own: Tensor, target: Tensor) -> Tensor:
        """Hidden features (N, width, R, R) with what is moved added.

        Args:
            hidden: (N, width, R, R).
            own: (N, channels, R, R), normalized features of the photograph's code.
            target: the same of the code to be decoded.
        """
        height, width = hidden.shape[2] // 2, hidden.shape[3] // 2
        query, key = self._split(self.query, target), self._split(self.key, own)
        value = self._split(self.value, hidden)
        score = (query @ key.transpose(2, 3)).float() / query.shape[-1] ** 0.5
        score = score + self._distance(height, width, score)
        moved = torch.softmax(score, dim=-1).to(value.dtype) @ value  # (N, heads, places, size)
        moved = moved.transpose(2, 3).reshape(len(hidden), -1, height, width)
        moved = self.out(moved.contiguous(memory_format=torch.channels_last))
        return hidden + F.interpolate(moved, scale_factor=2.0, mode="bilinear")

    def _split(self, projection: nn.Conv2d, x: Tensor) -> Tensor:
        """(N, C, R, R) to (N, heads, places, size), averaged to half the resolution."""
        x = projection(F.avg_pool2d(x, 2))
        return x.reshape(len(x), self.heads, -1, x.shape[2] * x.shape[3]).transpose(2, 3)

    def _distance(self, height: int, width: int, like: Tensor) -> Tensor:
        """(heads, places, places): minus half the squared distance in units of the reach."""
        rows = torch.arange(height, device=like.device).repeat_interleave(width)
        columns = torch.arange(width, device=like.device).repeat(height)
        squared = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
        return -squared / (2 * torch.exp(2 * self.reach.float()))[:, None, None]


class Level(nn.Module):
    """Corrections at one resolution.

    Args:
        image_channels: of the image and what it lacks, with pixels moved into channels.
        channels: of the generator's features.
        width: of the blocks.
        depth: how many blocks.
        kernel: side of their kernels.
        context: channels that come from the level below, if any.
        moves: whether a `Transport` follows the first half of the blocks.
    """

    def __init__(
        self,
        image_channels: int,
        channels: int,
        width: int,
        depth: int,
        kernel: int,
        context: int = 0,
        moves: bool = False,
    ) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(channels))
        self.from_image = nn.Conv2d(image_channels, width, 1)
        self.from_features = nn.Conv2d(channels, width, 1, bias=False)
        self.from_change = _zero(nn.Conv2d(channels, width, 1, bias=False))
        self.from_context = nn.Conv2d(context, width, 1, bias=False) if context else None
        self.blocks = nn.ModuleList(Block(width, kernel) for _ in range(depth))
        self.transport = Transport(channels, width) if moves else None
        self.to_features = _zero(nn.Conv2d(width, channels, 1))

    def normalized(self, features: Tensor) -> Tensor:
        """Features with each channel at unit variance."""
        dtype = self.from_image.weight.dtype
        return features.to(dtype) / self.scale.to(dtype)[:, None, None]

    def forward(
        self, image: Tensor, features: Tensor, target: Tensor | None, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Hidden features (N, width, R, R) and corrections (N, channels, R, R).

        Args:
            image: (N, image_channels, R, R).
            features: (N, channels, R, R), normalized.
            target: those of the code to be decoded, if it is another one.
            context: (N, context, R / 2, R / 2), hidden features of the level below.
        """
        x = self.from_image(image) + self.from_features(features)
        if target is not None:
            x = x + self.from_change(target - features)
        if self.from_context is not None:
            assert context is not None
            x = x + F.interpolate(self.from_context(context), scale_factor=2.0, mode="nearest")
        for number, block in enumerate(self.blocks):
            if self.transport is not None and number == len(self.blocks) // 2:
                x = self.transport(x, features, features if target is None else target)
            x = block(x)
        return x, self.to_features(x) * self.scale.to(x.dtype)[:, None, None]


class FeatureCorrector(Corrector):
    """Corrects the features at R² and at (2R)², the coarse ones first.

    It compares the photograph with a preview of the decoded image, read from the features at (2R)²
    by one convolution, so that no image has to be decoded for it.

    Args:
        resolution: R, of the coarse features; photographs are of (4R)².
        channels: of the generator's features at R² and (2R)².
        widths: of the blocks.
        depths: how many blocks.
        kernels: sides of their depthwise kernels.

    Raises:
        ConfigError: a number is below 1, or a kernel even.
    """

    def __init__(
        self,
        resolution: int = 64,
        channels: tuple[int, int] = (512, 256),
        widths: tuple[int, int] = (192, 96),
        depths: tuple[int, int] = (6, 3),
        kernels: tuple[int, int] = (7, 5),
    ) -> None:
        super().__init__()
        if min(resolution, *channels, *widths, *depths) < 1 or any(k % 2 == 0 for k in kernels):
            raise ConfigError("sizes must be at least 1, and kernels odd")
        self.feature_channels = {resolution: channels[0], 2 * resolution: channels[1]}
        self.input_size = 4 * resolution
        self.preview = nn.Conv2d(channels[1], 12, 3, padding=1)
        self.coarse = Level(96, channels[0], widths[0], depths[0], kernels[0], moves=True)
        self.fine = Level(24, channels[1], widths[1], depths[1], kernels[1], widths[0])

    @property
    def scales(self) -> dict[int, Tensor]:
        """See `Corrector`."""
        return dict(zip(self.feature_channels, (self.coarse.scale, self.fine.scale)))

    def forward(
        self,
        images: Tensor,
        features: Mapping[int, Tensor],
        target_features: Mapping[int, Tensor] | None = None,
    ) -> dict[int, Tensor]:
        """See `Corrector.forward`."""
        levels = dict(zip(self.feature_channels, (self.coarse, self.fine)))
        own = {size: level.normalized(features[size]) for size, level in levels.items()}
        target: dict[int, Tensor | None] = dict.fromkeys(levels)
        if target_features is not None:
            target = {
                size: level.normalized(target_features[size]) for size, level in levels.items()
            }
        coarse, fine = levels
        pixels = F.pixel_unshuffle(images.to(own[fine].dtype), 2)
        image = torch.cat([pixels, pixels - self.preview(own[fine])], dim=1)
        image = image.contiguous(memory_format=torch.channels_last)
        small = F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)
        hidden, first = self.coarse(small, own[coarse], target[coarse], None)
        _, second = self.fine(image, own[fine], target[fine], hidden)
        return {coarse: first, fine: second}

    @torch.no_grad()
    def calibrate(
        self, features: Mapping[int, Tensor], images: Tensor, ridge: float = 2e-3
    ) -> None:
        """Measure the scales of the features, and fit the preview by least squares.

        Args:
            features: by resolution, (N, C, R, R), of codes as they will come.
            images: (N, 3, input_size, input_size), decoded from the same codes.
            ridge: strength of the regularization, relative to the mean square of the features.
        """
        levels = dict(zip(self.feature_channels, (self.coarse, self.fine)))
        for size, level in levels.items():
            level.scale.copy_(features[size].float().std((0, 2, 3)).clamp(min=1e-6))
        fine = features[max(levels)].float() / self.fine.scale[:, None, None]
        count = self.fine.scale.numel() * 9 + 1
        gram, product = torch.zeros(count, count), torch.zeros(count, 12)
        for value, image in zip(fine, images.float()):
            x = F.unfold(value[None], 3, padding=1)[0].t()
            x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
            y = F.pixel_unshuffle(image[None], 2).flatten(2)[0].t()
            chosen = slice(None, None, max(1, len(x) // 1500))
            gram += x[chosen].t() @ x[chosen]
            product += x[chosen].t() @ y[chosen]
        gram += torch.eye(count) * (gram.diagonal().mean() * ridge)
        weight = torch.linalg.solve(gram, product)
        self.preview.weight.copy_(weight[:-1].t().reshape(self.preview.weight.shape))
        assert self.preview.bias is not None
        self.preview.bias.copy_(weight[-1])


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution with zeros, so that training begins where it changes nothing."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
