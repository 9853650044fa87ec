"""`load`: a model by name or by file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wplus import checkpoints, weights
from wplus.config import ModelConfig
from wplus.errors import ConfigError, FormatError, WeightsError
from wplus.formats import foreign
from wplus.psp import PSP

DEFAULT = "faces"
GENERATOR = "mobilestylegan-ffhq"
LICENSE = "non-commercial research (distilled from StyleGAN2-FFHQ)"

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Shipped:
    """What a shipped model is made of; files are named without `.safetensors`.

    Attributes:
        encoder: file in the package, whole or differences; None for a generator alone.
        generator: `GENERATOR`, which is fetched, or a file of differences from it.
        task: what the model is for, where that is not what its encoder was trained for.
    """

    encoder: str | None = None
    generator: str = GENERATOR
    task: str | None = None

    def here(self) -> bool:
        """Whether its files are in the package."""
        files = {self.encoder, self.generator} - {None, GENERATOR}
        return all(_is_shipped(str(file)) for file in files)


SHIPPED: Mapping[str, Shipped] = MappingProxyType(
    {
        "faces": Shipped("faces"),
        "faces-frontal": Shipped("faces-frontal"),
        "faces-sketch": Shipped("faces-sketch"),
        "faces-labels": Shipped("faces-labels"),
        "faces-super": Shipped("faces-super"),
        "faces-inpainting": Shipped("faces-inpainting"),
        "faces-toon": Shipped("faces", "mobilestylegan-toon", task="toonify"),
        "mobilestylegan-toon": Shipped(None, "mobilestylegan-toon"),
        GENERATOR: Shipped(),
    }
)
"""Every model by name; `NAMED` has those whose files are there."""


def _is_shipped(name: str) -> bool:
    return resources.files("wplus").joinpath("weights", f"{name}.safetensors").is_file()


def _shipped(name: str) -> AbstractContextManager[Path]:
    file = resources.files("wplus").joinpath("weights", f"{name}.safetensors")
    return resources.as_file(file)


def _assembled(name: str) -> nn.Module:
    row = SHIPPED[name]
    generator = tensors_of(row.generator, "generator")
    encoder = None if row.encoder is None else tensors_of(row.encoder, "encoder")
    return _together(encoder, generator, name, row.task)


def _together(
    encoder: tuple[ModelConfig, Tensors] | None,
    generator: tuple[ModelConfig, Tensors],
    what: str,
    task: str | None = None,
) -> nn.Module:
    config, tensors = generator
    config = replace(config, encoder=None)
    state = {f"generator.{name}": value for name, value in tensors.items()}
    if encoder is not None:
        about, tensors = encoder
        terms = "; ".join(part for part in (about.license, config.license) if part).split("; ")
        config = replace(
            about,
            generator=config.generator,
            task=about.task if task is None else task,
            license="; ".join(dict.fromkeys(terms)),
        )
        state |= {f"encoder.{name}": value for name, value in tensors.items()}
    return checkpoints.assemble(config, state, what).eval().requires_grad_(False)


def tensors_of(name: str, part: str) -> tuple[ModelConfig, Tensors]:
    """Configuration and tensors of one network of a shipped model, without building it.

    Args:
        name: of `SHIPPED`.
        part: "encoder" or "generator"; tensors have its own names, without the part's before them.

    Raises:
        WeightsError: there is no such shipped model or network, or it cannot be fetched.
        FormatError: a file is damaged, or holds differences from another base.
    """
    row = SHIPPED.get(name)
    file = None if row is None else row.encoder if part == "encoder" else row.generator
    if file is None or (file != GENERATOR and not _is_shipped(file)):
        raise WeightsError(f"{name}: this wplus has no {part} of this name; update it")
    if file == GENERATOR:
        return _mobilestylegan_ffhq()
    with _shipped(file) as path:
        found = checkpoints.read_differences(path)
        if found is not None:
            return found.config, _over_base(found)
        config, state = checkpoints.read(path)
    assert isinstance(config, ModelConfig)
    return config, state


def _over_base(found: checkpoints.Differences) -> Tensors:
    try:
        _, base = tensors_of(found.base, found.part)
    except WeightsError as error:
        raise FormatError(
            f"{found.path}: holds differences from the {found.part} of {error}"
        ) from None
    return found.on(base)


def _mobilestylegan_ffhq() -> tuple[ModelConfig, Tensors]:
    files = [
        weights.path(f"{GENERATOR}-{part}.{suffix}")
        for suffix in ("xml", "bin")
        for part in ("mapping", "synthesis")
    ]
    content, state = foreign.mobile_files(*files)
    state = {name.removeprefix("generator."): value for name, value in state.items()}
    # The mean of 100,000 w (seed 0) takes seconds to compute and 2 kB: it is in the package.
    with _shipped(f"{GENERATOR}-mean") as path:
        state["mean_w"] = load_file(path)["mean_w"]
    return ModelConfig.parse({**content, "license": LICENSE}), state


def _from_file(path: str) -> nn.Module:
    found = checkpoints.read_differences(path)
    if found is None:
        return checkpoints.load(path)
    tensors = _over_base(found)
    try:
        if found.part == "generator":
            return _together(None, (found.config, tensors), path)
        generator = tensors_of(SHIPPED[found.base].generator, "generator")
        return _together((found.config, tensors), generator, path)
    except ConfigError as error:
        raise FormatError(f"{path}: {error}") from None


NAMED: dict[str, Callable[[], nn.Module]] = {
    name: partial(_assembled, name) for name, row in SHIPPED.items() if row.here()
}
"""What `load` takes by name."""


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
            A file of one network without a generator (ArcFace, MoCo, LPIPS, BiSeNet, …) gives
            that network instead of a PSP.
        device: "cpu", "cuda", "cuda:1", "mps", ….
        dtype: of the convolutions: float32, or bfloat16 for about twice the speed on CPUs and GPUs
            that have it. Codes and images stay float32.

    Returns:
        The model. To train its encoder: `model.encoder.train().requires_grad_(True)`.

    Raises:
        WeightsError: the name is unknown, or its files cannot be fetched.
        FormatError: the file is missing, damaged, unsafe or unknown.
        ConfigError: there is no such device.
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
    if dtype != torch.float32:
        if isinstance(network, PSP):
            network.lower_precision(dtype)
        else:
            network = network.to(dtype)
    # What the caller gets is a PSP for every file that has a generator, see the docstring.
    return cast(PSP, network)


def _checked(device: str | torch.device) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(1, device=checked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here: {reason}") from None
    return checked
