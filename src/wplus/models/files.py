"""Model files of wplus: safetensors with the configuration in the metadata.

The configuration has everything that `load` needs besides the tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError, FormatError
from wplus.files import parse_json, save_tensors
from wplus.formats import quantized
from wplus.formats.opening import line
from wplus.psp import PSP

Tensors = dict[str, Tensor]

KEY = "wplus"  # of the metadata: a JSON table with `version` and `model` or `network`
VERSION = 1
SUFFIX = ".safetensors"


def read_header(path: Path) -> dict[str, Any] | None:
    """The table in the metadata of a model file; None for a file of another program.

    Raises:
        FormatError: a missing or damaged safetensors file, or one of a newer wplus.
    """
    named_so = path.suffix.lower() == SUFFIX
    try:
        if path.is_dir():
            raise IsADirectoryError
        with path.open("rb") as stream:
            if not named_so and stream.read(9)[8:] != b"{":
                return None
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        if not named_so:
            return None  # readers of other formats describe the problem
        raise _unreadable(path, error) from None
    if KEY not in metadata:
        return None
    try:
        content = parse_json(metadata[KEY])
    except ValueError as error:
        raise FormatError(f"{path}: its configuration is damaged ({line(error)})") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: its configuration is not a table")
    if content.get("version") != VERSION:
        raise FormatError(
            f"{path}: is of version {content.get('version')!r}; this wplus reads version {VERSION}"
        )
    return content


def read_tensors(path: Path) -> Tensors:
    """The stored tensors, mapped from the file. Raises FormatError."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> FormatError:
    if isinstance(error, IsADirectoryError):
        return FormatError(f"{path}: is a folder")
    if isinstance(error, FileNotFoundError):
        return FormatError(f"{path}: no such file")
    return FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})")


def parse(content: Mapping[str, Any], path: Path) -> tuple[ModelConfig | Part, Tensors]:
    """Configuration and tensors of a whole model or network, `content` being its header.

    Raises:
        FormatError: the file is damaged.
    """
    try:
        config: ModelConfig | Part
        if "network" in content:
            config = Part.parse(content["network"], "network")
        else:
            config = ModelConfig.parse(content.get("model"))
        return config, quantized.unpack(read_tensors(path))
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    except ValueError as error:
        raise FormatError(f"{path}: is damaged ({line(error)})") from None


def save(network: nn.Module, path: str | os.PathLike[str], part: Part | None = None) -> None:
    """Write a model file, whole or not at all.

    Args:
        network: a `PSP`, or another network together with `part`.
        path: its name ends in `.safetensors`.
        part: configuration of the network, if it is not a `PSP`.

    Raises:
        ConfigError: the network's kind is not known.
        FormatError: another suffix.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise FormatError(f"{path}: a model file's name must end in {SUFFIX}")
    if isinstance(network, PSP):
        config = replace(network.config, generator_id=network.generator.weights_id)
        content = {"model": asdict(config)}
    elif part is not None:
        content = {"network": asdict(part)}
    else:
        raise ConfigError(f"a {type(network).__name__} alone needs its configuration to be saved")
    write(content, network.state_dict(), path)


def write(content: Mapping[str, Any], state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors with the table `content` in the metadata, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = {KEY: json.dumps({"version": VERSION, **content}, sort_keys=True)}
    save_tensors(tensors, path, metadata)
