"""Which model does a task: its own where one is shipped, the inversion encoder where that will do.

Super-resolution and inpainting can do without an encoder of their own: a code that explains what is
known of the picture is found by refinement, and the inversion encoder, or the mean face, is where
it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from wplus import models
from wplus.errors import ConfigError, WeightsError
from wplus.psp import PSP
from wplus.tasks import Task

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "inversion": "faces",
        "frontalization": "faces-frontal",
        "sketch": "faces-sketch",
        "labels": "faces-labels",
        "super_resolution": "faces-super",
        "inpainting": "faces-inpainting",
        "toonify": "faces-toon",
    }
)
"""The shipped model of every task; it is used once `models.NAMED` has it."""

BY_REFINEMENT = ("inversion", "super_resolution", "inpainting")
"""Tasks that a model without an encoder of their own can do, by refinement."""


def name_for(task: Task) -> str:
    """The name of the shipped model that does a task best.

    Raises:
        WeightsError: none is shipped; the message says how to train one.
    """
    own = NAMES.get(task.name)
    if own in models.NAMED:
        return own
    if task.name in BY_REFINEMENT:
        return NAMES["inversion"] if NAMES["inversion"] in models.NAMED else models.DEFAULT
    raise WeightsError(
        f"no model is shipped for {task.name}; train one with `wplus train --task {task.name}"
        " --data DIR --out RUN` and name its file by --model"
    )


def check(model: PSP, name: str, task: Task) -> None:
    """Refuse a model of another task, whose encoder would read the input as something else.

    Raises:
        ConfigError: the model is of another task.
    """
    if model.config.task == task.name and model.encoder is not None:
        return
    if task.name in BY_REFINEMENT and (model.encoder is None or _reads_photographs(model)):
        return
    if model.encoder is None:
        raise ConfigError(
            f"{name}: has no encoder, which {task.name} needs; name a model trained with"
            f" `wplus train --task {task.name}`"
        )
    raise ConfigError(
        f"{name}: was trained for {model.config.task}, not for {task.name}; name another --model"
    )


def has_own_encoder(model: PSP, task: Task) -> bool:
    """Whether the model's encoder was trained for the task."""
    return model.encoder is not None and model.config.task == task.name


def _reads_photographs(model: PSP) -> bool:
    return model.config.task == "inversion" and model.config.source == "photo"


def load_for(
    task: Task,
    name: str | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[PSP, str]:
    """The model that does a task, and its name.

    Args:
        task: which.
        name: a name or a file, see `models.load`; None for the shipped one.
        device: see `models.load`.
        dtype: see `models.load`.

    Raises:
        ConfigError: the model is of another task, or makes no pictures.
        WeightsError: no model is shipped for the task, or it cannot be fetched.
        FormatError: the file is damaged, unsafe or unknown.
    """
    name = name_for(task) if name is None else name
    model = models.load(name, device, dtype)
    check(model, name, task)
    return model, name
