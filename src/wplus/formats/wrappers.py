"""The tensors of a network in checkpoints of different programs.

A network is published as a bare `state_dict`, under one of several keys, with `module.` in its
names (DataParallel), as parts by name, or as safetensors. All become one `Checkpoint`.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.opening import line, shown

# The averaged weights come first, since files have them beside the others.
KEYS: tuple[str, ...] = (
    "g_ema",
    "G_ema",
    "params_ema",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "params",
)
KEYS += ("net", "network", "module", "generator", "g", "G")
PARTS = ("encoder", "decoder")
WRAPPERS = {"module", "_orig_mod"}  # names that DataParallel and torch.compile put in between
MEAN = "latent_avg"


class Checkpoint(NamedTuple):
    """What a published file holds.

    Attributes:
        state: the network's tensors by name.
        options: those of its training; empty if it has none.
        mean: `latent_avg`, if it has it.
    """

    state: dict[str, Tensor]
    options: dict[str, Any]
    mean: Tensor | None


def unwrap(content: object, what: str) -> Checkpoint:
    """The network in an unpickled checkpoint.

    Raises:
        FormatError: it holds no table of tensors; `what` begins the message.
    """
    if not isinstance(content, Mapping):
        raise FormatError(f"{what}: holds a {type(content).__name__}, not a table of tensors")
    options = _options(content.get("opts"), what)
    mean = content.get(MEAN)
    state: Mapping[Any, Any] = content
    while key := next((key for key in KEYS if isinstance(state.get(key), Mapping)), None):
        state = state[key]
        mean = state.get(MEAN) if mean is None else mean
    if all(isinstance(state.get(part), Mapping) for part in PARTS):
        state = {f"{part}.{name}": value for part in PARTS for name, value in state[part].items()}
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == MEAN:
            continue
        ours = _tensor(value)
        if not isinstance(name, str) or ours is None:
            kind = type(value).__name__
            raise FormatError(f"{what}: holds a {kind} at {shown(str(name))}, not a tensor")
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if short in tensors:
            raise FormatError(f"{what}: holds {shown(short)} twice, with and without a wrapper")
        tensors[short] = ours
    return Checkpoint(tensors, options, _mean(mean, what))


def read_safetensors(path: Path) -> Checkpoint:
    """A mirror of a published checkpoint; options may stand in the metadata, as text.

    Raises:
        FormatError: damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            options = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})") from None
    found = unwrap(state, str(path))
    return found._replace(options=options)


def _options(options: object, what: str) -> dict[str, Any]:
    """The options as a table; training code saves them as one, users as a namespace too."""
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return dict(options)
    if isinstance(options, Namespace):
        return dict(vars(options))
    raise FormatError(f"{what}: its 'opts' are a {type(options).__name__}, not a table")


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.ascontiguousarray(value))
    return value if isinstance(value, Tensor) else None


def _mean(value: object, what: str) -> Tensor | None:
    mean = _tensor(value)
    if value is not None and mean is None:
        raise FormatError(f"{what}: its {MEAN} is a {type(value).__name__}, not a tensor")
    return mean
