"""Runs in processes of their own: killed without warning at random steps, stopped with signals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outcomes import assert_equal_runs, lines

from wplus.training import state

TESTS = Path(__file__).parents[1]
SETTINGS = {"steps": 24, "log_every": 3, "validate_every": 8, "save_every": 4}


def start(run: Path, **settings: object) -> subprocess.Popen[str]:
    given = [f"{name}={json.dumps(value)}" for name, value in {**SETTINGS, **settings}.items()]
    paths = [str(TESTS), str(TESTS / "training"), *sys.path]
    return subprocess.Popen(
        [sys.executable, str(TESTS / "training" / "toy.py"), str(run), *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def follow(process: subprocess.Popen[str], until: int | None = None) -> tuple[int, str]:
    """Read its steps up to one; the last that was read, and all other output."""
    step, other = 0, ""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():
            step = int(line)
            if step == until:
                break
        else:
            other += line
    return step, other


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_never_killed(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    assert follow(process)[0] == 24
    assert process.wait() == 0

    dice, reached = random.Random(os.environ.get("WPLUS_TEST_SEED", 5)), 0
    for _ in range(4):
        saved = state.states(killed)
        at = int(saved[-1].stem) if saved else 0
        process = start(killed)
        follow(process, until=dice.randint(at + 1, 23))
        process.send_signal(signal.SIGKILL)  # anywhere in the step after, or while it saves
        process.wait()
        follow(process)
        reached = max(reached, int(state.states(killed)[-1].stem) if state.states(killed) else 0)
    assert 0 < reached < 24
    process = start(killed)
    assert follow(process)[0] == 24
    assert process.wait() == 0
    assert_equal_runs(whole, killed)
    assert [path.name for path in killed.rglob(".*")] == [".lock"]  # no half-written files


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_loses_no_step(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers=workers, steps=100_000)
    follow(process, until=5)
    process.send_signal(signal.SIGINT)
    step, output = follow(process)
    step = max(step, 5)
    assert process.wait() == 0  # the library returns; the command makes it 130
    assert f"step={step}" in output
    assert f"signal={int(signal.SIGINT)}" in output
    assert "Traceback" not in output
    assert int(state.states(tmp_path)[-1].stem) == step
    assert all(entry["step"] <= step for entry in lines(tmp_path))
