"""What a run left behind, to be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from wplus.training import state


def lines(run: Path) -> list[dict[str, Any]]:
    """The log, without what depends on the clock."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for entry in found:
        entry.pop("images_per_second", None)
    return found


def tensors(run: Path) -> dict[str, Tensor]:
    return load_file(state.states(run)[-1])


def assert_equal_runs(a: Path, b: Path) -> None:
    """Bit for bit: states, models, logs."""
    assert lines(a) == lines(b)
    for name in ("best.safetensors", "model.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    first, second = tensors(a), tensors(b)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    saved = [state.read(state.states(run)[-1]).state for run in (a, b)]
    assert saved[0] == saved[1]
