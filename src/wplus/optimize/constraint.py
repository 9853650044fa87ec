"""The constraint on an output: the target of an optimization, degradation and pixel weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError

Degradation = Callable[[Tensor], Tensor]
"""Images (N, 3, S, S) in [-1, 1] to degraded ones (N, 3, H, W) in [-1, 1]: differentiable, and
independent of the other images of the batch."""

PEAK = 2.0  # values are in [-1, 1]


@dataclass(frozen=True, eq=False)
class Constraint:
    """The degraded output must equal the target where pixels have weight.

    Attributes:
        target: (N, 3, H, W) in [-1, 1].
        degradation: applied to an output before it is compared (shrinking, for super-resolution).
            None compares whole images at 256², to which the target is resized.
        pixel_weights: (N or 1, 1, H, W) in [0, 1], 0 where the output is unconstrained (the hole,
            for inpainting). L2 is the mean weighted by them; loss networks get the target's own
            pixels where they are 0. None weights all pixels equally.

    Raises:
        ConfigError: the pixel weights do not fit the target, are out of [0, 1] or 0 everywhere.
    """

    target: Tensor
    degradation: Degradation | None = None
    pixel_weights: Tensor | None = None

    def __post_init__(self) -> None:
        weights = self.pixel_weights
        if weights is None:
            return
        count, _, height, width = self.target.shape
        if weights.ndim != 4 or weights.shape[1:] != (1, height, width):
            raise ConfigError(
                f"pixel weights must be (N, 1, {height}, {width}) like the target,"
                f" not {tuple(weights.shape)}"
            )
        if len(weights) not in (1, count):
            raise ConfigError(f"pixel weights of {len(weights)} images for {count} targets")
        if weights.min() < 0 or weights.max() > 1 or not weights.flatten(1).any(dim=1).all():
            raise ConfigError("pixel weights must be in [0, 1], and not 0 everywhere")

    def on(self, device: torch.device) -> Constraint:
        """The constraint in float32 on a device, at 256² where it has no degradation."""
        target, weights = self.target.to(device, torch.float32), self.pixel_weights
        if weights is not None:
            weights = weights.to(target)
        if self.degradation is None:
            target = images.resize(target, images.WORKING_SIZE)
            weights = None if weights is None else images.resize(weights, images.WORKING_SIZE)
        if weights is not None:
            weights = weights.expand(len(target), -1, -1, -1)
        return replace(self, target=target, pixel_weights=weights)

    def degrade(self, outputs: Tensor) -> Tensor:
        """Outputs (N, 3, S, S) in the form that is compared with the target.

        Raises:
            ConfigError: the degradation gives another shape than the target's.
        """
        if self.degradation is None:
            return images.resize(outputs, images.WORKING_SIZE)
        degraded = self.degradation(outputs)
        if degraded.shape != self.target.shape:
            raise ConfigError(
                f"degraded outputs are {tuple(degraded.shape)},"
                f" the target is {tuple(self.target.shape)}"
            )
        return degraded

    def consistency(self, outputs: Tensor) -> float:
        """PSNR in dB between the target and degraded, clamped outputs, by the pixel weights."""
        here = self.on(outputs.device)
        squares = (here.degrade(outputs).clamp(-1, 1) - here.target).square()
        error = float(pixel_mean(squares, here.pixel_weights).mean())
        return 10 * math.log10(PEAK**2 / max(error, 1e-10))


def pixel_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """(N,) means of (N, C, H, W) over channels and pixels, weighted by (N, 1, H, W) if any."""
    if weights is None:
        return values.mean(dim=(1, 2, 3))
    weighted = (values.mean(dim=1, keepdim=True) * weights).sum(dim=(1, 2, 3))
    return weighted / weights.sum(dim=(1, 2, 3))
