"""Encoders of pSp's successors, on its trunk and heads.

e4e ("Designing an Encoder for StyleGAN Image Manipulation", Tov et al. 2021, section 4.1) reads one
style and the others as deltas from it: w_i = w_0 + Δ_i. ReStyle (Alaluf et al. 2021, section 3)
sees its last output beside the image and adds to its last code, first the mean code w̄:

    w⁰ = w̄,  y⁰ = G(w̄);  wᵗ⁺¹ = wᵗ + E(x, yᵗ),  yᵗ⁺¹ = G(wᵗ⁺¹)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.encoders.pyramid import PyramidEncoder
from wplus.errors import ConfigError
from wplus.nn.modulated import to_float32

COLORS = 3


class ProgressiveEncoder(PyramidEncoder):
    """e4e's encoder; arguments as for `PyramidEncoder`."""

    def read_styles(self, x: Tensor) -> Tensor:
        """See `PyramidEncoder.read_styles`."""
        return add_deltas(super().read_styles(x))


class IterativeEncoder(PyramidEncoder):
    """ReStyle's encoder.

    Args:
        num_styles: L.
        input_channels: of the images, without those of the output.
        progressive: read styles as e4e does.
        iterations: how often it corrects its code.
        arguments: of `PyramidEncoder`: `levels` is "smallest" in the published networks.
    """

    def __init__(
        self,
        num_styles: int = 18,
        input_channels: int = COLORS,
        progressive: bool = False,
        iterations: int = 5,
        **arguments: Any,
    ) -> None:
        super().__init__(num_styles, input_channels + COLORS, **arguments)
        if not 1 <= iterations <= 100 or input_channels < 1:
            raise ConfigError(
                "iterations must be from 1 to 100 and input_channels 1 or more, not"
                f" {iterations} and {input_channels}"
            )
        self.input_channels = input_channels
        self.progressive, self.iterations = progressive, iterations

    def forward(self, images: Tensor, output: Tensor | None = None) -> Tensor:
        """Images, and the output for the codes so far -> what to add to these codes.

        Raises:
            ConfigError: another shape, or no output.
        """
        self.check(images)
        if output is None or output.shape != (len(images), COLORS, *images.shape[2:]):
            raise ConfigError("an iterative encoder needs the last output too; call PSP.encode")
        codes = self.read_styles(torch.cat([images, output.to(images)], 1))
        return add_deltas(codes) if self.progressive else codes

    def encode(
        self, images: Tensor, mean_codes: Tensor, decode: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """See `Encoder.encode`."""
        codes = mean_codes.expand(len(images), -1, -1)
        for _ in range(self.iterations):
            output = F.adaptive_avg_pool2d(decode(codes), self.input_size)
            codes = codes + to_float32(self(images, output))
        return codes


def add_deltas(codes: Tensor) -> Tensor:
    """(N, L, style_dim) of w_0, Δ_1, Δ_2, … -> w_0, w_0 + Δ_1, w_0 + Δ_2, …."""
    first, deltas = codes[:, :1], codes[:, 1:]
    return torch.cat([first, first + deltas], 1)
