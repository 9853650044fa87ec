"""A trained model's network as the file that the package ships, and what few bits cost it.

python recipes/ship.py RUN/model.safetensors src/wplus/weights/faces.safetensors
python recipes/ship.py RUN/model.safetensors faces-corrector.safetensors --corrector
python recipes/ship.py RUN/model.safetensors src/wplus/weights/faces-sketch.safetensors --base faces
python recipes/ship.py RUN/model.safetensors src/wplus/weights/mobilestylegan-toon.safetensors
    --generator --base mobilestylegan-ffhq

Differences can be read only while their base stays as it is: ship the base first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from wplus import models
from wplus.config import ModelConfig
from wplus.errors import FormatError, WplusError
from wplus.formats import differences
from wplus.formats.quantized import half, pack, unpack


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an encoder or generator as it is shipped.")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--generator", action="store_true", help="the generator, not the encoder")
    parts.add_argument("--corrector", action="store_true", help="the corrector, not the encoder")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--half", action="store_true", help="16 bits instead of 8")
    ways.add_argument(
        "--base", help="4 bits of what differs from this model: a shipped name, or a file of one"
    )
    options = parser.parse_args()
    part = "generator" if options.generator else "encoder"
    part = "corrector" if options.corrector else part
    try:
        config, state = network_of(options.model, part)
        if options.base is None:
            packed = {k: half(v) for k, v in state.items()} if options.half else pack(state)
            content = {"model": json.loads(config.to_json())}
            if options.corrector:
                content = {"network": content["model"]["corrector"]}
            models.files.write(content, packed, options.out)
            found, base = unpack(packed), None
        else:
            name, base = base_of(options.base, part)
            if name == options.out.stem:
                parser.error(f"{options.out} would be its own base; name the file otherwise")
            found = write_differences(config, part, state, name, base, options.out)
    except (WplusError, ValueError) as error:
        parser.error(str(error))
    count = sum(value.numel() for value in state.values())
    size = options.out.stat().st_size
    print(f"{options.out}: {count / 1e6:.2f} M numbers in {size / 1e6:.2f} MB,", end=" ")
    print(f"relative error of the weights {distance(found, state) / norm(state):.2e}")
    if base is not None:
        same = {k for k, v in base.items() if k in state and v.shape == state[k].shape}
        apart = distance({k: base[k] for k in same}, {k: state[k] for k in same})
        print(f"difference from the base: {apart / norm(state):.3f} of the weights", end=" ")
        lost = distance({k: found[k] for k in same}, {k: state[k] for k in same})
        print(f"in {len(same)} of {len(state)} tensors", end=", ")
        print(f"stored with a relative error of {lost / max(apart, 1e-30):.3f}")


def network_of(path: Path, part: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and tensors of one network of a model file, without its name before them."""
    config, state = models.read(path)
    if not isinstance(config, ModelConfig) or getattr(config, part) is None:
        raise FormatError(f"{path}: has no {part}")
    start = f"{part}."
    if part == "generator":
        config = replace(config, encoder=None)
    found = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
    return config, found or state  # a shipped encoder's file has nothing but the encoder


def base_of(name: str, part: str) -> tuple[str, dict[str, Tensor]]:
    """The name that the file will give as its base, and that network's tensors."""
    if name in models.SHIPPED:
        return name, models.tensors_of(name, part)[1]
    path = Path(name)
    if path.stem not in models.SHIPPED:
        raise FormatError(f"{name}: a base must be one of {', '.join(models.SHIPPED)}")
    return path.stem, network_of(path, part)[1]


def write_differences(
    config: ModelConfig,
    part: str,
    state: Mapping[str, Tensor],
    base_name: str,
    base: Mapping[str, Tensor],
    path: Path,
) -> dict[str, Tensor]:
    """Write one network as differences from another model's; the tensors that readers will have."""
    packed = differences.pack(state, base)
    about = {"part": part, "base": base_name, "sha256": differences.digest(base)}
    content = {"model": json.loads(config.to_json()), "differences": about}
    models.files.write(content, packed, path)
    return differences.unpack(packed, base)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return sum(float((one[k].float() - v.float()).square().sum()) for k, v in other.items()) ** 0.5


def norm(state: Mapping[str, Tensor]) -> float:
    return sum(float(value.float().square().sum()) for value in state.values()) ** 0.5


if __name__ == "__main__":
    main()
