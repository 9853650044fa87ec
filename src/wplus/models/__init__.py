"""Tables of networks, model files, and the shipped models."""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError, FormatError, WeightsError
from wplus.formats import foreign
from wplus.models import files, shipped
from wplus.models.assembly import assemble
from wplus.models.differences import Differences
from wplus.models.files import Tensors, save
from wplus.models.registry import build
from wplus.models.shipped import DEFAULT, GENERATOR, NAMED, SHIPPED, tensors_of
from wplus.psp import PSP

__all__ = [
    "DEFAULT",
    "GENERATOR",
    "NAMED",
    "SHIPPED",
    "assemble",
    "build",
    "convert",
    "load",
    "load_network",
    "read",
    "save",
    "tensors_of",
]


def load(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PSP:
    """A model, ready to use: in evaluation mode, frozen, on `device`.

    Args:
        name_or_path: a name of `NAMED` (fetched on first use), a model file of ours
            (`.safetensors`), or a foreign one: a published pSp `.pt`, a StyleGAN2 `.pt` of
            rosinality's layout, an NVIDIA StyleGAN2 or ADA `.pkl`, MobileStyleGAN's OpenVINO files.
        device: "cpu", "cuda", "cuda:1", "mps", ….
        dtype: of the convolutions: float32, or bfloat16 for about twice the speed on CPUs and GPUs
            that have it. Codes and images stay float32.

    Returns:
        The model. To train its encoder: `model.encoder.train().requires_grad_(True)`.

    Raises:
        WeightsError: the name is unknown, or its files cannot be fetched.
        FormatError: the file is missing, damaged, unsafe or unknown, or has no generator.
        ConfigError: there is no such device.
    """
    network = load_network(name_or_path, device, dtype)
    if not isinstance(network, PSP):
        raise FormatError(
            f"{os.fspath(name_or_path)}: holds one network ({type(network).__name__}) and no"
            " generator; name a model, or read it by wplus.models.load_network"
        )
    return network


def load_network(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """As `load`, for files of any network: a `PSP`, or an ArcFace, MoCo, LPIPS, BiSeNet, … alone.

    Raises:
        WeightsError, FormatError, ConfigError: as `load`, but a generator is not needed.
    """
    device = _checked(device)
    network = _built(*read(name_or_path), os.fspath(name_or_path)).to(device)
    if dtype == torch.float32:
        return network
    if isinstance(network, PSP):
        network.lower_precision(dtype)
        return network
    return network.to(dtype)


def read(name_or_path: str | os.PathLike[str]) -> tuple[ModelConfig | Part, Tensors]:
    """Configuration and tensors of a named model or of a file, ours or foreign, as `load` reads it.

    Returns:
        A `ModelConfig` where there is a generator, a `Part` for one other network.

    Raises:
        WeightsError, FormatError: as `load`.
    """
    name = os.fspath(name_or_path)
    path = Path(name)
    if not path.exists():
        if name in NAMED:
            return shipped.read_named(name)
        if not path.suffix and os.sep not in name:
            near = difflib.get_close_matches(name, NAMED, n=1) or sorted(NAMED)
            raise WeightsError(
                f"{name}: no model of this name and no such file; did you mean {near[0]}?"
            )
    header = files.read_header(path)
    if header is None:
        return _read_foreign(path)
    if "differences" in header:
        return shipped.read_over_base(Differences.parse(header, path))
    return files.parse(header, path)


def _read_foreign(path: Path) -> tuple[ModelConfig | Part, Tensors]:
    content, state = foreign.read(path)
    try:
        if "generator" in content:
            return ModelConfig.parse(content), state
        return Part.parse(content, "network"), state
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None


def _built(config: ModelConfig | Part, state: Tensors, name: str) -> nn.Module:
    try:
        network = assemble(config, state, name)
    except ConfigError as error:
        raise FormatError(f"{name}: {error}") from None
    if isinstance(config, ModelConfig) and config.generator_id is None:
        assert isinstance(network, PSP)
        network.generator.weights_id = shipped.identify(network.generator)
        network.config = replace(config, generator_id=network.generator.weights_id)
    return network


def convert(source: str | os.PathLike[str], destination: str | os.PathLike[str]) -> str:
    """Read a model of any kind and write it as a file of ours; it is built to check its tensors.

    Returns:
        A line that describes it.

    Raises:
        WeightsError, FormatError: as `load`; or the destination does not end in `.safetensors`.
        OSError: it cannot be written.
    """
    config, state = read(source)
    network = _built(config, state, os.fspath(source))
    count = f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f} M parameters"
    if isinstance(config, Part):
        save(network, destination, config)
        return f"{config.kind}, {count}"
    save(network, destination)
    encoder = config.encoder.kind if config.encoder else "no encoder"
    return f"{encoder}, {config.generator.kind}, {count}"


def _checked(device: str | torch.device) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(1, device=checked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here: {reason}") from None
    return checked
