"""The benchmark of the loader runs, and its record says what the figures depend on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_record_has_versions_threads_and_medians(tmp_path: Path) -> None:
    record = tmp_path / "loading.json"
    options = ("--no-step", "--threads", 1, "--rounds", 3, "--seconds", 0.05, "--workers", 0)
    command = [sys.executable, ROOT / "benchmarks" / "loading.py", *options, "--json", record]
    result = subprocess.run(
        list(map(str, command)), env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(record.read_text(encoding="utf-8"))
    machine = found["machine"]
    assert machine["threads"] == 1 and machine["rounds"] == 3
    assert machine["packages"]["torch"] == torch.__version__
    assert {"numpy", "pillow"} <= set(machine["packages"])
    assert machine["python"] and machine["cpu"] and machine["clock"] == "wall clock"
    assert found["batch"] == 8 and found["unit"] == "pictures a second"
    assert len(found["loader"]) == 6
    for name, by_workers in found["loader"].items():
        assert set(by_workers) == {"0"}
        assert 0 < by_workers["0"]["median"] <= by_workers["0"]["best"]
        # The table on the screen says the same.
        [line] = [line for line in result.stdout.splitlines() if line.startswith(f"{name:49}")]
        assert int(line.split()[-1]) == pytest.approx(by_workers["0"]["median"], abs=0.51)
    assert "step" not in found
