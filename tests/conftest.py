"""What many tests use: the reference rule, and small real models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # in networks this small, threads only wait for each other

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE))

import weights as reference_weights  # noqa: E402  (needs the folder on the path)


@pytest.fixture(scope="session")
def cases() -> dict[str, np.ndarray]:
    """What the published implementation computed."""
    with np.load(REFERENCE / "cases.npz") as archive:
        return {name: archive[name] for name in archive.files}


def reference_state(case: str) -> dict[str, torch.Tensor]:
    """The tensors of a reference checkpoint."""
    keys = json.loads((REFERENCE / "keys.json").read_text())[case]
    return {
        name: torch.from_numpy(np.asarray(reference_weights.weight(name, tuple(shape))))
        for name, shape in keys.items()
    }


def published_checkpoint(case: str, path: Path, **options: Any) -> Path:
    """Write a reference checkpoint in the published layout."""
    state = reference_state(case)
    num_styles = options.pop("num_styles")
    content = {
        "state_dict": state,
        "opts": {"input_nc": 3, "label_nc": 0, "start_from_latent_avg": True, **options},
        "latent_avg": torch.from_numpy(reference_weights.normal("latent_avg", (num_styles, 512))),
    }
    torch.save(content, path)
    return path


def picture(name: str, shape: tuple[int, int, int, int]) -> torch.Tensor:
    """The input of a reference case, (N, C, H, W) in [-1, 1]."""
    return torch.from_numpy(reference_weights.picture(name, shape))


def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal numbers that belong to a name."""
    return torch.from_numpy(reference_weights.normal(name, shape))
