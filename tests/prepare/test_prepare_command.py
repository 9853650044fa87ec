"""The commands as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wplus import codes, faces


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wplus", *map(str, arguments)]
    # An index that answers nothing: no test here may reach the network.
    environment = {**os.environ, "WPLUS_INDEX_URL": "http://127.0.0.1:9/simple", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def photo(path: Path, seed: int = 0, size: int = 120) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize("command", ["sketches", "labels", "masks", "low-resolution"])
def test_help_has_examples(command: str) -> None:
    result = run("prepare", command, "--help")
    assert result.returncode == 0, result.stderr
    assert f"Example: wplus prepare {command}" in result.stdout
    assert "wplus train --task" in result.stdout


def test_prepare_counts_names_and_goes_on(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "1.png"), photo(tmp_path / "photos" / "2.png", 1)
    (tmp_path / "photos" / "3.png").write_text("no picture")
    arguments = ("prepare", "masks", tmp_path / "photos", "--out", tmp_path / "out", "--kind",
                 "boxes", "--coverage", "0.1", "0.2")  # fmt: skip
    result = run(*arguments)
    assert result.returncode == 1
    assert result.stdout.strip() == f"{tmp_path / 'out'}: 2 made, 1 failed"
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'photos' / '3.png'}: is no picture")
    with Image.open(tmp_path / "out" / "1.png") as mask:
        assert 0.08 < (np.asarray(mask) > 0).mean() <= 0.2
    (tmp_path / "photos" / "3.png").unlink()
    again = run(*arguments)
    assert again.returncode == 0
    assert again.stdout.strip() == f"{tmp_path / 'out'}: 0 made, 2 were there"
    other = run(*arguments, "--seed", 3)
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr == (
        f"error: {tmp_path / 'out'}: was made with seed 0, not with seed 3;"
        " choose another folder, or use the same settings\n"
    )


def test_paste(tmp_path: Path) -> None:
    original = photo(tmp_path / "photo.png")
    result = photo(tmp_path / "result.png", 7, 64)
    geometry = faces.CropGeometry(((20, 20), (20, 80), (80, 80), (80, 20)), (120, 120))
    file = tmp_path / "result.codes.safetensors"
    codes.save(torch.zeros(4, 8), file, {"crop": geometry.to_dict()})
    arguments = ("paste", original, result, "--codes", file, "--out", tmp_path / "new.png")
    done = run(*arguments, "--mask", "ellipse")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "new.png") as new, Image.open(original) as old:
        changed = (np.asarray(new) != np.asarray(old)).any(axis=2)
    assert (
        changed[45:65, 42:58].mean() > 0.98 and not changed[:20].any() and not changed[:, 81:].any()
    )

    codes.save(torch.zeros(4, 8), file, {})
    nothing = run(*arguments)
    assert nothing.returncode == 1 and "has no crop" in nothing.stderr
    small = faces.middle_square((100, 100))
    codes.save(torch.zeros(4, 8), file, {"crop": small.to_dict()})
    other = run(*arguments, "--mask", "square")
    assert other.returncode == 1
    assert other.stderr.startswith(
        f"error: {original}: the crop belongs to a photograph of 100x100"
    )
