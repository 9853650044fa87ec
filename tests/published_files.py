"""Reference checkpoints and inputs, made by the rule of `tests/reference/weights.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import weights as reference_weights

REFERENCE = Path(reference_weights.__file__).parent


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
