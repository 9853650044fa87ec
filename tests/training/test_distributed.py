"""Several processes train as one: the same data, the same gradients, the same files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from outcomes import lines, tensors
from safetensors.torch import load_file

from wplus.errors import ConfigError
from wplus.training import distributed, state
from wplus.training.config import RunSettings

TESTS = Path(__file__).parents[1]
SETTINGS = {"steps": 9, "noise": "fixed", "log_every": 3, "validate_every": 9, "save_every": 4}


def launch(run: Path, *before: str, **settings: object) -> subprocess.CompletedProcess[str]:
    given = [f"{name}={json.dumps(value)}" for name, value in {**SETTINGS, **settings}.items()]
    paths = [str(TESTS), str(TESTS / "training"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*(before or (sys.executable,)), str(TESTS / "training" / "toy.py"), str(run), *given],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


def torchrun(count: int) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = [sys.executable, "-m", "torch.distributed.run"]
    return [
        *module,
        f"--nproc_per_node={count}",
        "--master_addr=127.0.0.1",
        f"--master_port={port}",
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with the whole batch."""
    import toy

    run = tmp_path_factory.mktemp("alone")
    made = toy.config(**SETTINGS)
    components = toy.components(made, network=toy.model(encoder="compact"))
    toy.train(made, run, components=components)
    return run


def assert_follows(run: Path, alone: Path) -> None:
    first, second = lines(alone), lines(run)
    assert [e["step"] for e in first] == [e["step"] for e in second]  # nothing written twice
    for a, b in zip(first, second):
        assert a.keys() == b.keys()
        assert {k: v for k, v in b.items() if k != "event"} == pytest.approx(
            {k: v for k, v in a.items() if k != "event"}, rel=1e-4
        )
    ours, theirs = tensors(run), tensors(alone)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("own", [True, False])
def test_two_processes_of_two_follow_one_of_four(alone: Path, tmp_path: Path, own: bool) -> None:
    """Started by themselves (devices=2), or by torchrun."""
    pytest.importorskip("lightning_fabric")
    result = launch(tmp_path, devices=2) if own else launch(tmp_path, *torchrun(2))
    assert result.returncode == 0, result.stderr
    assert_follows(tmp_path, alone)
    [entry] = [e for e in lines(tmp_path) if e["event"] == "validation"]
    assert entry["images"] == 5  # an odd number of pictures: none dropped, none doubled
    assert result.stdout.count("end Result") == 2


@pytest.mark.slow
def test_a_run_can_go_on_with_another_number_of_processes(alone: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    assert launch(tmp_path, *torchrun(2), steps=5).returncode == 0
    assert state.states(tmp_path)[-1].name == "00000005.safetensors"
    import toy

    made = toy.config(**SETTINGS)
    toy.train(made, tmp_path, components=toy.components(made, network=toy.model(encoder="compact")))
    ours, theirs = load_file(state.states(tmp_path)[-1]), tensors(alone)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    result = launch(tmp_path, *torchrun(2), batch=5)
    assert result.returncode != 0
    assert "batch of 5 cannot be divided among 2 processes" in result.stderr


def test_without_fabric_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ConfigError, match=r"pip install 'wplus\[train\]'"):
        distributed.start(RunSettings(device="cpu", devices=2))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"pip install 'wplus\[train\]'"):
        distributed.start(RunSettings(device="cpu"))


def test_one_process_needs_nothing_more() -> None:
    alone = distributed.start(RunSettings(device="cpu"))
    assert (alone.rank, alone.world, alone.device.type) == (0, 1, "cpu")
    layer, values = torch.nn.Linear(2, 2), torch.ones(2)
    assert alone.wrap(layer) is layer
    assert alone.sum(values) is values
    with alone.unsynced(layer, True):
        alone.wait()


def test_compilation_holds_for_methods_that_call_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    layer = torch.nn.Linear(2, 2)
    alone = distributed.start(RunSettings(device="cpu"))
    assert alone.wrap(layer, compiled=True) is layer  # in place: `self(...)` is compiled, too
    assert compiled == [layer]


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "meta:x"])
def test_devices_that_are_not_there_are_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
        distributed.start(RunSettings(device=device))


def test_one_device_is_not_several() -> None:
    with pytest.raises(ConfigError, match="--devices 2: this machine has 1 for training on cuda:1"):
        distributed.start(RunSettings(device="cuda:1", devices=2))
