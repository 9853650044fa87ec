"""StyleGAN2's resampling filter [1, 3, 3, 1] as layers that every backend runs fast.

The published code filters by zero insertion and a custom kernel. For this filter and a factor of
two, both uses of it are standard operations:

* Doubling an image gives (1·x[i−1] + 3·x[i]) / 4 and (3·x[i] + 1·x[i+1]) / 4 along each axis,
  which are the weights of bilinear interpolation; only beyond the edge the filter sees zeros where
  interpolation repeats the edge.
* The blur behind an up-convolution is a depthwise convolution with 4·f. (f is separable, but one
  4×4 pass measured faster than two of four taps: the work is memory traffic, not arithmetic.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


def upsample2x(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W) by the filter 4·f; zeros beyond the edge."""
    doubled = F.interpolate(
        F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    return doubled[:, :, 2:-2, 2:-2]


def blur_weight(channels: int, like: Tensor) -> Tensor:
    """(channels, 1, 4, 4): the depthwise weight 4·f, of the type and device of `like`."""
    taps = torch.tensor(TAPS, device=like.device)
    return (taps[:, None] * taps / 16.0).to(like.dtype).expand(channels, 1, 4, 4)


def blur(x: Tensor, padding: int | tuple[int, int] = 1) -> Tensor:
    """(N, C, H, W) -> (N, C, H − 3 + 2·padding, …): depthwise convolution with 4·f."""
    channels = x.shape[1]
    return F.conv2d(x, blur_weight(channels, x), padding=padding, groups=channels)
