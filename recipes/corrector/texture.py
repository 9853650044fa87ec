"""How much fine detail samples of the generator have: predicted from their 256² version.

python recipes/corrector/texture.py examples/edits texture.pt

Detail above 128 cycles an image is not seen at 256². A small network learns its log energy, in two
octaves and cells of 8² pixels of 256², from the generator's samples; corrected photographs are
trained to have as much.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from examples import pixels
from torch import Tensor, nn

STEPS, RATE, BATCH, HELD_OUT = 700, 2e-3, 6, 24


def log_energies(image: Tensor) -> Tensor:
    """(N, 3, H, W) at full size to (N, 2, H / 32, W / 32): 256 to 512 and 128 to 256 cycles."""
    gray, found = image.mean(1, keepdim=True), []
    for cell in (32, 16):
        half = F.avg_pool2d(gray, 2)
        detail = gray - F.interpolate(half, scale_factor=2.0, mode="bilinear")
        found.append(torch.log(F.avg_pool2d(detail.square(), cell) + 1e-5))
        gray = half
    return torch.cat(found, 1)


class Texture(nn.Module):
    """(N, 3, 256, 256) to `log_energies` (N, 2, 32, 32)."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((3, 32, 1), (32, 48, 2), (48, 64, 2), (64, 96, 2), (96, 96, 1), (96, 96, 1))
        layers = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.LeakyReLU(0.2))
            for a, b, stride in widths
        ]
        self.net = nn.Sequential(*layers, nn.Conv2d(96, 2, 1))
        self.register_buffer("mean", torch.zeros(2, 1, 1))
        self.register_buffer("std", torch.ones(2, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.net(images) * self.std + self.mean


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    inputs, energies = [], []
    for path in sorted(folder.glob("*.pt")):
        image = pixels(torch.load(path)["B"])
        inputs.append(F.avg_pool2d(image, 4))
        energies.append(log_energies(image))
    x, y = torch.cat(inputs), torch.cat(energies)
    count = len(x) - HELD_OUT
    net = Texture()
    net.mean.copy_(y[:count].mean((0, 2, 3))[:, None, None])
    net.std.copy_(y[:count].std((0, 2, 3))[:, None, None])
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS) * min(1, (step + 1) / 20)
        chosen = torch.randint(count, (BATCH,))
        images, wanted = x[chosen], y[chosen]
        if random.random() < 0.5:
            images, wanted = images.flip(3), wanted.flip(3)
        images = (
            images + 0.01 * torch.randn(()) + 0.005 * random.random() * torch.randn_like(images)
        )
        with torch.autocast("cpu", torch.bfloat16):
            found = net(images)
        optimizer.zero_grad()
        (found.float() - wanted).abs().mean().backward()
        optimizer.step()
    with torch.no_grad():
        print(f"mean error on {HELD_OUT} others: {(net(x[count:]) - y[count:]).abs().mean():.3f}")
    torch.save(net.state_dict(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
