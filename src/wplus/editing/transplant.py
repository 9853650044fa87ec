"""Transplanting: a region of one face into another, by a code whose picture has both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LPIPS
from wplus.psp import PSP
from wplus.refine import Schedule, grid_energy

SIZE = 256  # pictures are compared at 256²


@dataclass(frozen=True)
class Demands:
    """What weighs how much.

    Attributes:
        region_l2: mean squared error to the donor, over the region.
        region_lpips: LPIPS to the donor, over the region.
        rest_l2: mean squared error to the receiver, over the rest.
        rest_lpips: LPIPS to the receiver, over the rest.
        distance: mean squared distance of the code from the receiver's.
        grid: see `refine.grid_energy`.
    """

    region_l2: float = 1.0
    region_lpips: float = 0.8
    rest_l2: float = 2.0
    rest_lpips: float = 1.6
    distance: float = 0.02
    grid: float = 10.0


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
    demands: Demands | None = None,
    schedule: Schedule | None = None,
    precision: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
    match_light: bool = True,
) -> Transplant:
    """Move the receiver's code until its picture shows the donor's inside a region.

    Outside of the region the receiver's own picture is what is wanted; all other pixels are the
    generator's choice, so the seam is one that a face can have.

    Args:
        model: its generator makes the pictures.
        receiver, donor: codes (L, style_dim).
        mask: (1, 1, S, S) in [0, 1], 1 in the region; see `regions`.
        lpips: the perceptual distance.
        demands: the weights.
        schedule: steps and learning rate; 60 steps by default.
        precision: of the generator's convolutions on the way, see `refine.fast_precision`.
        progress: called after every step with the step and the number of steps.
        match_light: bring the donor's colors to the receiver's along the edge of the region first,
            so that a pale face leaves no pale patch.

    Returns:
        The best code seen; the receiver's, if no step was better.

    Raises:
        ConfigError: codes of another shape, or a mask that is empty or everything.
    """
    demands = demands or Demands()
    schedule = schedule or Schedule(steps=60, learning_rate=0.06)
    for code in (receiver, donor):
        if tuple(code.shape) != tuple(model.mean_codes.shape):
            raise ConfigError(
                f"a code of {tuple(code.shape)} does not fit this model:"
                f" it takes {tuple(model.mean_codes.shape)}"
            )
    mask = images.resize(mask.to(model.device, torch.float32), SIZE)
    share = float(mask.mean())
    if not 1e-4 < share < 1 - 1e-4:
        raise ConfigError(f"the region is {share:.2%} of the picture; there is nothing to do")
    both = torch.stack([receiver, donor]).to(model.device).detach().float()
    with torch.no_grad():
        targets = [images.resize(model.decode(code[None]), SIZE).clamp(-1, 1) for code in both]
        if match_light:
            targets[1] = in_light_of(targets[1], targets[0], mask)
        seen = [lpips.features(target) for target in targets]
    start = both[:1]

    def terms(full: Tensor, code: Tensor) -> dict[str, Tensor]:
        picture = images.resize(full, SIZE)
        features = lpips.features(picture)
        rest = 1 - mask
        found = {
            "region_l2": _mean((picture - targets[1]).square().mean(1, keepdim=True), mask),
            "region_lpips": masked_distance(lpips, features, seen[1], mask),
            "rest_l2": _mean((picture - targets[0]).square().mean(1, keepdim=True), rest),
            "rest_lpips": masked_distance(lpips, features, seen[0], rest),
            "distance": (code - start).square().mean(),
        }
        if full.shape[-1] > SIZE:
            found["grid"] = grid_energy(full, picture).sum()
        weighted = [getattr(demands, name) * value for name, value in found.items()]
        return {**found, "loss": torch.stack(weighted).sum()}

    generator = model.generator
    if precision is not None:
        generator = generator.at_precision(precision)
    code = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([code], lr=schedule.learning_rate, betas=(0.9, 0.99))
    best, best_loss = start.clone(), float("inf")
    for step in range(schedule.steps + 1):
        with torch.enable_grad():
            loss = terms(generator.synthesize(code), code)["loss"]
            if float(loss.detach()) < best_loss:
                best, best_loss = code.detach().clone(), float(loss.detach())
            if step == schedule.steps:
                break
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        optimizer.step()
        if progress is not None:
            progress(step + 1, schedule.steps)
    with torch.no_grad():  # judged in the model's own precision
        before, after = (
            {name: float(value) for name, value in terms(model.decode(c), c).items()}
            for c in (start, best)
        )
    if after["loss"] >= before["loss"]:
        best, after = start, before
    return Transplant(best[0], before, after)


def in_light_of(donor: Tensor, receiver: Tensor, mask: Tensor) -> Tensor:
    """The donor's picture, shifted in color so that both agree on average along the soft edge.

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
    """LPIPS of two pictures over a region: the mean over places is weighted by the mask.

    Args:
        lpips: whose features `a` and `b` are, of one picture each.
        a, b: see `LPIPS.features`.
        mask: (1, 1, S, S) in [0, 1], not 0 everywhere.

    Returns:
        A number; with a mask of ones, LPIPS itself.
    """
    layers = []
    for x, y, head in zip(a, b, lpips.heads):
        at_places = F.conv2d((x - y).square(), head.to(x.dtype))
        height, width = at_places.shape[-2:]
        layers.append(_mean(at_places, images.resize(mask, (height, width))))
    return torch.stack(layers).sum()


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (1, 1, H, W) weighted by a mask of the same shape."""
    return (values * mask).sum() / mask.sum()


def blend(receiver: Tensor, result: Tensor, mask: Tensor) -> Tensor:
    """The result in the region and the receiver's own pixels around it.

    Args:
        receiver, result: (1, 3, S, S) in [-1, 1].
        mask: (1, 1, R, R) in [0, 1]; brought to their size.

    Returns:
        (1, 3, S, S).

    Raises:
        ConfigError: pictures of different sizes.
    """
    if receiver.shape != result.shape:
        raise ConfigError(
            f"cannot blend pictures of {tuple(receiver.shape)} and {tuple(result.shape)}"
        )
    return torch.lerp(receiver, result, images.resize(mask.to(result), result.shape[-1]))
