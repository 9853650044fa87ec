"""Networks as rows of tables, model files, and the models that come with wplus."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import torch
from torch import nn

from wplus.errors import ConfigError, FormatError, WeightsError
from wplus.models import files
from wplus.models.files import assemble, convert, read, save
from wplus.models.registry import build
from wplus.models.shipped import DEFAULT, GENERATOR, NAMED, SHIPPED, over_base, tensors_of, together
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
    name = os.fspath(name_or_path)
    if name in NAMED and not Path(name).exists():
        network = NAMED[name]()
    elif Path(name).suffix or Path(name).exists() or os.sep in name:
        network = _from_file(name)
    else:
        near = difflib.get_close_matches(name, NAMED, n=1) or sorted(NAMED)
        raise WeightsError(
            f"{name}: no model of this name and no such file; did you mean {near[0]}?"
        )
    network = network.to(device)
    if isinstance(network, PSP):
        network.lower_precision(dtype)
        return network
    return network.to(dtype)


def _checked(device: str | torch.device) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(1, device=checked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here: {reason}") from None
    return checked


def _from_file(path: str) -> nn.Module:
    found = files.read_differences(path)
    if found is None:
        return files.load(path)
    tensors = over_base(found)
    try:
        if found.part == "generator":
            return together(None, (found.config, tensors), path)
        generator = tensors_of(SHIPPED[found.base].generator, "generator")
        return together((found.config, tensors), generator, path)
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None
