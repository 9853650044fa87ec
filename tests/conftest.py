"""What many tests use: the reference cases, and the folders that test modules import from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # in networks this small, threads only wait for each other

REFERENCE = Path(__file__).parent / "reference"
sys.path[:0] = [str(REFERENCE), str(REFERENCE.parent)]
for folder in (
    "benchmarks",
    "recipes/toonify",
    "tests/formats",
):  # last: their names are not reserved
    sys.path.append(str(Path(__file__).parents[1] / folder))


@pytest.fixture(scope="session")
def cases() -> dict[str, np.ndarray]:
    """What the published implementation computed."""
    with np.load(REFERENCE / "cases.npz") as archive:
        return {name: archive[name] for name in archive.files}
