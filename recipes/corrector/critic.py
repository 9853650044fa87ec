"""A critic of fine detail: whether a crop is of a sample of the generator, or corrected.

It sees what 256² does not show (the detail, four times as strong) beside 256² itself, through which
no gradient goes: a corrected photograph cannot please it by another content.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CROP = 160  # pixels of the full size


class Critic(nn.Module):
    """Logits (N, 1, H / 8, W / 8) of crops (N, 6, H, W): detail above 256² and, beside it, 256²."""

    def __init__(self) -> None:
        super().__init__()
        plan = (
            (24, 64, 3, 1),
            (64, 128, 4, 2),
            (128, 128, 3, 1),
            (128, 192, 4, 2),
            (192, 192, 3, 1),
        )
        layers = [
            nn.Sequential(nn.Conv2d(a, b, kernel, stride, 1), nn.LeakyReLU(0.2))
            for a, b, kernel, stride in plan
        ]
        self.net = nn.Sequential(nn.PixelUnshuffle(2), *layers, nn.Conv2d(192, 1, 3, 1, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """See the class."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(crops.contiguous(memory_format=torch.channels_last)).float()


def critic_input(image: Tensor, levels: bool) -> Tensor:
    """(N, 3, H, W) to (N, 6, H, W); noise hides which images were rounded to 8 bits (`levels`)."""
    if not levels:
        image = image.clamp(-1.05, 1.05) + (torch.rand_like(image) - 0.5) / 127.5
    image = image + torch.randn_like(image) / 127.5
    low = F.interpolate(F.avg_pool2d(image, 4), scale_factor=4.0, mode="bilinear")
    return torch.cat([(image - low) * 4, low.detach()], 1)
