"""NVIDIA's network pickles: StyleGAN2 and StyleGAN2-ADA generators, of TensorFlow and of PyTorch.

Both kinds hold the source code of the network beside its weights, and NVIDIA's loaders run it. It
is never run here: networks are read as inert records, and only tensors and settings are taken out.

Where the two differ from each other, the PyTorch names and layouts are the common ground:

* TensorFlow stores convolutions as (k, k, in, out) and matrices as (in, out).
* Its up-convolution turns the kernel by 180° first; PyTorch's transposed convolution does not.
* It adds 1 to a style at run time where PyTorch starts the bias at 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.nvidia_records import (
    ALLOWED,
    FILTER,
    LR_MULTIPLIER,
    MODULES,
    Found,
    Module,
    Network,
    StoredTensor,
    optional,
    refuse_labels,
    require,
)
from wplus.formats.nvidia_tensorflow import from_tensorflow
from wplus.formats.opening import line, shown
from wplus.formats.pickles import read_pickle
from wplus.formats.strict import check_names

__all__ = ["ALLOWED", "CLAMP", "MODULES", "is_nvidia", "read", "translate"]

CLAMP = 256.0  # of activations, in every published network of StyleGAN2-ADA's PyTorch version


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the averaged generator ("G_ema", or "Gs") of a network pickle.

    Returns:
        The arguments of our StyleGAN2 (`resolution`, `style_dim`, `mapping_layers`,
        `channel_base`, `channel_max`, `clamp`), and its tensors, float32, under our names. `mean_w`
        is missing if the file has no average of w.

    Raises:
        FormatError: the file is missing or damaged, would run code, holds no StyleGAN2 generator,
            or one that ours cannot express (labels, another architecture, filter or activation).
    """
    return translate(read_pickle(path, ALLOWED), os.fspath(path))


def translate(content: object, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same for what a pickle held; for a module alone, as PTI saves it; or for its state_dict.

    Raises:
        FormatError: see `read`.
    """
    try:
        network = _generator_of(content)
        del content  # the other networks are not needed any more
        if isinstance(network, Network):
            return _translate(from_tensorflow(network))
        return _translate(
            _from_torch(network) if isinstance(network, Module) else _from_state(network)
        )
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from None
    except Exception as error:  # records of the right kind, with anything at all in them
        reason = f"{type(error).__name__}: {line(error)}"
        raise FormatError(f"{what}: is not laid out as expected ({reason})") from None


def is_nvidia(content: object) -> bool:
    """Whether something unpickled is of one of NVIDIA's layouts."""
    if isinstance(content, Mapping):
        return "G_ema" in content or any(_SIZE.match(str(name)) for name in content)
    return isinstance(content, tuple | Module | Network)


def _generator_of(content: object) -> Module | Network | Mapping[str, Any]:
    if isinstance(content, tuple) and len(content) == 3:
        content = content[2]  # G, D, Gs
    elif isinstance(content, Mapping) and "G_ema" in content:
        content = content["G_ema"]
    if isinstance(content, Mapping) and not any(_SIZE.match(str(name)) for name in content):
        raise FormatError("holds no generator: a network pickle has one under 'G_ema'")
    if not isinstance(content, Module | Network | Mapping):
        raise FormatError("is a pickle, but not a network of NVIDIA's StyleGAN2")
    return content


def _from_state(state: Mapping[str, Any]) -> Found:
    """A `state_dict`, which has no settings: those of StyleGAN2-ADA's own training are taken."""
    tensors: dict[str, StoredTensor | Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise FormatError(f"holds something else than a tensor at {shown(str(name))}")
        if name.endswith(".resample_filter"):
            _check_filter(value)
        else:
            tensors[name] = value
    if any(name.startswith("synthesis.input.") for name in tensors):
        raise FormatError("is a StyleGAN3 generator; only StyleGAN2 can be read")
    stored = any(name.endswith(".noise_strength") for name in tensors)
    return Found(tensors, clamp=CLAMP, lr_multiplier=LR_MULTIPLIER, use_noise=stored)


# --------------------------------------------------------------------------------- PyTorch's


def _from_torch(root: Module) -> Found:
    modules = dict(_walk(root))
    if "synthesis.input" in modules:
        raise FormatError("is a StyleGAN3 generator; only StyleGAN2 can be read")
    if "synthesis" not in modules or "mapping" not in modules:
        raise FormatError(f"holds a {shown(root.name)}, not a StyleGAN2 generator")
    refuse_labels(root.state.get("c_dim"))
    require("a number of colors of", root.state.get("img_channels", 3), 3)
    tensors: dict[str, StoredTensor | Tensor] = {}
    clamps, multipliers, noises = set(), set(), set()
    for name, module in modules.items():
        state = module.state
        require("an architecture", state.get("architecture", "skip"), "skip")
        if "affine" not in name:
            require("an activation", state.get("activation", "lrelu"), "lrelu")
        if "conv_clamp" in state:
            clamps.add(optional(state["conv_clamp"]))
        if re.fullmatch(r"mapping\.fc\d+", name):
            multipliers.add(float(state.get("bias_gain", LR_MULTIPLIER)))
        if "use_noise" in state:
            noises.add(bool(state["use_noise"]))
        for leaf, value in {**state["_parameters"], **state["_buffers"]}.items():
            if leaf == "resample_filter":
                _check_filter(value)
            elif value is not None:
                if not isinstance(value, StoredTensor | Tensor):
                    raise FormatError(f"holds something else than a tensor at {shown(name)}")
                tensors[f"{name}.{leaf}"] = value
    if max(len(clamps), len(multipliers), len(noises)) > 1:
        raise FormatError("is a generator whose layers differ in their settings; ours cannot")
    return Found(
        tensors,
        clamp=clamps.pop() if clamps else None,
        lr_multiplier=multipliers.pop() if multipliers else LR_MULTIPLIER,
        use_noise=noises.pop() if noises else True,
    )


def _walk(root: Module) -> Iterator[tuple[str, Module]]:
    """Every module below `root` with its dotted name; a file may well hold a circle."""
    queue = [("", root)]
    for count, (prefix, module) in enumerate(queue):
        if count > 1000:
            raise FormatError("holds more modules than a generator has")
        yield prefix, module
        for name, child in module.state["_modules"].items():
            if isinstance(child, Module):
                queue.append((f"{prefix}.{name}".lstrip("."), child))


def _check_filter(value: object) -> None:
    taps = torch.tensor(FILTER, dtype=torch.float32) / sum(FILTER)
    if isinstance(value, StoredTensor) and value.size == (4, 4):
        value = value.read()
    if (
        not isinstance(value, Tensor)
        or value.shape != (4, 4)
        or not torch.allclose(value.float(), taps[:, None] * taps)
    ):
        raise FormatError(f"is a generator with another resampling filter; ours has {FILTER}")


# -------------------------------------------------------------------------------- to our names


def _translate(found: Found) -> tuple[dict[str, Any], dict[str, Tensor]]:
    names = found.tensors
    resolution = max((int(m[1]) for m in map(_SIZE.match, names) if m), default=0)
    if resolution < 8 or resolution & (resolution - 1):
        raise FormatError("holds no StyleGAN2 synthesis network")
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in names)
    table = _table(resolution, layers)
    if "mapping.w_avg" not in names:
        del table["mapping.w_avg"]
    optional = () if found.use_noise else ("noise_const", "noise_strength")
    stored = {theirs: ours for theirs, ours in table.items() if not theirs.endswith(optional)}
    check_names(
        map(shown, names), stored, "its generator"
    )  # before reading: few tensors, once each
    state = {}
    for theirs, ours in stored.items():
        value = names[theirs]
        state[ours] = value.read() if isinstance(value, StoredTensor) else value.float()
    state["constant"] = state["constant"][None]
    for theirs, ours in table.items():
        if theirs.endswith("noise_const"):
            size = int(theirs.split(".")[1][1:])
            noise = state.get(ours, torch.zeros(size, size))
            state[ours] = noise.reshape(1, 1, size, size)
            state.setdefault(f"{ours}_strength", torch.zeros(()))
    if found.lr_multiplier != LR_MULTIPLIER:
        for name in state:
            if name.startswith("mapping."):
                state[name] = state[name] * (found.lr_multiplier / LR_MULTIPLIER)
    config = {"resolution": resolution, "mapping_layers": layers, "clamp": found.clamp}
    return config | _widths(state, resolution), state


_SIZE = re.compile(r"synthesis\.b(\d{1,5})\.")
_STYLED = ("weight", "bias", "affine.weight", "affine.bias", "noise_strength", "noise_const")


def _table(resolution: int, layers: int) -> dict[str, str]:
    """NVIDIA's PyTorch name to ours."""
    modules = {"b4.conv1": "stem", "b4.torgb": "stem_rgb"}
    for i, k in enumerate(range(3, resolution.bit_length())):
        for theirs, ours in (("conv0", "up"), ("conv1", "conv"), ("torgb", "to_rgb")):
            modules[f"b{2**k}.{theirs}"] = f"blocks.{i}.{ours}"
    table = {"mapping.w_avg": "mean_w", "synthesis.b4.const": "constant"}
    for theirs, ours in modules.items():
        for leaf in _STYLED[:4] if theirs.endswith("torgb") else _STYLED:
            table[f"synthesis.{theirs}.{leaf}"] = f"{ours}.{leaf.replace('_const', '')}"
    for i in range(layers):
        for leaf in ("weight", "bias"):
            table[f"mapping.fc{i}.{leaf}"] = f"mapping.layers.{i}.{leaf}"
    return table


def _widths(state: Mapping[str, Tensor], resolution: int) -> dict[str, int]:
    """`style_dim`, `channel_base` and `channel_max`, as the shapes of the tensors tell them."""
    style_dim = int(state["stem.affine.weight"].shape[1])
    for name, tensor in state.items():
        if name.startswith("mapping.") and set(tensor.shape) != {style_dim}:
            raise FormatError(
                f"is a generator whose mapping network has a layer of {tuple(tensor.shape)}; "
                f"ours keeps to the width of w, {style_dim}"
            )
    widths = {4: len(state["stem.weight"])}
    for i, k in enumerate(range(3, resolution.bit_length())):
        widths[2**k] = len(state[f"blocks.{i}.conv.weight"])
    top, base = max(widths.values()), widths[resolution] * resolution
    if any(width != min(base // size, top) for size, width in widths.items()):
        raise FormatError(
            f"is a generator with channels {list(widths.values())}; ours halve with every doubling"
        )
    return {"style_dim": style_dim, "channel_base": base, "channel_max": top}
