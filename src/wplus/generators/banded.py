"""The large layers of generators on a CPU: one sample at a time, a band of rows at a time.

Both functions equal the `forward` of their block, for one sample and frozen weights; gradients
reach activations and codes only. `nn.rows` explains why bands of rows are faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.nn import rows
from wplus.nn.fir import blur_weight, upsample2x
from wplus.nn.modulated import EPSILON, GAIN, per_channel, to_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wplus.generators import mobile, stylegan2

# Activations up to these sizes are computed whole: they stay in the cache.
STYLEGAN2_BYTES = 12 * 2**20
MOBILE_BYTES = 6 * 2**20
KEPT_BYTES = 40 * 2**20  # above it, activations for gradients are recomputed instead of kept


def activation_bytes(block: stylegan2.Block | mobile.Block, x: Tensor) -> int:
    """Bytes of the activations of one sample, in the type of `x`."""
    return block.out_channels * block.resolution**2 * x.element_size()


def folded(conv: stylegan2.StyledConv, w: Tensor) -> tuple[Tensor, Tensor]:
    """The weight (out, in, 3, 3) with both scales, demodulation and √2 in it, and the bias (out,).

    Args:
        conv: the layer.
        w: (1, style_dim).
    """
    style = to_float32(conv.affine(w) * conv.scale)
    weight = to_float32(conv.weight) * style[0, None, :, None, None]
    energy = weight.square().sum(dim=(1, 2, 3), keepdim=True)
    weight = weight * (torch.rsqrt(energy + EPSILON) * GAIN)
    return weight.to(conv.weight.dtype), conv.bias * GAIN


class _StyledRows:
    """A styled convolution of StyleGAN2 for the bands of one sample.

    Attributes:
        weight: (out, in, 3, 3).
        bias: (out,), or None where it is `shift`.
        shift: (1, out, 1, 1), or None.
        tensors: the arguments with gradients: scales of input and output, (1, C, 1, 1) or None
            where they are folded into the weight, and the noise map or None.
    """

    def __init__(
        self, conv: stylegan2.StyledConv, w: Tensor, noise: Tensor | None, fold: bool
    ) -> None:
        self.conv = conv
        self.weight: Tensor = conv.weight
        self.bias = self.shift = style = gain = None
        if fold:
            self.weight, self.bias = folded(conv, w)
        else:
            style, gain = (per_channel(scale, conv.weight) for scale in conv.scales(w))
            self.shift = per_channel((conv.bias * GAIN)[None], conv.weight)
        self.tensors = style, gain, conv.scaled(noise)

    def finish(self, x: Tensor, gain: Tensor | None, noise: Tensor | None) -> Tensor:
        """Output scale, bias, noise and activation of a convolved band."""
        if gain is not None and self.shift is not None:
            x = torch.addcmul(self.shift, x, gain)
        return self.conv.activate(x, noise)


def stylegan2_block(
    block: stylegan2.Block,
    x: Tensor,
    rgb: Tensor,
    codes: Tensor,
    noises: Sequence[Tensor | None],
    keep_features: bool,
) -> tuple[Tensor, Tensor]:
    """`stylegan2.Block.forward`; without `keep_features`, `x` is returned unchanged."""
    size, height = block.resolution, x.shape[2]
    # Without gradients, scales are cheapest in the weights. With them they are applied to the
    # activations: the gradient of a folded weight would cost one more convolution.
    fold = not (torch.is_grad_enabled() and (x.requires_grad or codes.requires_grad))
    up = _StyledRows(block.up, codes[:, 0], noises[0], fold)
    conv = _StyledRows(block.conv, codes[:, 1], noises[1], fold)
    up_weight = up.weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
    weight = conv.weight.contiguous(memory_format=torch.channels_last)
    fir = blur_weight(block.out_channels, weight).contiguous()

    def run(band: rows.Band, slab: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        up_style, up_gain, up_noise, style, gain, noise, rgb_weight = tensors
        above, below = int(band.first == 0), int(band.end == size)
        low, high = band.first - 1 + above, band.end + 1 - below
        slab = slab if up_style is None else slab * up_style
        slab = rows.up_convolution_rows(slab, up_weight, fir, up.bias, low, high, height)
        slab = up.finish(slab, up_gain, rows.cut(up_noise, low, high))
        slab = slab if style is None else slab * style
        slab = rows.convolution_rows(slab, weight, conv.bias, above, below)
        slab = conv.finish(slab, gain, rows.cut(noise, band.first, band.end))
        assert rgb_weight is not None
        image = block.to_rgb.finish(F.conv2d(slab, rgb_weight), block.to_rgb.bias)
        return (image, slab) if keep_features else (image,)

    whole = activation_bytes(block, x)
    plan = []
    for first, end in rows.cuts(size, whole // size):
        source = rows.up_source_rows(max(0, first - 1), min(size, end + 1), height)
        plan.append(rows.Band(first, end, *source))
    tensors = (*up.tensors, *conv.tensors, block.to_rgb.folded(codes[:, 2]))
    image, *kept = rows.banded(run, plan, x, *tensors, keep=whole <= KEPT_BYTES)
    return (kept[0] if kept else x), upsample2x(rgb) + image


def mobile_block(
    block: mobile.Block,
    x: Tensor,
    codes: Tensor,
    noises: Sequence[Tensor | None],
    to_image: mobile.ToImage | None = None,
) -> Tensor:
    """`mobile.Block.forward`, followed by `to_image` if there is one.

    The image's style is `codes[:, 3]`; the largest activations are never in memory as a whole.
    """
    size = block.resolution

    def run(band: rows.Band, slab: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        style, filters1, noise1, filters2, noise2, image_weight = tensors
        assert style is not None and filters1 is not None and filters2 is not None
        # conv2 needs rows low … high of conv1, which needs one more on either side.
        above, below = int(band.first == 0), int(band.end == size)
        low, high = band.first - 1 + above, band.end + 1 - below
        above1, below1 = int(low == 0), int(high == size)
        low1, high1 = low - 1 + above1, high + 1 - below1
        slab = block.up(slab, style)[:, :, low1 % 2 :][:, :, : high1 - low1]
        slab = rows.pad_rows(slab, above1, below1)
        slab = block.conv1.convolve(slab, filters1, (0, 1), rows.cut(noise1, low, high))
        slab = rows.pad_rows(slab, above, below)
        noise2 = rows.cut(noise2, band.first, band.end)
        slab = block.conv2.convolve(slab, filters2, (0, 1), noise2)
        return (slab if to_image is None else to_image.finish(slab, image_weight),)

    plan = []
    for first, end in rows.cuts(size, activation_bytes(block, x) // size):
        low, high = max(0, first - 2), min(size, end + 2)
        plan.append(rows.Band(first, end, low // 2, (high + 1) // 2))
    tensors = (
        block.up_affine(codes[:, 0]),
        _styled_depthwise(block.conv1, codes[:, 1]),
        noises[0],
        _styled_depthwise(block.conv2, codes[:, 2]),
        noises[1],
        None if to_image is None else to_image.folded(codes[:, 3]),
    )
    (result,) = rows.banded(run, plan, x, *tensors)
    return result


def _styled_depthwise(conv: mobile.SeparableConv, w: Tensor) -> Tensor:
    """(in, 1, 3, 3): for one sample, the scale of a channel is folded into its filter."""
    style: Tensor = conv.affine(w)
    return (conv.depthwise * style[0, :, None, None, None]).to(conv.depthwise.dtype)
