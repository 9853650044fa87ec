"""Sketches: dark lines on white paper, the source of face-from-sketch synthesis (section 4.3)."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.sources.kind import File, Kind, Pixels, SourceOptions, check_size
from wplus.sources.whitening import page, to_gray


class Sketch(Kind):
    """A line drawing, 1 for paper and 0 for ink."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`; gray or badly lit paper is whitened."""
        return sketch_input(page(image), options.size)

    def preview(self, source: Tensor) -> Image.Image:
        """See `Kind.preview`."""
        return images.to_picture(source.expand(3, -1, -1) * 2 - 1)

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """See `Kind.pixels`: (size, size) gray levels."""
        return np.array(_resized(page(self.read(file)), options.size))

    def paired(self, source: Pixels, target: Pixels, options: SourceOptions) -> Tensor:
        """See `Kind.paired`."""
        return torch.from_numpy(source.copy())[None].to(torch.float32).div_(255)


def sketch_input(image: Image.Image, size: int = 256) -> Tensor:
    """(1, 1, size, size) float32 in [0, 1] of a sketch: 1 is paper, 0 is ink.

    Gray levels are interpolated by Pillow and rounded to 8 bits, as in the training of the
    published checkpoints. Transparent paper counts as white. Whiten gray or badly lit paper with
    `whitening.page` first.

    Raises:
        ConfigError: size below 1.
    """
    check_size(size)
    gray = np.array(_resized(to_gray(image), size))
    return torch.from_numpy(gray)[None, None].to(torch.float32).div_(255)


def _resized(gray: Image.Image, size: int) -> Image.Image:
    return gray.resize((size, size), Image.Resampling.BILINEAR)
