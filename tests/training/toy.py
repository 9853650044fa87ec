"""A run in seconds: tiny networks, pictures made of a number. Also a program, to be killed.

python toy.py RUN [name=value …]: trains in RUN, with settings of the groups by name, and prints how
the run ended. A line of output tells when training has begun.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wplus.data import Dataset, Example, Mixture, Synthetic
from wplus.losses.objective import Objective
from wplus.psp import PSP
from wplus.training.config import GROUPS, TrainConfig
from wplus.training.loop import Result, train
from wplus.training.setup import Components

TESTS = Path(__file__).parents[1]


def neighbor(name: str) -> Any:
    """A file of another folder of tests, by its path: names there are not unique."""
    spec = importlib.util.spec_from_file_location(f"toy_{Path(name).stem}", TESTS / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = neighbor("tiny.py")
WEIGHTS = {"l2": 1.0, "regularization": 0.005, "code": 0.1}
FAST = {
    "steps": 12,
    "batch": 4,
    "learning_rate": 1e-2,
    "log_every": 2,
    "validate_every": 6,
    "save_every": 5,
    "workers": 0,
    "previews": 2,
    "device": "cpu",
    "threads": 1,
}


class Numbers(Dataset):
    """Pictures of 256 colors, each from its number."""

    def __init__(self, count: int, first: int = 0) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"number {self.first + index}"

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        colors = np.random.default_rng(self.first + index).uniform(-1, 1, (3, 16, 16))
        if rng is not None and rng.random() < 0.5:
            colors = colors[:, :, ::-1]
        picture = torch.from_numpy(colors.repeat(16, 1).repeat(16, 2).astype(np.float32))
        return {"name": self.name(index), "source": picture, "target": picture}


def model(generator: str = "stylegan2", encoder: str = "naive_wplus") -> PSP:
    made = tiny.model(generator, encoder)
    assert made.encoder is not None
    made.encoder.train().requires_grad_(True)
    return made


def components(
    settings: TrainConfig, weights: dict[str, float] = WEIGHTS, network: PSP | None = None
) -> Components:
    """Real and synthetic examples, batch norms and random noise: whatever can go astray."""
    network = network or model()
    parts = [
        (Numbers(7), 3.0),
        (Synthetic(network.num_styles, network.generator.style_dim), 1.0),
    ]
    mixture = Mixture(parts, settings.optimizer.batch, settings.run.seed)
    return Components(network, Objective(weights), mixture, Numbers(5, first=100))


def config(**settings: Any) -> TrainConfig:
    """Settings by name, of whatever group."""
    values = {**FAST, **settings}
    content = {}
    for group, kind in GROUPS.items():
        names = kind.__dataclass_fields__  # type: ignore[attr-defined]
        content[group] = {name: values.pop(name) for name in list(values) if name in names}
    assert not values, values
    return TrainConfig.parse(content)


def run(folder: Path, **settings: Any) -> Result:
    made = config(**settings)
    return train(made, folder, components=components(made))


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # at once: several processes share it
    sys.stdout.flush()


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    made = config(**{name: json.loads(value) for name, value in given.items()})
    several = made.run.devices > 1 or "TORCHELASTIC_RUN_ID" in os.environ
    things = components(made, network=model(encoder="compact" if several else "naive_wplus"))
    result = train(made, Path(sys.argv[1]), components=things, on_step=lambda at: say(at.step))
    say("end", result)
