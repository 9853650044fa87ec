"""Transplanting: a region of one face into another, by a code whose image has both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LPIPS
from wplus.optimize import grid_energy, minimize, pixel_mean, total
from wplus.progress import Progress, silent
from wplus.psp import PSP
from wplus.schedules import LossWeights, Schedule

WEIGHTS: LossWeights = {
    "region_l2": 1.0,
    "region_lpips": 0.8,
    "rest_l2": 2.0,
    "rest_lpips": 1.6,
    "distance": 0.02,
    "grid": 10.0,
}
"""Of L2 and LPIPS to the donor in the region and to the receiver in the rest, of the mean squared
distance from the receiver's code, and of `optimize.grid_energy`."""

SCHEDULE = Schedule(steps=60, learning_rate=0.06, patience=0)


@dataclass(frozen=True, eq=False)
class Transplant:
    """What came out.

    Attributes:
        codes: (L, style_dim).
        before: terms of the receiver's code, by name.
        after: terms of `codes`.
    """

    codes: Tensor
    before: dict[str, float]
    after: dict[str, float]


def transplant(
    model: PSP,
    receiver: Tensor,
    donor: Tensor,
    mask: Tensor,
    lpips: LPIPS,
    weights: LossWeights = WEIGHTS,
    schedule: Schedule = SCHEDULE,
    precision: torch.dtype | None = None,
    progress: Progress = silent,
) -> Transplant:
    """Move the receiver's code until its image shows the donor's face in a region.

    The target is the donor's image in the region, its colors brought to the receiver's along the
    edge, and the receiver's own image elsewhere. All pixels are the generator's, so there is no
    seam.

    Args:
        model: its generator makes the images.
        receiver, donor: codes (L, style_dim).
        mask: (1, 1, S, S) in [0, 1], 1 in the region; see `regions`.
        lpips: the perceptual distance.
        weights: of the losses.
        schedule: steps and learning rate.
        precision: of the convolutions during optimization, see `optimize.fast_precision`.
        progress: called after every step.

    Returns:
        The best code that was seen; the receiver's if no step was better.

    Raises:
        ConfigError: codes of another shape, or a mask that is empty or everything.
    """
    generator, size = model.generator, images.WORKING_SIZE
    codes = [generator.broadcast(code[None].to(model.device)) for code in (receiver, donor)]
    start = codes[0].detach().float()
    mask = images.resize(mask.to(model.device, torch.float32), size)
    share = float(mask.mean())
    if not 1e-4 < share < 1 - 1e-4:
        raise ConfigError(f"the region is {share:.2%} of the image; there is nothing to do")
    with torch.no_grad():
        into, giver = images.resize(model.decode(torch.cat(codes)), size).clamp(-1, 1).chunk(2)
        # So that a pale face leaves no pale patch.
        parts = {"region": (in_light_of(giver, into, mask), mask), "rest": (into, 1 - mask)}
        seen = {name: lpips.features(target) for name, (target, _) in parts.items()}

    def losses(full: Tensor, code: Tensor) -> dict[str, Tensor]:
        pooled = images.resize(full, size)
        features = lpips.features(pooled)
        terms = {}
        for name, (target, area) in parts.items():
            terms[f"{name}_l2"] = pixel_mean((pooled - target).square(), area)
            terms[f"{name}_lpips"] = masked_distance(lpips, features, seen[name], area)
        terms["distance"] = (code - start).square().mean(dim=(1, 2))
        if full.shape[-1] > size:
            terms["grid"] = grid_energy(full, pooled)
        return total(terms, weights)

    fast = generator if precision is None else generator.at_precision(precision)
    [best] = minimize([start], fast.synthesize, losses, schedule, progress=progress).variables
    with torch.no_grad():  # compared in the model's own precision
        before, after = (
            {name: float(value) for name, value in losses(model.decode(code), code).items()}
            for code in (start, best)
        )
    if after["loss"] >= before["loss"]:
        best, after = start, before
    return Transplant(best[0], before, after)


def in_light_of(donor: Tensor, receiver: Tensor, mask: Tensor) -> Tensor:
    """The donor's image, shifted in color so that both agree on average along the soft edge.

    Args:
        donor, receiver: (1, 3, S, S) in [-1, 1].
        mask: (1, 1, S, S) in [0, 1]; a hard one is softened for this.

    Returns:
        (1, 3, S, S) in [-1, 1].
    """
    edge = F.avg_pool2d(mask, 9, stride=1, padding=4, count_include_pad=False)
    edge = edge * (1 - edge)
    shift = ((receiver - donor) * edge).sum((2, 3), keepdim=True) / edge.sum().clamp_min(1e-6)
    return (donor + shift).clamp(-1, 1)


def masked_distance(lpips: LPIPS, a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor) -> Tensor:
    """LPIPS of two images over a region: the mean over places is weighted by the mask.

    Args:
        lpips: whose features `a` and `b` are, of one image each.
        a, b: see `LPIPS.features`.
        mask: (1, 1, S, S) in [0, 1], not 0 everywhere.

    Returns:
        (1,); with a mask of ones, LPIPS itself.
    """
    layers = []
    for x, y, head in zip(a, b, lpips.heads):
        at_places = F.conv2d((x - y).square(), head.to(x.dtype))
        layers.append(
            pixel_mean(at_places, images.resize(mask, (at_places.shape[2], at_places.shape[3])))
        )
    return torch.stack(layers).sum(dim=0)


def blend(receiver: Tensor, result: Tensor, mask: Tensor) -> Tensor:
    """The result in the region and the receiver's own pixels around it.

    Args:
        receiver, result: (1, 3, S, S) in [-1, 1].
        mask: (1, 1, R, R) in [0, 1]; brought to their size.

    Returns:
        (1, 3, S, S).

    Raises:
        ConfigError: images of different sizes.
    """
    if receiver.shape != result.shape:
        raise ConfigError(
            f"cannot blend images of {tuple(receiver.shape)} and {tuple(result.shape)}"
        )
    return torch.lerp(receiver, result, images.resize(mask.to(result), result.shape[-1]))
