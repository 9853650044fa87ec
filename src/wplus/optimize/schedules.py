"""The schedule of a model and a task: start and phases of the optimization."""

from __future__ import annotations

from wplus.errors import ConfigError
from wplus.psp import PSP
from wplus.schedules import Phase, Start
from wplus.tasks import TASKS, Task


def start_of(model: PSP, task: Task) -> Start:
    """The start of the optimization: the code of the model's encoder, or the mean code."""
    if model.encoder is None:
        return "mean"
    return "encoder" if model.config.task == task.name else "inversion"


def default_steps(model: PSP, task: Task) -> int:
    """The default number of refinement steps; 0 where an encoder suffices."""
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
        factor: of super-resolution: 256 divided by the size of the face in the input.

    Raises:
        ConfigError: the task's outputs differ from their inputs by intent, so they have no
            constraint.
    """
    if task.refinement is None:
        raise ConfigError(f"{task.name}: its outputs have no constraint to be refined on")
    return task.refinement.phases(steps, start_of(model, task), factor)


def photograph_task(model: PSP) -> Task:
    """The task for inverting photographs: the model's own if it is one, else inversion."""
    own = TASKS.get(model.config.task)
    inverts = own is not None and own.source == "photo" and own.refinement is not None
    return own if own is not None and inverts else TASKS["inversion"]
