"""The optimizer of codes: Adam, keeping the best code of every image, with early stopping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wplus.progress import Progress, silent
from wplus.schedules import Schedule

BETAS = (0.9, 0.99)

Synthesize = Callable[..., Tensor]
"""Variables to images (N, 3, S, S)."""
Losses = Callable[..., dict[str, Tensor]]
"""Images and variables to named terms, (N,) each; `loss` is the one that is minimized."""


@dataclass(frozen=True)
class Optimized:
    """The result of an optimization.

    Attributes:
        variables: for each image the best of all steps, including the start.
        losses: (N,), of these variables.
        steps: the number made.
        history: the terms of every evaluation, (N,) each; number 0 is the start.
    """

    variables: list[Tensor]
    losses: Tensor
    steps: int
    history: list[dict[str, Tensor]] = field(repr=False)


def minimize(
    start: Sequence[Tensor],
    synthesize: Synthesize,
    losses: Losses,
    schedule: Schedule,
    exact: Synthesize | None = None,
    progress: Progress = silent,
) -> Optimized:
    """Optimize variables to minimize the losses of their images.

    Each image of a batch is optimized independently: batching affects only the speed.

    Args:
        start: the variables, (N, …) each: codes, or other inputs of `synthesize`. A tensor that is
            not per image, such as a weight, requires N = 1 and is passed as (1, …).
        synthesize: called with the variables.
        losses: called with the images and the variables; the losses of an image must not depend
            on the others.
        schedule: steps, learning rate, early stop.
        exact: synthesis in full precision, if `synthesize` is not. With it the best variables are
            compared with the start at the end, and returned only where they are better.
        progress: called after every evaluation; the start's is number 0.
    """
    start = [tensor.detach() for tensor in start]
    variables = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = torch.optim.Adam(variables, lr=schedule.learning_rate, betas=BETAS)
    best = _Best(start)
    history: list[dict[str, Tensor]] = []
    step = last_gain = 0
    with torch.enable_grad():
        for step in range(schedule.steps + 1):
            terms = losses(synthesize(*variables), *variables)
            history.append({name: value.detach().cpu() for name, value in terms.items()})
            if best.update(terms["loss"].detach(), variables, schedule.tolerance):
                last_gain = step
            progress(step, schedule.steps)
            stalled = schedule.patience and step - last_gain >= schedule.patience
            if step == schedule.steps or stalled:
                break
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].sum().backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = learning_rate(schedule, step)
            optimizer.step()
    if exact is not None:
        found = best.variables
        best = _Best(start)
        with torch.no_grad():
            for tensors in (start, found):
                best.update(losses(exact(*tensors), *tensors)["loss"], tensors, schedule.tolerance)
    return Optimized(best.variables, best.losses, step, history)


class _Best:
    """For each image, the variables of the lowest loss so far."""

    def __init__(self, start: Sequence[Tensor]) -> None:
        self.variables = list(start)
        self.losses = torch.full((len(start[0]),), torch.inf, device=start[0].device)
        self.mark = self.losses

    def update(self, losses: Tensor, variables: Sequence[Tensor], tolerance: float) -> bool:
        """Keep better variables; returns whether any image improved by more than the tolerance."""
        better = losses < self.losses  # a loss that is not a number is never better
        self.losses = torch.where(better, losses, self.losses)
        self.variables = [
            torch.where(better.view(-1, *(1,) * (new.ndim - 1)), new.detach(), old)
            for new, old in zip(variables, self.variables)
        ]
        gained = self.losses < self.mark * (1 - tolerance)
        self.mark = torch.where(gained, self.losses, self.mark)
        return bool(gained.any())


def learning_rate(schedule: Schedule, step: int) -> float:
    """The rate of step 0, 1, …: it rises linearly and falls along a cosine."""
    done, left = (step + 1) / schedule.steps, 1 - step / schedule.steps
    up = min(1.0, done / schedule.ramp_up) if schedule.ramp_up else 1.0
    left = min(1.0, left / schedule.ramp_down) if schedule.ramp_down else 1.0
    # In float32, so that runs are bit-identical to those of earlier versions.
    down = 0.5 - 0.5 * float(torch.cos(torch.tensor(left * torch.pi)))
    return schedule.learning_rate * up * down
