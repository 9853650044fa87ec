"""Model files: ours (safetensors with the configuration in its metadata), and any foreign one.

A model file carries what the model expects, so that a path is all that `load` needs. Networks are
built without memory of their own and take the tensors of the file, which is mapped: a model of
1.2 GB takes 1.2 GB.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wplus import networks
from wplus.config import ModelConfig, Part
from wplus.encoders import Encoder
from wplus.errors import ConfigError, FormatError
from wplus.files import atomic
from wplus.formats import foreign, quantized
from wplus.formats.opening import line
from wplus.formats.strict import load_strict
from wplus.generators import Generator
from wplus.psp import PSP

logger = logging.getLogger(__name__)

KEY = "wplus"  # of the metadata: a JSON table with `version` and `model` or `network`
VERSION = 1


def read(path: str | os.PathLike[str]) -> tuple[ModelConfig | Part, dict[str, Tensor]]:
    """Configuration and tensors of a model file, ours or foreign; no network is built.

    Returns:
        A `ModelConfig` where the file has a generator, a `Part` where it has one other network.

    Raises:
        FormatError: missing, damaged, unsafe, or of an unknown layout.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        return _read_ours(path)
    content, state = foreign.read(path)
    try:
        if "generator" in content:
            return ModelConfig.parse(content), state
        return Part.parse(content, "network"), state
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None


def _read_ours(path: Path) -> tuple[ModelConfig | Part, dict[str, Tensor]]:
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state = quantized.unpack(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})") from None
    if KEY not in metadata:
        raise FormatError(f"{path}: a safetensors file, but not a model of wplus (no metadata)")
    try:
        content = json.loads(metadata[KEY])
        if not isinstance(content, dict):
            raise ConfigError("its configuration is not a table")
        if content.get("version") != VERSION:
            raise ConfigError(
                f"is of version {content.get('version')!r}; this wplus reads version {VERSION}"
            )
        if "network" in content:
            return Part.parse(content["network"], "network"), state
        return ModelConfig.parse(content.get("model")), state
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: its configuration is damaged ({line(error)})") from None


def load(path: str | os.PathLike[str]) -> nn.Module:
    """The network of a model file: a `PSP`, or one network alone (identity net, LPIPS, …).

    It is on the CPU, in evaluation mode and frozen. Half-precision tensors become float32.

    Raises:
        FormatError: missing, damaged, unsafe, unknown, or its tensors do not fit its configuration.
    """
    config, state = read(path)
    try:
        network = assemble(config, state, str(path))
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    return network.eval().requires_grad_(False)


def assemble(config: ModelConfig | Part, state: dict[str, Tensor], what: str) -> nn.Module:
    """Build the network of `config` around the tensors of `state`, without a copy.

    Raises:
        ConfigError: the configuration makes no sense.
        FormatError: the tensors do not fit it; the message starts with `what`.
    """
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in state.items()
    }
    if isinstance(config, Part):
        network = networks.build(config)
        load_strict(network, state, what, assign=True)
        return network
    with torch.device("meta"):
        generator = networks.build(config.generator)
        encoder = networks.build(config.encoder) if config.encoder else None
    if not isinstance(generator, Generator):
        raise ConfigError(f"{config.generator.kind!r} is not a generator")
    if encoder is not None and not isinstance(encoder, Encoder):
        raise ConfigError(f"{config.encoder.kind!r} is not an encoder")  # type: ignore[union-attr]
    with torch.device("meta"):
        model = PSP(encoder, generator, config)

    shape = (model.num_styles, generator.style_dim)
    no_mean = "generator.mean_w" not in state
    no_codes = "mean_codes" not in state
    if no_mean:
        state["generator.mean_w"] = torch.zeros(generator.style_dim)
    if no_codes:
        state["mean_codes"] = torch.zeros(shape)
    load_strict(model, state, what, assign=True)
    if no_mean:
        logger.info("%s has no mean code; estimating it from 100,000 samples", what)
        generator.mean_w = generator.estimate_mean_w()
    if no_codes:
        model.mean_codes = generator.mean_w.expand(shape).clone()
    return model


def convert(source: Path, destination: Path) -> str:
    """Read a model file of any kind and write it as ours; the tensors are checked by building it.

    Returns:
        One line that says what it is.

    Raises:
        FormatError: the source is missing, damaged, unsafe or unknown, or the destination's name
            does not end in `.safetensors`.
    """
    config, _ = read(source)
    network = load(source)
    save(network, destination, config if isinstance(config, Part) else None)
    count = sum(parameter.numel() for parameter in network.parameters())
    if isinstance(config, Part):
        return f"{config.kind}, {count / 1e6:.1f} M parameters"
    encoder = config.encoder.kind if config.encoder else "no encoder"
    return f"{encoder}, {config.generator.kind}, {count / 1e6:.1f} M parameters"


def save(network: nn.Module, path: str | os.PathLike[str], part: Part | None = None) -> None:
    """Write a model file, whole or not at all.

    Args:
        network: a `PSP`, or another network together with `part`.
        path: its name ends in `.safetensors`.
        part: what the network is, if it is not a `PSP`.

    Raises:
        ConfigError: the network's kind is not known.
        FormatError: another suffix.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        raise FormatError(f"{path}: a model file's name must end in .safetensors")
    if isinstance(network, PSP):
        content: dict[str, Any] = {"model": json.loads(network.config.to_json())}
    elif part is not None:
        content = {"network": {"kind": part.kind, "options": part.options}}
    else:
        raise ConfigError(f"a {type(network).__name__} alone needs its configuration to be saved")
    write(content, network.state_dict(), path)


def write(content: dict[str, Any], state: dict[str, Tensor], path: Path) -> None:
    """Write tensors with the configuration `content` in the metadata, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    metadata = {KEY: json.dumps({"version": VERSION, **content}, sort_keys=True)}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
