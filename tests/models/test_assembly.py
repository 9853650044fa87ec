"""Networks built around a file's tensors: no import, no memory and no time beyond them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tiny
import wplus
from wplus import models
from wplus.config import ModelConfig, Part
from wplus.errors import FormatError
from wplus.models.assembly import Placeholders
from wplus.models.registry import NETWORKS, Network

HUGE = 10**9


def saved_with(path: Path, **options: Any) -> Path:
    """A tiny model whose file says other options of a part: `part={name: value}`."""
    model = tiny.model()
    config = json.loads(model.config.to_json())
    for part, changes in options.items():
        config[part]["options"] |= changes
    models.files.write({"model": config}, model.state_dict(), path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"generator": {"style_dim": HUGE}},
        {"generator": {"mapping_layers": HUGE}},
        {"generator": {"mapping_layers": 60_000}},
        {"generator": {"resolution": 2**30}},
        {"generator": {"resolution": 2**16}},
        {"generator": {"channel_base": HUGE, "channel_max": HUGE}},
        {"generator": {"channel_max": 60_000, "channel_base": 60_000}},
        {"encoder": {"num_styles": HUGE}},
        {"encoder": {"num_styles": 1024}},
        {"encoder": {"stages": [[HUGE, 1]] * 4}},
        {"encoder": {"stages": [[4, HUGE]] * 4}},
        {"encoder": {"stages": [[4, 60_000]] * 4}},
        {"encoder": {"input_size": -HUGE}},
        {"encoder": {"input_channels": 60_000, "style_dim": 60_000}},
    ],
)
def test_a_configuration_asks_for_no_more_than_its_file_has(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = saved_with(tmp_path / "model.safetensors", **options)
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(FormatError) as error:
            wplus.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert time.process_time() - start < 5
    assert peak < 20e6


def test_loading_imports_no_compiler(tmp_path: Path) -> None:
    """The meta device and random numbers on it would import sympy, which takes a second."""
    path = tmp_path / "model.safetensors"
    models.save(tiny.model("mobilestylegan", "compact"), path)
    code = f"import sys, wplus; wplus.load({str(path)!r}); print('sympy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize("part", [*tiny.GENERATORS.values(), *tiny.encoders(6).values(),
                                  *tiny.FROZEN.values()], ids=lambda part: part.kind)  # fmt: skip
def test_placeholders_have_no_memory(part: Part) -> None:
    plain = models.build(part).state_dict()
    state = torch.random.get_rng_state()
    with Placeholders(1000):
        found = models.build(part).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        k: (v.shape, v.dtype) for k, v in plain.items()
    }
    assert all(value.is_meta or value.ndim == 0 for value in found.values())


class WithConstant(nn.Module):
    """A network of a user, with a constant that is in no file."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.register_buffer("grid", torch.ones(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.grid


def test_constants_that_are_in_no_file(tmp_path: Path) -> None:
    NETWORKS.register(Network("mine", WithConstant))
    try:
        part = Part("mine", {"size": 3})
        network = models.build(part)
        models.save(network, tmp_path / "mine.safetensors", part)
        again = models.load_network(tmp_path / "mine.safetensors")
    finally:
        NETWORKS.unregister("mine")
    assert torch.equal(again(torch.ones(1, 3)), network(torch.ones(1, 3)))


def test_numbers_as_large_as_a_tensor_are_allowed() -> None:
    size = 70_000
    config = ModelConfig(tiny.GENERATORS["stylegan2"], Part("single_w", {"num_styles": size}))
    with pytest.raises(wplus.WplusError, match="encoder makes codes of 70000×512"):
        models.assemble(config, {"a": torch.zeros(size)}, "f")
