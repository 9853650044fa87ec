"""Refinement in W+: optimize codes until the generator's images satisfy a constraint.

Optimization from the mean code is the slow, accurate way to invert an image ("Encoding in Style",
table 1, "W+ optimization"); from an encoder's code a few steps are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from wplus.errors import ConfigError
from wplus.generators import can_truncate, truncate
from wplus.losses import LossNetworks
from wplus.optimize.constraint import Constraint
from wplus.optimize.loop import minimize
from wplus.optimize.losses import Losses, Problem
from wplus.progress import Progress, part, silent
from wplus.psp import PSP
from wplus.schedules import Phase

BF16_UNITS = ("avx512_bf16", "amx_tile")


@dataclass(frozen=True)
class Refinement:
    """Refined codes.

    Attributes:
        codes: (N, L, style_dim); for each image the best of the last phase.
        losses: (N,) weighted totals of `codes`.
        steps: made through the whole generator.
        warmup_steps: made through the truncated generator before.
        history: the terms of every evaluation of the last phase and `loss`, (N,) each; number 0 is
            that phase's start.
    """

    codes: Tensor
    losses: Tensor
    steps: int
    warmup_steps: int
    history: list[dict[str, Tensor]] = field(repr=False)


def refine(
    model: PSP,
    constraint: Constraint | Tensor,
    start: Tensor | None = None,
    *,
    phases: Sequence[Phase] = (Phase(),),
    networks: LossNetworks | None = None,
    precision: torch.dtype | None = None,
    progress: Progress = silent,
) -> Refinement:
    """Optimize codes so that G(codes) satisfies a constraint.

    Each image of a batch is optimized independently: the batch changes nothing but the speed.

    Args:
        model: its generator is used, frozen.
        constraint: what is known of the N outputs; a tensor (N, 3, H, W) in [-1, 1] stands for
            whole images.
        start: (N, L, style_dim), or (1, L, style_dim) for all; the mean code if None.
        phases: runs of the optimizer, one after the other, see `RefinementSchedule.phases`.
        networks: of the losses; without them, those that have a weight are loaded.
        precision: of the convolutions during optimization, see `fast_precision`. The best codes
            replace the start only where they are better in the model's own precision, too. None
            is the model's own.
        progress: counts the steps of all phases, warm-up included.

    Returns:
        Codes that are never worse than the start of the last phase.

    Raises:
        ConfigError: a loss is unknown, or shapes do not fit.
        WeightsError: a network of the losses cannot be fetched.
    """
    if isinstance(constraint, Tensor):
        constraint = Constraint(constraint)
    constraint = constraint.on(model.device)
    codes = model.mean_codes[None] if start is None else start.to(model.device)
    codes = codes.detach().float().expand(len(constraint.target), -1, -1)
    losses = Losses(Problem(model, constraint, codes, networks or LossNetworks(model.device)))
    whole = model.generator
    generator = whole if precision is None else whole.at_precision(precision)
    if not can_truncate(whole):
        phases = [phase for phase in phases if not phase.truncated]
    if not phases:
        raise ConfigError("a refinement needs a phase through the whole generator")
    total = sum(phase.schedule.steps for phase in phases)
    before = steps = warmup_steps = 0
    for phase in phases:
        found = minimize(
            [codes],
            truncate(generator) if phase.truncated else generator.synthesize,
            partial(losses, phase.weights),
            phase.schedule,
            None if precision is None or phase.truncated else whole.synthesize,
            part(progress, before, total),
        )
        [codes] = found.variables
        before += phase.schedule.steps
        progress(before, total)  # an early stop skips the rest of a phase
        if phase.truncated:
            warmup_steps += found.steps
        else:
            steps += found.steps
    return Refinement(codes, found.losses, steps, warmup_steps, found.history)


def fast_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the processor computes in it, which more than halves the time; else None."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    if device.type != "cpu":
        return None
    # torch.cpu has no public name for these yet; where one is missing, so is the speed.
    checks = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in BF16_UNITS]
    return torch.bfloat16 if any(check() for check in checks if check is not None) else None
