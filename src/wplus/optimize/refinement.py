"""Refinement in W+: optimize codes so that the generator's images satisfy a constraint.

Optimization from the mean code inverts an image slowly and accurately ("Encoding in Style",
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
        steps: number of steps through the whole generator.
        warmup_steps: number of steps through the truncated generator before.
        history: the terms and `loss` of every evaluation of the last phase, (N,) each; number 0 is
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

    Each image of a batch is optimized independently: batching affects only the speed.

    Args:
        model: its generator is used, frozen.
        constraint: on the N outputs; a tensor (N, 3, H, W) in [-1, 1] constrains whole images.
        start: (N, L, style_dim), or (1, L, style_dim) for all; the mean code if None.
        phases: consecutive runs of the optimizer, see `RefinementSchedule.phases`.
        networks: of the losses; None loads those with a weight.
        precision: of the convolutions during optimization, see `fast_precision`; None is the
            model's own. The best codes replace the start only where they are better in the model's
            own precision, too.
        progress: counts the steps of all phases, including warm-up.

    Returns:
        Codes that are never worse than the start of the last phase.

    Raises:
        ConfigError: a loss is unknown, shapes do not fit, or no phase can run.
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
    # torch.cpu has no public functions for these yet; a missing one means no support.
    checks = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in BF16_UNITS]
    return torch.bfloat16 if any(check() for check in checks if check is not None) else None
