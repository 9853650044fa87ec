"""LPIPS v0.1 (Zhang et al. 2018): a distance between images that agrees with human judgment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus import weights
from wplus.formats.lpips import read_lpips
from wplus.formats.strict import load_strict

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
"""Length below which a feature counts as zero."""


@dataclass(frozen=True)
class Layer:
    """One convolution with ReLU, and the pooling before it.

    Attributes:
        channels: of its output.
        kernel: its size.
        stride: of the convolution.
        padding: zeros around its input.
        pool: window of the max-pool (stride 2) before it, or 0.
        tap: whether its output is one of the five compared.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: int = 0
    tap: bool = False


def _vgg(channels: int, count: int, pool: int) -> list[Layer]:
    return [Layer(channels, pool=pool if i == 0 else 0, tap=i == count - 1) for i in range(count)]


NETS: dict[str, Sequence[Layer]] = {
    "alexnet": (
        Layer(64, kernel=11, stride=4, padding=2, tap=True),
        Layer(192, kernel=5, padding=2, pool=3, tap=True),
        Layer(384, pool=3, tap=True),
        Layer(256, tap=True),
        Layer(256, tap=True),
    ),
    "vgg16": (
        *_vgg(64, 2, pool=0),
        *_vgg(128, 2, pool=2),
        *_vgg(256, 3, pool=2),
        *_vgg(512, 3, pool=2),
        *_vgg(512, 3, pool=2),
    ),
}
"""The convolutions of each net up to the last that is compared (conv5, conv5_3)."""


class LPIPS(nn.Module):
    """Distance of images: squared differences of normalized features, weighted, averaged, summed.

    With unit-normalized features f_l of layer l at each place and heads w_l >= 0, which are the
    squares of the weights in Eq. 1,
    d(a, b) = sum_l mean_hw sum_c w_lc (f_lc(a) - f_lc(b))^2.

    The network is frozen; gradients reach the images.

    Args:
        net: "alexnet" (the paper's loss and metric) or "vgg16".

    Raises:
        ValueError: there is no such net.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: str = "alexnet") -> None:
        super().__init__()
        if net not in NETS:
            raise ValueError(f"LPIPS stands on {' or '.join(NETS)}, not {net}")
        self.net = net
        self.layers = NETS[net]
        self.convs = nn.ModuleList()
        self.heads = nn.ParameterList()
        width = 3
        for layer in self.layers:
            self.convs.append(
                nn.Conv2d(width, layer.channels, layer.kernel, layer.stride, layer.padding)
            )
            width = layer.channels
            if layer.tap:
                self.heads.append(nn.Parameter(torch.ones(1, width, 1, 1)))
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Unit-normalized features of the five compared layers, to be reused for a fixed target.

        They are float32 (or wider) even if the net is bfloat16: their differences are small.

        Args:
            images: (N, 3, H, W) in [-1, 1]; H and W at least `minimum`.

        Raises:
            ValueError: the images are too small or have other than 3 channels.
        """
        smallest = self.minimum
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < smallest:
            raise ValueError(
                f"LPIPS on {self.net} takes (N, 3, H, W) of at least {smallest}x{smallest}, "
                f"not {tuple(images.shape)}"
            )
        x = ((images - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        for layer, conv in zip(self.layers, self.convs):
            if layer.pool:
                x = functional.max_pool2d(x, layer.pool, 2)
            x = functional.relu(conv(x))
            if layer.tap:
                wide = x.to(torch.promote_types(x.dtype, torch.float32))
                # Not x / (|x| + eps): its gradient is not a number where all of x is zero.
                length = wide.square().sum(1, keepdim=True) + EPSILON**2
                found.append(wide * length.rsqrt())
        return found

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distances (N,) from what `features` returned for two batches; batches of 1 broadcast."""
        per_layer = [
            functional.conv2d((x - y).square(), head.to(x.dtype)).mean((1, 2, 3))
            for x, y, head in zip(a, b, self.heads)
        ]
        return torch.stack(per_layer).sum(0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (N,) of images (N, 3, H, W) in [-1, 1].

        Raises:
            ValueError: the images are too small or have other than 3 channels.
        """
        return self.distance(self.features(a), self.features(b))

    @property
    def minimum(self) -> int:
        """The smallest height and width that leave every layer a pixel."""
        size = 1
        for layer in reversed(self.layers):
            size = max(1, (size - 1) * layer.stride + layer.kernel - 2 * layer.padding)
            if layer.pool:
                size = (size - 1) * 2 + layer.pool
        return size


def load_lpips(net: str = "alexnet", path: str | Path | None = None) -> LPIPS:
    """LPIPS with its published weights.

    Args:
        net: "alexnet" or "vgg16".
        path: its file as `wplus.formats.lpips.read_lpips` takes it; without one, it is fetched on
            first use.

    Raises:
        ValueError: there is no such net.
        FormatError: the file is damaged or not of this net.
        WeightsError: the weights cannot be fetched.
    """
    model = LPIPS(net)
    path = weights.path(f"lpips-{net}.ckpt") if path is None else path
    _, state = read_lpips(path)
    load_strict(model, state, str(path))
    return model
