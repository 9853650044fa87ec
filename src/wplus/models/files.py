"""Model files: ours (safetensors with the configuration in its metadata), and any foreign one.

A model file carries what the model expects, so that a path is all that `load` needs. Networks are
built without memory of their own and take the tensors of the file, which is mapped: a model of
1.2 GB takes 1.2 GB.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wplus.config import ModelConfig, Part
from wplus.encoders import Encoder
from wplus.errors import ConfigError, FormatError
from wplus.files import atomic
from wplus.formats import differences, foreign, quantized
from wplus.formats.opening import line
from wplus.formats.strict import load_strict
from wplus.generators import Generator
from wplus.models.registry import build
from wplus.psp import PSP

logger = logging.getLogger(__name__)

KEY = "wplus"  # of the metadata: a JSON table with `version` and `model` or `network`
VERSION = 1
PARTS = ("encoder", "generator")


@dataclass(frozen=True)
class Differences:
    """One network of a model, stored as what differs from the same network of another model.

    Attributes:
        path: the file.
        config: of the model that it makes, the base's other network included.
        part: which network, one of `PARTS`.
        base: name of the model whose network it differs from.
        sha256: digest of that network's tensors (`formats.differences.digest`).
        tensors: as `formats.differences.pack` made them.
    """

    path: Path
    config: ModelConfig
    part: str
    base: str
    sha256: str
    tensors: Mapping[str, Tensor]

    def on(self, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's tensors, given those of the base.

        Raises:
            FormatError: this is not the base that the differences were taken from.
        """
        if differences.digest(base) != self.sha256:
            raise FormatError(
                f"{self.path}: holds differences from another {self.part} than that of the"
                f" {self.base} at hand; take both from one release of wplus"
            )
        try:
            return differences.unpack(self.tensors, base)
        except ValueError as error:
            raise FormatError(f"{self.path}: is damaged ({line(error)})") from None


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
    content = _content(path)
    try:
        if "differences" in content:
            part, base, _ = _about_differences(content["differences"])
            raise ConfigError(
                f"holds only how its {part} differs from {base}'s; name it to wplus.load or to a"
                " command's --model, which put the two together"
            )
        config: ModelConfig | Part
        if "network" in content:
            config = Part.parse(content["network"], "network")
        else:
            config = ModelConfig.parse(content.get("model"))
        return config, quantized.unpack(_stored(path))
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    except ValueError as error:
        raise FormatError(f"{path}: is damaged ({line(error)})") from None


def read_differences(path: str | os.PathLike[str]) -> Differences | None:
    """A file of differences; None if `path` is anything else, be it missing or damaged.

    Raises:
        FormatError: it is such a file, but its configuration makes no sense.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    try:
        content = _content(path)
    except FormatError:
        return None  # whoever reads it as another kind says what is wrong
    if "differences" not in content:
        return None
    try:
        part, base, sha256 = _about_differences(content["differences"])
        config = ModelConfig.parse(content.get("model"))
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
    return Differences(path, config, part, base, sha256, _stored(path))


def _about_differences(about: object) -> tuple[str, str, str]:
    if isinstance(about, dict) and set(about) == {"part", "base", "sha256"}:
        part, base, sha256 = about["part"], about["base"], about["sha256"]
        if part in PARTS and isinstance(base, str) and isinstance(sha256, str):
            return part, base, sha256
    raise ConfigError("its differences do not say from what they are: part, base and sha256")


def _content(path: Path) -> dict[str, Any]:
    """What the metadata of a file of ours says; the tensors are not read."""
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})") from None
    if KEY not in metadata:
        raise FormatError(f"{path}: a safetensors file, but not a model of wplus (no metadata)")
    try:
        content = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: its configuration is damaged ({line(error)})") from None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: its configuration is not a table")
    if content.get("version") != VERSION:
        raise FormatError(
            f"{path}: is of version {content.get('version')!r}; this wplus reads version {VERSION}"
        )
    return content


def _stored(path: Path) -> dict[str, Tensor]:
    """Tensors as they are stored."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})") from None


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
        network = build(config)
        load_strict(network, state, what, assign=True)
        return network
    with torch.device("meta"):
        generator = build(config.generator)
        encoder = build(config.encoder) if config.encoder else None
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


def write_differences(
    config: ModelConfig,
    part: str,
    state: Mapping[str, Tensor],
    base: str,
    tensors_of_base: Mapping[str, Tensor],
    path: Path,
) -> dict[str, Tensor]:
    """Write one network of a model as differences from another's, atomically.

    Args:
        config: of the whole model.
        part: which network, one of `PARTS`.
        state: its tensors, without the network's name before them.
        base: name of the model whose network it differs from.
        tensors_of_base: that network's, as they are read.
        path: the file.

    Returns:
        The tensors that readers of the file will have.

    Raises:
        ValueError: a number is not finite.
        OSError: the file cannot be written.
    """
    packed = differences.pack(state, tensors_of_base)
    about = {"part": part, "base": base, "sha256": differences.digest(tensors_of_base)}
    write({"model": json.loads(config.to_json()), "differences": about}, packed, path)
    return differences.unpack(packed, tensors_of_base)
