"""Generators of StyleGAN2's TensorFlow version, in the names of the PyTorch version."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.nvidia_records import (
    FILTER,
    LR_MULTIPLIER,
    Found,
    Network,
    StoredTensor,
    optional,
    refuse_labels,
    require,
)
from wplus.formats.opening import shown

LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}
LEAVES = {
    "weight": "weight",
    "bias": "bias",
    "noise_strength": "noise_strength",
    "mod_weight": "affine.weight",
    "mod_bias": "affine.bias",
}


def from_tensorflow(network: Network) -> Found:
    """Tensors and settings of a network of TensorFlow. Raises FormatError for other variants."""
    settings = network.state["static_kwargs"]
    parts = network.state.get("components", {})
    if not isinstance(parts.get("synthesis"), Network) or "mapping" not in parts:
        raise FormatError("holds a network that is no generator of StyleGAN2")
    synthesis = _variables(parts["synthesis"])
    if any("StyleMod" in name or "ToRGB_lod" in name for name in synthesis):
        raise FormatError("is a StyleGAN generator of before config E; only StyleGAN2 can be read")
    refuse_labels(settings.get("label_size"))
    for what, key, expected in (
        ("a number of colors of", "num_channels", 3),
        ("an architecture", "architecture", "skip"),
        ("an activation", "nonlinearity", "lrelu"),
        ("a mapping activation", "mapping_nonlinearity", "lrelu"),
        ("normalized latents", "normalize_latents", True),
    ):
        require(what, settings.get(key, expected), expected)
    kernel = settings.get("resample_kernel", FILTER)
    require("a resampling filter", kernel if kernel is None else list(kernel), FILTER)
    tensors: dict[str, StoredTensor | Tensor] = {}
    for name, value in synthesis.items():
        tensors[_tf_name(name)] = _tf_tensor(name, value)
    for name, value in _variables(parts["mapping"]).items():
        tensors[re.sub(r"Dense(\d+)/", r"mapping.fc\1.", name)] = _tf_tensor(name, value)
    for name, value in _variables(network).items():
        if name == "dlatent_avg":
            tensors["mapping.w_avg"] = _tf_tensor(name, value)
        elif name != "lod":  # of progressive growing
            tensors[name] = _tf_tensor(name, value)
    return Found(
        tensors,
        clamp=optional(settings.get("conv_clamp")),
        lr_multiplier=float(settings.get("mapping_lrmul", LR_MULTIPLIER)),
        use_noise=bool(settings.get("use_noise", True)),
    )


def _variables(network: Network) -> dict[str, Any]:
    return dict(network.state["variables"])


def _tf_name(name: str) -> str:
    """The PyTorch name of a synthesis variable; a name that says nothing stays, to be refused."""
    if found := re.fullmatch(r"noise(\d{1,2})", name):
        index = int(found[1])
        layer = "conv0" if index % 2 else "conv1"
        return f"synthesis.b{2 ** ((index + 5) // 2)}.{layer}.noise_const"
    if name == "4x4/Const/const":
        return "synthesis.b4.const"
    size, layer, leaf = (*name.split("/"), "", "")[:3]
    if layer not in LAYERS or leaf not in LEAVES:
        return f"synthesis/{name}"
    return f"synthesis.b{size.partition('x')[0]}.{LAYERS[layer]}.{LEAVES[leaf]}"


def _tf_tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, np.ndarray | np.generic):  # nested lists could be of any size
        raise FormatError(f"holds {shown(name)}, which is not an array")
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise FormatError(f"holds {shown(name)} in numbers that are not floating-point")
    leaf = name.rpartition("/")[2]
    if array.ndim == 4 and leaf == "weight":
        array = array.transpose(3, 2, 0, 1)
        if "Conv0_up" in name:
            array = array[:, :, ::-1, ::-1]
    elif array.ndim == 2 and leaf in ("weight", "mod_weight"):
        array = array.T
    elif leaf == "mod_bias":
        array = array + 1
    elif leaf == "const":
        array = array[0]
    elif re.fullmatch(r"noise\d+", leaf):
        array = array[0, 0]
    return torch.from_numpy(np.array(array, np.float32, order="C"))
