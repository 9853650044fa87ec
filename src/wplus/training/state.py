"""The state of a run between two steps: one file that is complete or absent, and the run's lock.

Tensors (the trained network, its average, the optimizer) are safetensors, all else is JSON in the
same file's metadata; nothing is pickled. There are no random states in it: everything random in a
step follows from (seed, step, process), see `loop.reseed` and `data.mixture`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from wplus.config import ModelConfig
from wplus.errors import ConfigError, FormatError
from wplus.files import parse_json, save_tensors
from wplus.formats.opening import line
from wplus.formats.strict import load_strict
from wplus.training.config import STATES

logger = logging.getLogger(__name__)

KEY = "wplus-training"
VERSION = 1
LOCK = ".lock"
RENAMED = {"owed": "validation_due"}  # since 0.1.0


@dataclass
class State:
    """The state of a run, without its tensors.

    Attributes:
        step: number of steps made.
        model: what is trained, a `ModelConfig` in JSON form.
        fingerprints: digests of what must not change: data, validation, generator, ….
        best: step and loss of the best validation; empty before the first.
        means: sums for the next line of the log.
        validation_due: whether the validation of this step is still to be run.
        bad_steps: number of steps skipped in a row up to this one.
        skipped: number of steps skipped in all.
    """

    step: int = 0
    model: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    means: dict[str, list[float]] = field(default_factory=dict)
    validation_due: bool = False
    bad_steps: int = 0
    skipped: int = 0

    @property
    def model_config(self) -> ModelConfig:
        """The model that is trained."""
        return ModelConfig.parse(self.model)


@dataclass(frozen=True)
class Saved:
    """A state read from a file.

    Attributes:
        path: the file.
        state: all but the tensors.
        tensors: "network.*", "average.*" where there is one, "optimizer.*".
        optimizer: the optimizer's settings, and its numbers that are no tensors.
    """

    path: Path
    state: State
    tensors: dict[str, Tensor]
    optimizer: dict[str, Any]

    def restore(
        self, network: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
    ) -> None:
        """Load everything, bit for bit.

        Raises:
            FormatError: the tensors are those of another network.
            ConfigError: the optimizer is another one.
        """
        load_strict(network, self._under("network."), str(self.path))
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
    network: nn.Module,
    average: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    keep: int,
) -> Path:
    """Write the state of a run, then remove all but the newest `keep`.

    Raises:
        OSError: it cannot be written; earlier states are kept.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in (("network", network), ("average", average)):
        for name, value in module.state_dict().items() if module is not None else ():
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
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_tensors(copies, path, {KEY: json.dumps(about)})
    for old in states(run)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def states(run: Path) -> list[Path]:
    """The files of a run's states, the oldest first."""
    folder = run / STATES
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if re.fullmatch(r"\d{8,}\.safetensors", path.name))


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make the folder of a run and lock it: no other process trains in it meanwhile.

    A new run that fails before it wrote anything leaves no folder.

    Raises:
        ConfigError: another process is training in it.
    """
    new = not run.exists()
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / LOCK, timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"{run}: another process is training in this folder") from None
    finally:
        if new:
            with suppress(OSError):
                if {each.name for each in run.iterdir()} <= {LOCK}:
                    (run / LOCK).unlink(missing_ok=True)
                    run.rmdir()


def latest(run: Path) -> Saved | None:
    """The newest readable state of a run; None if it has no state.

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
    """The state in a file.

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
        about = parse_json(metadata[KEY])
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
    # In 0.1.0 the only trained network was an encoder.
    tensors = {re.sub(r"^encoder\.", "network.", name): x for name, x in tensors.items()}
    return Saved(path, state, tensors, optimizer)


def finite(*networks: nn.Module) -> bool:
    """Whether all weights and running statistics of networks are finite."""
    tensors = [x for network in networks for x in (*network.parameters(), *network.buffers())]
    return all(bool(x.isfinite().all()) for x in tensors if x.is_floating_point())


def _parse(content: Mapping[str, Any]) -> State:
    content = {RENAMED.get(name, name): value for name, value in content.items()}
    names = {item.name for item in fields(State)}
    if set(content) != names or not isinstance(content["step"], int):
        raise ValueError("its settings are others")
    return State(**content)
