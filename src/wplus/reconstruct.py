"""Refinement as inversion does it: how many steps of which kind, from where it starts.

`refine` optimizes codes; here is what has turned out well for photographs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wplus.generators import can_truncate, truncate
from wplus.losses import LPIPS, IdentityLoss, load_mobilefacenet
from wplus.psp import PSP
from wplus.refine import Refinement, Schedule, Weights, refine

AHEAD_RATE = 0.06  # of Adam, through the short form of a generator


@dataclass(frozen=True)
class Plan:
    """How photographs are refined by inversion: it depends on where it starts.

    From an encoder's code, smaller steps are better; and as few of them leave the person not quite
    the same, faces get an identity term. Where the generator has a short form, twice as many steps
    through that come first (four hard photographs,
    30 steps: LPIPS .164 without any, .123 with 30 and .102 with 60 of them).

    Attributes:
        ahead: steps through the short form of the generator; 0 for none.
        schedule: of the steps that follow, through the whole generator.
        weights: `identity` needs its network.
    """

    ahead: int
    schedule: Schedule
    weights: Weights

    @classmethod
    def of(cls, model: PSP, steps: int) -> Plan:
        """For a model, and so many steps through its whole generator."""
        if model.encoder is None:
            return cls(0, Schedule(steps=steps), Weights())
        identity = 0.0 if model.config.task == "domain" else 0.03
        schedule = Schedule(steps=steps, learning_rate=0.04)
        ahead = 2 * steps if can_truncate(model.generator) else 0
        return cls(ahead, schedule, Weights(identity=identity))


def load_identity(model: PSP) -> IdentityLoss | None:
    """The net of the plan's identity term, where the model is; None where it has no weight.

    Raises:
        WeightsError: it cannot be fetched.
    """
    if not Plan.of(model, 1).weights.identity:
        return None
    return IdentityLoss(load_mobilefacenet()).to(model.device)


def refine_photographs(
    model: PSP,
    targets: Tensor,
    start: Tensor | None,
    plan: Plan,
    *,
    lpips: LPIPS,
    identity: IdentityLoss | None = None,
    precision: torch.dtype | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Refinement:
    """`refine` as the plan says; the codes and losses are those of the last part.

    Args:
        model, targets, start, lpips, identity, precision: see `refine`.
        plan: see `Plan.of`. Without an identity net, its term is left out.
        progress: called after every step with the steps so far and the mean loss.

    Returns:
        See `refine`; its steps count both parts.
    """
    weights = plan.weights if identity is not None else replace(plan.weights, identity=0.0)
    made = 0
    if plan.ahead and plan.schedule.steps:
        generator = model.generator
        if precision is not None:
            generator = generator.at_precision(precision)
        first = refine(
            model,
            targets,
            start,
            lpips=lpips,
            identity=identity,
            weights=replace(weights, grid=0.0),
            schedule=replace(plan.schedule, steps=plan.ahead, learning_rate=AHEAD_RATE),
            progress=progress,
            decoder=truncate(generator),
        )
        start, made = first.codes, first.steps
    last = refine(
        model,
        targets,
        start,
        lpips=lpips,
        identity=identity,
        weights=weights,
        schedule=plan.schedule,
        precision=precision,
        progress=None if progress is None else (lambda step, loss: progress(made + step, loss)),
    )
    return replace(last, steps=made + last.steps)
