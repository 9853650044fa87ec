"""A trained model's encoder as the file that the package ships, and what 8 bits cost it.

python recipes/ship.py runs/faces/model.safetensors src/wplus/weights/faces.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from wplus import checkpoints
from wplus.config import ModelConfig
from wplus.formats.quantized import pack, unpack


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an encoder as it is shipped.")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--half", action="store_true", help="16 bits instead of 8")
    options = parser.parse_args()
    config, state = checkpoints.read(options.model)
    assert isinstance(config, ModelConfig) and config.encoder is not None
    encoder = {
        name.removeprefix("encoder."): value
        for name, value in state.items()
        if name.startswith("encoder.")
    }
    packed = {k: v.half() for k, v in encoder.items()} if options.half else pack(encoder)
    found = unpack(packed)
    lost = sum(float((found[k].float() - v.float()).square().sum()) for k, v in encoder.items())
    energy = sum(float(v.float().square().sum()) for v in encoder.values())
    checkpoints.write({"model": json.loads(config.to_json())}, packed, options.out)
    count = sum(value.numel() for value in encoder.values() if isinstance(value, torch.Tensor))
    size = options.out.stat().st_size
    print(f"{options.out}: {count / 1e6:.2f} M numbers in {size / 1e6:.2f} MB,", end=" ")
    print(f"relative error of the weights {(lost / energy) ** 0.5:.2e}")


if __name__ == "__main__":
    main()
