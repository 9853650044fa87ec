"""Which model does a task: its own where one is shipped, or an inversion model where that will do.

Super-resolution and inpainting can do without an encoder of their own: refinement finds a code that
satisfies the constraint, starting from the inversion encoder's code or from the mean code.
"""

from __future__ import annotations

import torch

from wplus import models
from wplus.errors import ConfigError, WeightsError
from wplus.inference.options import Precision
from wplus.psp import PSP
from wplus.tasks import TASKS, Task


def name_for(task: Task) -> str:
    """The name of the shipped model that does a task best.

    Raises:
        WeightsError: none is shipped; the message says how to train one.
    """
    if task.model in models.NAMED:
        return str(task.model)
    if task.starts_from_inversion:
        inversion = TASKS["inversion"].model
        return str(inversion) if inversion in models.NAMED else models.DEFAULT
    raise WeightsError(
        f"no model is shipped for {task.name}; train one with `wplus train --task {task.name}"
        " --data DIR --out RUN` and name its file by --model"
    )


def check(model: PSP, name: str, task: Task) -> None:
    """Refuse a model whose encoder would read the input as something else.

    Raises:
        ConfigError: the model is of another kind of task.
    """
    if reads_source(model, task):
        return
    reads_photographs = model.config.task == "inversion" and model.config.source == "photo"
    if task.starts_from_inversion and (model.encoder is None or reads_photographs):
        return
    if model.encoder is None:
        raise ConfigError(
            f"{name}: has no encoder, which {task.name} needs; name a model trained with"
            f" `wplus train --task {task.name}`"
        )
    raise ConfigError(
        f"{name}: was trained for {model.config.task}, not for {task.name}; use it by"
        f" `wplus translate --task {model.config.task}`, or name another --model"
    )


def reads_source(model: PSP, task: Task) -> bool:
    """Whether the model's encoder reads the kind of source that the task has."""
    return model.encoder is not None and model.config.source == task.source


def load(name: str, device: str | torch.device = "cpu", precision: Precision = "auto") -> PSP:
    """`models.load` in the precision of the final image. Raises as it does."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return models.load(name, device, dtype)
