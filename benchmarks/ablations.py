"""What each identity, layout and fusion brings: our decoders with one of them taken back.

Each entry of a table is a context manager; inside it the decoder computes the same image the
slower way. Nothing in the library knows of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import plain_stylegan2
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.generators import banded, mobile, stylegan2
from wplus.nn import rows
from wplus.nn.modulated import GAIN, demodulation, per_channel

NEVER = 2**62
Ablation = Callable[[], AbstractContextManager[Any]]


def blur(x: Tensor, padding: int = 1) -> Tensor:
    """The blur as the plain reading does it: single channels, 2-D convolution."""
    return plain_stylegan2.fir(x, gain=4.0, up=1, pad=(padding, padding))


def upsample(x: Tensor) -> Tensor:
    """Doubling by zero insertion."""
    return plain_stylegan2.fir(x, gain=4.0, up=2, pad=(2, 1))


@contextmanager
def plain_blur() -> Iterator[None]:
    """The blur behind up-convolutions on single channels."""
    up_rows = rows.up_convolution_rows
    convolve = F.conv2d

    def blurred_rows(slab: Tensor, weight: Tensor, kernel: Tensor, *rest: Any) -> Tensor:
        def replaced(
            x: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any
        ) -> Tensor:
            if weight is not kernel:
                return convolve(x, weight, bias, **options)
            assert bias is not None
            x = plain_stylegan2.fir(F.pad(x, (1, 1, 0, 0)), gain=4.0, up=1, pad=(0, 0))
            return x + bias[:, None, None]

        with patch.object(F, "conv2d", replaced):
            return up_rows(slab, weight, kernel, *rest)

    with (
        patch.object(stylegan2, "blur", blur),
        patch.object(rows, "up_convolution_rows", blurred_rows),
    ):
        yield


@contextmanager
def scaled_activations() -> Iterator[None]:
    """In bands too: style and demodulation on the activations, the weight as it is."""
    factors: dict[bool, tuple[Tensor, Tensor, Tensor]] = {}
    up_rows, same_rows = rows.up_convolution_rows, rows.convolution_rows

    def unfolded(layer: stylegan2.StyledConv, w: Tensor) -> tuple[Tensor, Tensor]:
        style = layer.affine(w) * layer.scale
        gain = demodulation(layer.weight, style) * GAIN
        factors[layer.upsample] = (style, gain, layer.bias * GAIN)
        return layer.weight, torch.zeros_like(layer.bias)

    def around(convolve: Callable[..., Tensor], up: bool) -> Callable[..., Tensor]:
        def scaled(slab: Tensor, *rest: Any) -> Tensor:
            style, gain, bias = factors[up]
            x = convolve(slab * per_channel(style, slab), *rest)
            return x * per_channel(gain, x) + bias[:, None, None]

        return scaled

    with (
        patch.object(banded, "folded", unfolded),
        patch.object(rows, "up_convolution_rows", around(up_rows, up=True)),
        patch.object(rows, "convolution_rows", around(same_rows, up=False)),
    ):
        yield


def transposed_haar(bands: Tensor) -> Tensor:
    """The inverse Haar transform as a grouped transposed convolution, as the IR has it."""
    channels = bands.shape[1] // 4
    signs = [(1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)]
    kernel = torch.tensor(signs, dtype=bands.dtype).reshape(4, 1, 2, 2).repeat(channels, 1, 1, 1)
    count, _, height, width = bands.shape
    grouped = bands.reshape(count, 4, channels, height, width).transpose(1, 2).flatten(1, 2)
    return F.conv_transpose2d(grouped, kernel, stride=2, groups=channels)


def together(*parts: Ablation) -> Ablation:
    """Several at once."""

    @contextmanager
    def all_of_them() -> Iterator[None]:
        with ExitStack() as stack:
            for part in parts:
                stack.enter_context(part())
            yield

    return all_of_them


contiguous: Ablation = partial(patch.object, torch, "channels_last", torch.contiguous_format)
one_band: Ablation = partial(patch.object, rows, "BAND_BYTES", NEVER)
whole: Ablation = partial(patch.object, banded, "STYLEGAN2_BYTES", NEVER)
plain_upsample = together(
    partial(patch.object, stylegan2, "upsample2x", upsample),
    partial(patch.object, banded, "upsample2x", upsample),
)

STYLEGAN2: Mapping[str, Ablation] = {
    "channels-last: contiguous NCHW instead": contiguous,
    "bands of rows: whole pictures instead": one_band,
    "scales in the weight: scaled activations instead": scaled_activations,
    "depthwise blur: zero insertion's 2-D filter instead": plain_blur,
    "skip by interpolation: zero insertion instead": plain_upsample,
}
"""Everything on but one."""

STAIRS: Mapping[str, Ablation] = {
    "shared weight, scaled activations": together(whole, contiguous, plain_blur, plain_upsample),
    "+ depthwise blur, skip by interpolation": together(whole, contiguous),
    "+ channels-last": whole,
    "+ bands of rows": scaled_activations,
    "+ scales in the weight (ours)": together(),
}
"""From the plain reading to ours, one step after the other."""

mobile_whole: Ablation = partial(patch.object, banded, "MOBILE_BYTES", NEVER)
MOBILE: Mapping[str, Ablation] = {
    "channels-last: contiguous NCHW instead": contiguous,
    "bands of rows: whole pictures instead": mobile_whole,
    "Haar by slices: transposed convolution instead": partial(
        patch.object, mobile, "inverse_haar", transposed_haar
    ),
}
