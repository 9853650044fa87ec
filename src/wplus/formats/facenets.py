"""ArcFace nets as published (IR-SE-50, CurricularFace), and their trunk, under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.strict import norm_names, rename, tensors_of
from wplus.formats.torch_files import read_torch

TRUNK_ROOTS = ("input_layer.", "body.")
"""How the published names of a trunk start; everything else belongs to what stands on it."""


def trunk_config(
    state: Mapping[str, Tensor], prefix: str = "", what: str = "the file"
) -> dict[str, Any]:
    """Arguments of our IR trunk for the published tensors under `prefix`.

    Returns:
        input_channels, stages as ((channels, units), …), and se (squeeze-excitation or not).

    Raises:
        FormatError: there is no trunk under that prefix.
    """
    unit = re.compile(re.escape(prefix) + r"body\.(\d+)\.")
    numbers = {int(match[1]) for name in state if (match := unit.match(name))}
    widths = [
        _size(state, f"{prefix}body.{i}.res_layer.3.weight", 0, what) for i in range(len(numbers))
    ]
    stages: list[tuple[int, int]] = []
    for width in widths:  # a stage is a run of units of equal width
        if stages and stages[-1][0] == width:
            stages[-1] = (width, stages[-1][1] + 1)
        else:
            stages.append((width, 1))
    if not stages:
        raise FormatError(
            f"{what}: lacks {prefix}body.*; it is not an ArcFace net or a pSp encoder"
        )
    return {
        "input_channels": _size(state, f"{prefix}input_layer.0.weight", 1, what),
        "stages": tuple(stages),
        "se": any(unit.match(name) and ".res_layer.5." in name for name in state),
    }


def trunk_table(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Published name (under `prefix`) to our name, for every tensor of a trunk of that config."""
    table = {
        f"{prefix}input_layer.0.weight": "stem.conv.weight",
        **norm_names(f"{prefix}input_layer.1", "stem.norm"),
        f"{prefix}input_layer.2.weight": "stem.act.weight",
    }
    width, i = config["stages"][0][0], 0
    for channels, count in config["stages"]:
        for _ in range(count):
            theirs, ours = f"{prefix}body.{i}", f"units.{i}"
            table |= norm_names(f"{theirs}.res_layer.0", f"{ours}.norm_in")
            table[f"{theirs}.res_layer.1.weight"] = f"{ours}.conv1.weight"
            table[f"{theirs}.res_layer.2.weight"] = f"{ours}.act.weight"
            table[f"{theirs}.res_layer.3.weight"] = f"{ours}.conv2.weight"
            table |= norm_names(f"{theirs}.res_layer.4", f"{ours}.norm_out")
            if config["se"]:
                table[f"{theirs}.res_layer.5.fc1.weight"] = f"{ours}.excite.squeeze.weight"
                table[f"{theirs}.res_layer.5.fc2.weight"] = f"{ours}.excite.expand.weight"
            if channels != width:
                table[f"{theirs}.shortcut_layer.0.weight"] = f"{ours}.shortcut.conv.weight"
                table |= norm_names(f"{theirs}.shortcut_layer.1", f"{ours}.shortcut.norm")
            width, i = channels, i + 1
    return table


def translate_trunk(
    state: Mapping[str, Tensor], prefix: str = "", what: str = "the file"
) -> dict[str, Tensor]:
    """The tensors of the published trunk under `prefix`, under the names of our `IRSETrunk`.

    Only names that start with `prefix` and one of `TRUNK_ROOTS` are read.

    Raises:
        FormatError: a tensor is missing or unexpected.
    """
    roots = tuple(prefix + root for root in TRUNK_ROOTS)
    trunk = {name: value for name, value in state.items() if name.startswith(roots)}
    return rename(trunk, trunk_table(trunk_config(trunk, prefix, what), prefix), what)


def arcface_table(config: Mapping[str, Any]) -> dict[str, str]:
    """Published name to our name, for an ArcFace net: its trunk and its head."""
    return {
        **{theirs: f"trunk.{ours}" for theirs, ours in trunk_table(config["trunk"]).items()},
        **norm_names("output_layer.0", "norm_in"),
        "output_layer.3.weight": "embed.weight",
        "output_layer.3.bias": "embed.bias",
        **norm_names("output_layer.4", "norm_out", affine=config["affine"]),
    }


def translate_arcface(
    state: Mapping[str, Tensor], what: str = "the file"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of our `ArcFace` from the published tensors.

    Raises:
        FormatError: a tensor is missing or unexpected.
    """
    config = {
        "trunk": trunk_config(state, what=what),
        "embedding": _size(state, "output_layer.3.weight", 0, what),
        "affine": "output_layer.4.weight" in state,  # CurricularFace's last norm has no gain
    }
    return config, rename(state, arcface_table(config), what)


def read_arcface(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read `model_ir_se50.pth`, `CurricularFace_Backbone.pth` or another of their layout.

    Returns:
        The arguments of our `ArcFace`, and its tensors.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing or unexpected.
    """
    return translate_arcface(tensors_of(read_torch(path), str(path)), str(path))


def _size(state: Mapping[str, Tensor], name: str, axis: int, what: str) -> int:
    value = state.get(name)
    if value is None or value.ndim <= axis:
        raise FormatError(f"{what}: lacks {name}; it is not an ArcFace net or a pSp encoder")
    return int(value.shape[axis])
