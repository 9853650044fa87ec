"""Everything a run needs to go on exactly where it was, in one file that is whole or not there.

Tensors (the encoder, its average, the optimizer with its slow weights) are safetensors, all else is
JSON in the same file's metadata; nothing is pickled. There are no random states in it: whatever is
random in a step follows from (seed, step, process), see `loop.reseed` and `data.mixture`, so the
step is the state.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wplus.config import ModelConfig
from wplus.errors import ConfigError, FormatError
from wplus.files import atomic
from wplus.formats.opening import line
from wplus.formats.strict import load_strict
from wplus.training.config import STATES

logger = logging.getLogger(__name__)

KEY = "wplus-training"
VERSION = 1


@dataclass
class State:
    """A run between two steps, without its tensors.

    Attributes:
        step: steps made.
        model: what is trained, a `ModelConfig` in JSON form.
        fingerprints: of what must not change: data, validation, generator, ….
        best: step and loss of the best validation; none yet if empty.
        means: of the log, since its last line.
        owed: whether the validation that belongs to this step is still to be made.
        bad_steps: steps that were skipped, the last so many in a row.
        skipped: steps that were skipped in all.
    """

    step: int = 0
    model: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    means: dict[str, list[float]] = field(default_factory=dict)
    owed: bool = False
    bad_steps: int = 0
    skipped: int = 0

    @property
    def model_config(self) -> ModelConfig:
        """What is trained."""
        return ModelConfig.parse(self.model)


@dataclass(frozen=True)
class Saved:
    """A state as it was read.

    Attributes:
        path: its file.
        state: without tensors.
        tensors: "encoder.*", "average.*" where there is one, "optimizer.*".
        optimizer: the optimizer's settings, and its numbers that are no tensors.
    """

    path: Path
    state: State
    tensors: dict[str, Tensor]
    optimizer: dict[str, Any]

    def restore(
        self, encoder: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
    ) -> None:
        """Put everything back, bit for bit.

        Raises:
            FormatError: the tensors are those of another encoder.
            ConfigError: the optimizer is another one.
        """
        load_strict(encoder, self._under("encoder."), str(self.path))
        if average is not None:
            load_strict(average, self._under("average."), str(self.path))
        kinds = (self.optimizer["kind"], type(optimizer).__name__)
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"{self.path}: is of another optimizer, {kinds[0]} and not {kinds[1]}"
            )
        try:
            optimizer.load_state_dict(self._optimizer())
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{self.path}: is of other parameters ({line(error)})") from None

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }

    def _optimizer(self) -> dict[str, Any]:
        state: dict[int, dict[str, Any]] = {
            int(place): dict(values) for place, values in self.optimizer["numbers"].items()
        }
        for name, value in self._under("optimizer.").items():
            place, key = name.split(".", 1)
            state.setdefault(int(place), {})[key] = value
        return {"state": state, "param_groups": self.optimizer["groups"]}


def save(
    run: Path,
    state: State,
    encoder: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    keep: int,
) -> Path:
    """Write the state of a run, then remove all but the newest `keep`.

    Raises:
        OSError: it cannot be written; what was there before is still there then.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, network in (("encoder", encoder), ("average", average)):
        for name, value in network.state_dict().items() if network is not None else ():
            tensors[f"{prefix}.{name}"] = value
    content = optimizer.state_dict()
    numbers: dict[str, dict[str, Any]] = {}
    for place, values in content["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{place}.{key}"] = value
            else:
                numbers.setdefault(str(place), {})[key] = value
    about = {
        "version": VERSION,
        "state": asdict(state),
        "optimizer": {
            "kind": type(optimizer).__name__,
            "numbers": numbers,
            "groups": content["param_groups"],
        },
    }
    path = run / STATES / f"{state.step:08d}.safetensors"
    # Copies, because safetensors refuses tensors that share memory.
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic(path) as temporary:
        save_file(whole, temporary, metadata={KEY: json.dumps(about)})
    for old in states(run)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def states(run: Path) -> list[Path]:
    """The files of a run's states, the oldest first."""
    folder = run / STATES
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if re.fullmatch(r"\d{8,}\.safetensors", path.name))


def sweep(run: Path) -> None:
    """Remove what a process that was killed has left half written."""
    # Names of `files.atomic`, and of safetensors, which writes under a name of its own first.
    for path in (*run.glob(".*"), *(run / STATES).glob(".*")):
        if re.fullmatch(r"\..+\.[0-9a-f]{12}\.\w+|\.tmp\w{6}", path.name):
            path.unlink(missing_ok=True)


def latest(run: Path) -> Saved | None:
    """The newest state of a run that can be read; None if it has none.

    Raises:
        FormatError: there are states, but none can be read.
    """
    found = states(run)
    for path in reversed(found):
        try:
            return read(path)
        except FormatError as error:
            logger.warning("%s; going back to the one before", error)
    if found:
        raise FormatError(f"{run}: none of its {len(found)} states can be read")
    return None


def read(path: Path) -> Saved:
    """A state.

    Raises:
        FormatError: the file is missing, damaged, or no state of this version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as a state ({line(error)})") from None
    try:
        about = json.loads(metadata[KEY])
        if about["version"] != VERSION:
            raise FormatError(
                f"{path}: is of version {about['version']!r}; this wplus reads {VERSION}"
            )
        state = _parse(about["state"])
        optimizer = about["optimizer"]
        optimizer["kind"], optimizer["numbers"].items(), optimizer["groups"][0]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: is no state of a training run ({line(error)})") from None
    return Saved(path, state, tensors, optimizer)


def _parse(content: Mapping[str, Any]) -> State:
    known = {item.name for item in fields(State)}
    if set(content) != known or not isinstance(content["step"], int):
        raise ValueError("its settings are others")
    return State(**content)
