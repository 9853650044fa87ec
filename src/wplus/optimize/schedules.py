"""Which schedule a model and a task have: where optimization starts, and its phases."""

from __future__ import annotations

from wplus.errors import ConfigError
from wplus.psp import PSP
from wplus.schedules import Phase, Start
from wplus.tasks import TASKS, Task


def start_of(model: PSP, task: Task) -> Start:
    """Where optimization starts: at the code of the model's encoder, or at its mean code."""
    if model.encoder is None:
        return "mean"
    return "encoder" if model.config.task == task.name else "inversion"


def default_steps(model: PSP, task: Task) -> int:
    """Steps without which the model does not do the task well."""
    schedule = task.refinement
    return 0 if schedule is None else schedule.steps.get(start_of(model, task), 0)


def phases_for(
    model: PSP, task: Task, steps: int, factor: float | None = None
) -> tuple[Phase, ...]:
    """The phases that refine the codes of a task.

    Args:
        model: whose codes are optimized.
        task: a row with a refinement schedule.
        steps: through the whole generator.
        factor: of super-resolution: by how much the face is smaller than 256².

    Raises:
        ConfigError: the task's outputs differ from their inputs on purpose, so that nothing is
            known of them.
    """
    if task.refinement is None:
        raise ConfigError(f"{task.name}: its outputs have no constraint to be refined on")
    return task.refinement.phases(steps, start_of(model, task), factor)


def photograph_task(model: PSP) -> Task:
    """The task that inverts photographs: the model's own where it does, else inversion."""
    own = TASKS.get(model.config.task)
    inverts = own is not None and own.source == "photo" and own.refinement is not None
    return own if own is not None and inverts else TASKS["inversion"]
