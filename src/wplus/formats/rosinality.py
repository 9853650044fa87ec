"""StyleGAN2 in the layout of rosinality's port, `{"g_ema": …, "latent_avg": …}` -> our names.

The generator inside a published pSp file has the same names under `decoder.`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.strict import rename
from wplus.formats.torch_files import read_torch
from wplus.formats.wrappers import Checkpoint, unwrap

LARGEST = 10  # doublings of 4²; the published generators have 8
DEEPEST = 64  # mapping layers; they have 8


def config_of(state: Mapping[str, Tensor], prefix: str, what: str) -> dict[str, Any]:
    """The arguments of our `StyleGAN2` for the tensors under `prefix`.

    Raises:
        FormatError: they are not of this generator, or of an unknown variant of it.
    """
    last = (_highest(state, f"{prefix}convs.", ".conv.weight") + 2) // 2
    depth = _highest(state, f"{prefix}style.", ".weight")
    if last < 1 or depth < 1:
        raise FormatError(
            f"{what}: lacks {prefix}convs.* and {prefix}style.*; it holds no StyleGAN2 generator"
        )
    if last > LARGEST or depth > DEEPEST:
        raise FormatError(
            f"{what}: a generator of {last + 1} resolutions and {depth} mapping layers is unknown"
        )
    widths = {4: _size(state, f"{prefix}conv1.conv.weight", 1, 5, what)}
    for i in range(last):
        widths[8 << i] = _size(state, f"{prefix}convs.{2 * i}.conv.weight", 1, 5, what)
    channel_max = max(widths.values())
    narrow = [size * width for size, width in widths.items() if width < channel_max]
    resolution = 4 << last
    channel_base = narrow[-1] if narrow else channel_max * resolution
    if any(min(channel_base // size, channel_max) != width for size, width in widths.items()):
        raise FormatError(f"{what}: a generator with channels {list(widths.values())} is unknown")
    return {
        "resolution": resolution,
        "style_dim": _size(state, f"{prefix}style.1.weight", 0, 2, what),
        "mapping_layers": depth,
        "channel_base": channel_base,
        "channel_max": channel_max,
    }


def _highest(state: Mapping[str, Tensor], before: str, after: str) -> int:
    """The highest number between the two parts of a tensor's name; -1 if there is none."""
    pattern = re.compile(re.escape(before) + r"(\d{1,6})" + re.escape(after))
    return max((int(found[1]) for name in state if (found := pattern.fullmatch(name))), default=-1)


def _size(state: Mapping[str, Tensor], name: str, axis: int, ndim: int, what: str) -> int:
    value = state.get(name)
    if value is None or value.ndim != ndim or 0 in value.shape:
        raise FormatError(f"{what}: {name} {'is missing' if value is None else 'is misshapen'}")
    return int(value.shape[axis])


def table_of(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Their name (under `prefix`) to ours, for every tensor that carries something."""
    table = {f"{prefix}input.input": "constant"}
    for i in range(config["mapping_layers"]):
        for leaf in ("weight", "bias"):
            table[f"{prefix}style.{i + 1}.{leaf}"] = f"mapping.layers.{i}.{leaf}"

    def modulated(theirs: str, ours: str) -> None:
        table[f"{prefix}{theirs}.conv.weight"] = f"{ours}.weight"
        table[f"{prefix}{theirs}.conv.modulation.weight"] = f"{ours}.affine.weight"
        table[f"{prefix}{theirs}.conv.modulation.bias"] = f"{ours}.affine.bias"

    def styled(theirs: str, ours: str, noise: int) -> None:
        modulated(theirs, ours)
        table[f"{prefix}{theirs}.noise.weight"] = f"{ours}.noise_strength"
        table[f"{prefix}{theirs}.activate.bias"] = f"{ours}.bias"
        table[f"{prefix}noises.noise_{noise}"] = f"{ours}.noise"

    def to_rgb(theirs: str, ours: str) -> None:
        modulated(theirs, ours)
        table[f"{prefix}{theirs}.bias"] = f"{ours}.bias"

    styled("conv1", "stem", 0)
    to_rgb("to_rgb1", "stem_rgb")
    for i in range(int(config["resolution"]).bit_length() - 3):
        styled(f"convs.{2 * i}", f"blocks.{i}.up", 2 * i + 1)
        styled(f"convs.{2 * i + 1}", f"blocks.{i}.conv", 2 * i + 2)
        to_rgb(f"to_rgbs.{i}", f"blocks.{i}.to_rgb")
    return table


def translate(
    state: Mapping[str, Tensor], prefix: str = "", what: str = "the file"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors (without `mean_w`) of our `StyleGAN2`.

    Raises:
        FormatError: a tensor is missing, unexpected, or a filter is not the usual one.
    """
    state = {name: value for name, value in state.items() if name.startswith(prefix)}
    config = config_of(state, prefix, what)
    for name in [name for name in state if name.endswith(".kernel")]:
        _check_filter(state.pop(name), name, what)
    table = table_of(config, prefix)
    if not any(name.startswith(f"{prefix}noises.") for name in state):
        # From before noise was stored: any fixed maps serve, but always the same.
        rng = torch.Generator().manual_seed(0)
        for index in range(2 * int(config["resolution"]).bit_length() - 5):
            size = 4 << ((index + 1) // 2)
            noise = torch.randn(1, 1, size, size, generator=rng)
            state[f"{prefix}noises.noise_{index}"] = noise
    ours = rename(state, table, what)
    return config, {name: _reshaped(name, value) for name, value in ours.items()}


def _check_filter(kernel: Tensor, name: str, what: str) -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = taps[:, None] * taps / 16.0
    if kernel.shape != expected.shape or not torch.allclose(kernel.float(), expected, atol=1e-5):
        raise FormatError(f"{what}: {name} is not the filter [1, 3, 3, 1], the only one supported")


def _reshaped(name: str, value: Tensor) -> Tensor:
    """Their leading and trailing dimensions of size 1 are broadcasting; ours are not stored."""
    if name.endswith("noise_strength") and value.numel() == 1:
        return value.reshape(())
    if name.endswith("bias"):
        return value.flatten()
    return value[0] if value.ndim == 5 and len(value) == 1 else value


def read_checkpoint(found: Checkpoint, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state of our `StyleGAN2` from a checkpoint; `mean_w` if it has it.

    Raises:
        FormatError: it holds another network.
    """
    config, state = translate(found.state, what=what)
    mean = found.mean
    if mean is not None:
        style_dim = int(config["style_dim"])
        if mean.numel() == 0 or mean.shape[-1:] != (style_dim,):
            raise FormatError(
                f"{what}: latent_avg of shape {tuple(mean.shape)} is no mean of {style_dim} numbers"
            )
        state["mean_w"] = mean.reshape(-1, style_dim)[0].float()
    return config, state


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same from a `.pt` file.

    Raises:
        FormatError: the file is unsafe or damaged, or holds another network.
    """
    return read_checkpoint(unwrap(read_torch(path), str(path)), str(path))
