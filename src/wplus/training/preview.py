"""What the encoder does, at a glance: rows of source, output and target."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wplus import images
from wplus.training.step import Forward
from wplus.training.validation import evaluating

SIZE = 256


@torch.no_grad()
def draw(forward: Forward, encoder: nn.Module, batch: Mapping[str, Any], path: Path) -> None:
    """Write a JPEG of a batch on the device, one row for each picture, two rows side by side."""
    with evaluating(encoder):
        outputs = forward.decoder(forward.encode(encoder, batch["source"]))
    rows = zip(batch["source"], outputs, batch["target"])
    pictures = [
        images.to_picture(images.resize(each[None].float(), SIZE))
        for source, output, target in rows
        for each in (visible(source), output, target)
    ]
    images.save(images.grid(pictures, columns=6 if len(pictures) > 3 else 3), path)


def visible(source: Tensor) -> Tensor:
    """What an encoder reads as a color picture in [-1, 1].

    Args:
        source: (3, H, W) in [-1, 1] as it is; (1, H, W) in [0, 1] becomes gray; of any other
            number of channels the strongest gives the color.
    """
    if len(source) == 3:
        return source
    if len(source) == 1:
        return source.expand(3, -1, -1) * 2 - 1
    return palette(len(source)).to(source.device)[:, source.argmax(0)]


def palette(count: int) -> Tensor:
    """(3, count) in [-1, 1]: black, then colors around the wheel, brightness in turns."""
    colors = [(0.0, 0.0, 0.0)]
    for i in range(count - 1):
        hue = i * 0.618 % 1  # the golden ratio keeps neighbors apart
        colors.append(colorsys.hsv_to_rgb(hue, 0.8, (1.0, 0.8, 0.6)[i % 3]))
    return torch.tensor(colors).t() * 2 - 1
