"""Directions in W+: what one unit of an edit adds to a code, and files of directions.

A file is safetensors: a tensor for each direction, JSON in the metadata. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wplus.errors import ConfigError, FormatError
from wplus.files import parse_json, save_tensors
from wplus.generators import Generator
from wplus.registry import Registry

SUFFIX = ".directions.safetensors"
SHIPPED = {"mobilestylegan-ffhq": "mobilestylegan-ffhq-directions.safetensors"}
"""Files of the package by `Generator.latent_space`."""
_KEY = "directions"  # of the metadata


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in W+.

    Attributes:
        name: of the attribute that it changes; also its option of `wplus edit`.
        vector: (L, style_dim) float32, what amount 1 adds to a code.
        unit: what amount 1 is, in words: "degree of yaw".
        low: below this amount images degrade, or nothing was tried.
        high: the same above.
        found: how it was found, in words.
        figures: measurements, by name, if any.

    Raises:
        ConfigError: another shape, values that are not finite, or low not below high.
    """

    name: str
    vector: Tensor
    unit: str = "unit"
    low: float = -3.0
    high: float = 3.0
    found: str = ""
    figures: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.vector.ndim != 2 or not self.vector.is_floating_point():
            raise ConfigError(
                f"direction {self.name!r} must be (L, style_dim), not {tuple(self.vector.shape)}"
            )
        if not torch.isfinite(self.vector).all():
            raise ConfigError(f"direction {self.name!r} holds values that are not finite")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"direction {self.name!r} has no range: {self.low} to {self.high}")

    @property
    def layers(self) -> list[int]:
        """The styles that it moves."""
        return [i for i, row in enumerate(self.vector) if bool(row.any())]

    @property
    def about(self) -> dict[str, Any]:
        """Everything but name and vector, for JSON."""
        return {
            "unit": self.unit,
            "range": [self.low, self.high],
            "layers": self.layers,
            "found": self.found,
            "figures": dict(self.figures or {}),
        }

    def only(self, layers: Iterable[int]) -> Direction:
        """The same at some styles, and zero at the others.

        Raises:
            ConfigError: a style does not exist.
        """
        vector = torch.zeros_like(self.vector)
        for layer in layers:
            if not 0 <= layer < len(vector):
                raise ConfigError(
                    f"layer {layer} does not exist: direction {self.name!r} has styles 0 to"
                    f" {len(vector) - 1}"
                )
            vector[layer] = self.vector[layer]
        return replace(self, vector=vector)


def apply(codes: Tensor, moves: Iterable[tuple[Direction, float]]) -> Tensor:
    """Codes + Σ amount·direction.

    Args:
        codes: (N, L, style_dim).
        moves: directions and signed amounts, in their units.

    Returns:
        (N, L, style_dim); the argument stays as it is.

    Raises:
        ConfigError: a direction is of another shape, or an amount is not finite.
    """
    moved = codes
    for direction, amount in moves:
        if codes.ndim != 3 or direction.vector.shape != codes.shape[1:]:
            raise ConfigError(
                f"direction {direction.name!r} of {tuple(direction.vector.shape)} fits no codes of"
                f" {tuple(codes.shape)}; it was found for another generator"
            )
        if not math.isfinite(amount):
            raise ConfigError(f"direction {direction.name!r}: the amount {amount} is no number")
        moved = moved + amount * direction.vector.to(codes)
    return moved


def save(
    directions: Sequence[Direction],
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write directions, whole or not at all: as float16, only the styles that move.

    Args:
        directions: of one generator, with different names.
        path: where; `SUFFIX` is the customary ending.
        metadata: anything that JSON has: the model's name, the data, ….

    Raises:
        FormatError: none, two of one name, or of different shapes.
        OSError: the file cannot be written.
    """
    names = [direction.name for direction in directions]
    if not names or len(set(names)) != len(names):
        raise FormatError(f"{path}: needs directions of different names, not {names}")
    if len({tuple(direction.vector.shape) for direction in directions}) > 1:
        raise FormatError(f"{path}: directions of different generators cannot share a file")
    about, tensors = {}, {}
    for direction in directions:
        layers = direction.layers
        if not layers:
            raise FormatError(f"{path}: direction {direction.name!r} moves nothing")
        half = direction.vector[layers].detach().cpu().half()
        if not torch.isfinite(half).all():
            raise FormatError(f"{path}: direction {direction.name!r} is too long for float16")
        tensors[direction.name] = half.contiguous()
        about[direction.name] = {"styles": len(direction.vector), **direction.about}
    texts = {name: json.dumps(value) for name, value in (metadata or {}).items() if name != _KEY}
    save_tensors(tensors, path, {**texts, _KEY: json.dumps(about)})


def load(path: str | os.PathLike[str]) -> tuple[Registry[Direction], dict[str, Any]]:
    """Read directions by name, in the order of writing, and what else the metadata hold.

    Raises:
        FormatError: missing, damaged, or not a file of directions.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({error})") from None
    try:
        content = {name: parse_json(text) for name, text in texts.items()}
        about = content.pop(_KEY)
        rows = [_parse(name, tensors[name], about[name]) for name in about]
        if not rows:
            raise ValueError("none")
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError):
        raise FormatError(
            f"{path}: holds no directions; they are made by: wplus directions find"
        ) from None
    return Registry("direction", rows), content


def _parse(name: str, rows: Tensor, about: Mapping[str, Any]) -> Direction:
    layers = [int(layer) for layer in about["layers"]]
    styles = int(about["styles"])
    fits = len(layers) == len(rows) == len(set(layers)) and rows.ndim == 2 and styles <= 1024
    if not fits or not all(0 <= layer < styles for layer in layers):
        raise ConfigError(f"direction {name!r} names other styles than it has")
    vector = torch.zeros(styles, rows.shape[1])
    vector[layers] = rows.float()
    low, high = map(float, about["range"])
    return Direction(
        name, vector, str(about["unit"]), low, high, str(about["found"]), about.get("figures")
    )


def shipped(generator: Generator | None = None) -> Registry[Direction]:
    """The directions that the package brings, by name.

    Args:
        generator: whose codes they are to move; None for those of the default generator.

    Raises:
        ConfigError: there are none for its codes.
    """
    space = next(iter(SHIPPED)) if generator is None else generator.latent_space
    if space not in SHIPPED:
        raise ConfigError(
            f"the named directions are of {', '.join(SHIPPED)}, and this model has another"
            " generator; find its own with: wplus directions find"
        )
    file = resources.files("wplus").joinpath("weights", SHIPPED[space])
    with resources.as_file(file) as path:
        return load(path)[0]
