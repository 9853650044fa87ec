"""`load`: a model by name or by file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import nn

from wplus import checkpoints, networks, weights
from wplus.config import ModelConfig
from wplus.encoders import Encoder
from wplus.errors import ConfigError, WeightsError
from wplus.formats import foreign
from wplus.formats.strict import load_strict
from wplus.psp import PSP

DEFAULT = "faces"
GENERATOR = "mobilestylegan-ffhq"
LICENSE = "non-commercial research (distilled from StyleGAN2-FFHQ)"


def _mobilestylegan_ffhq() -> nn.Module:
    name = GENERATOR
    files = [
        weights.path(f"{name}-{part}.{suffix}")
        for suffix in ("xml", "bin")
        for part in ("mapping", "synthesis")
    ]
    content, state = foreign.mobile_files(*files)
    config = ModelConfig.parse({**content, "license": LICENSE})
    # The mean of 100,000 w (seed 0) takes seconds to compute and 2 kB: it is in the package.
    with _shipped(f"{name}-mean") as path:
        state["generator.mean_w"] = load_file(path)["mean_w"]
    return checkpoints.assemble(config, state, name).eval().requires_grad_(False)


def _shipped(name: str) -> AbstractContextManager[Path]:
    file = resources.files("wplus").joinpath("weights", f"{name}.safetensors")
    return resources.as_file(file)


def _with_encoder(name: str) -> nn.Module:
    """A shipped encoder, whose file is in the package, before the generator that is fetched."""
    model = _mobilestylegan_ffhq()
    assert isinstance(model, PSP)
    with _shipped(name) as path:
        about, state = checkpoints.read(path)
        assert isinstance(about, ModelConfig) and about.encoder is not None
        encoder = networks.build(about.encoder)
        load_strict(encoder, {key: value.float() for key, value in state.items()}, name)
    assert isinstance(encoder, Encoder)
    return PSP(encoder, model.generator, about).eval().requires_grad_(False)


NAMED: dict[str, Callable[[], nn.Module]] = {
    "faces": partial(_with_encoder, "faces"),
    GENERATOR: _mobilestylegan_ffhq,
}


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
            A file of one network without a generator (ArcFace, CurricularFace, MoCo, LPIPS) gives
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
        network = checkpoints.load(name)
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
