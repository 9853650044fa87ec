"""A model whose encoder looks once, made ready to look again; it then begins where it was.

python recipes/second_look.py runs/one/model.safetensors two.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from wplus import models
from wplus.config import ModelConfig, Part

STEM = "encoder.trunk.stem.0.conv.weight"


def main() -> None:
    parser = argparse.ArgumentParser(description="Let an encoder look again.")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--looks", type=int, default=2)
    options = parser.parse_args()
    config, state = models.read(options.model)
    assert isinstance(config, ModelConfig) and config.encoder is not None
    part = Part(config.encoder.kind, {**config.encoder.options, "looks": options.looks})
    stem = state[STEM]
    state[STEM] = torch.cat([stem, stem.new_zeros(len(stem), 3, *stem.shape[2:])], 1)
    for name, value in models.build(part).state_dict().items():
        state.setdefault(f"encoder.{name}", value)
    model = models.assemble(replace(config, encoder=part), state, str(options.model))
    models.save(model, options.out)


if __name__ == "__main__":
    main()
