"""The quick part of what is run by hand: some kills of every command, full and closed disks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(script: str, *arguments: str) -> str:
    paths = [str(HERE.parent), str(HERE.parent / "weights"), *sys.path]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(HERE / script), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_commands_leave_whole_files_and_are_continued() -> None:
    said = run("kill.py", "--times", "2", "--seed", os.environ.get("WPLUS_TEST_SEED", "5"))
    assert said.count("2 x SIG") == 8 and "FAILED" not in said


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="mounts")
def test_full_and_read_only_disks() -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    assert run("disks.py").count(" ok:") == 24
