"""LPIPS weights, as published and as a Flax port carries them, under our names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.pickled_arrays import NUMPY
from wplus.formats.pickles import read_pickle
from wplus.formats.strict import inverse, rename

PLACES: Mapping[str, tuple[int, ...]] = {
    "alexnet": (0, 3, 6, 8, 10),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}
"""Where each convolution stands in the `features` of the published classifiers."""
HEADS = 5
FLAX_ROOTS: Mapping[str, str] = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


def lpips_table(net: str) -> dict[str, str]:
    """Published name to our name: the classifier's `features` and the package's `lin` heads."""
    table = {
        f"features.{place}.{leaf}": f"convs.{i}.{leaf}"
        for i, place in enumerate(PLACES[net])
        for leaf in ("weight", "bias")
    }
    return table | {f"lin{k}.model.1.weight": f"heads.{k}" for k in range(HEADS)}


def translate_lpips(
    state: Mapping[str, Tensor], what: str = "the file"
) -> tuple[str, dict[str, Tensor]]:
    """Name of the net ("alexnet" or "vgg16") and our tensors, from the published ones.

    Raises:
        FormatError: a tensor is missing or unexpected.
    """
    net = "vgg16" if f"features.{PLACES['vgg16'][-1]}.weight" in state else "alexnet"
    return net, rename(state, lpips_table(net), what)


def publish_lpips(net: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back: tensors of our `LPIPS` on that net under the published names.

    Raises:
        FormatError: a tensor is missing or unexpected.
    """
    return rename(state, inverse(lpips_table(net)), f"LPIPS on {net}")


def read_lpips(path: str | Path) -> tuple[str, dict[str, Tensor]]:
    """Read `alexnet.ckpt` or `vgg16.ckpt` of the Flax port: nested dicts of numpy arrays.

    Its kernels are (height, width, in, out); ours are (out, in, height, width).

    Returns:
        The net's name and the tensors of our `LPIPS`.

    Raises:
        FormatError: the file is damaged or unsafe, or a tensor is missing or unexpected.
    """
    return translate_flax(read_pickle(path, NUMPY), str(path))


def is_flax(content: object) -> bool:
    """Whether something unpickled has the layout of the Flax port."""
    tree = content.get("params", content) if isinstance(content, Mapping) else None
    return isinstance(tree, Mapping) and any(root in tree for root in FLAX_ROOTS.values())


def translate_flax(content: object, path: str) -> tuple[str, dict[str, Tensor]]:
    """The same for what the pickle held; `path` begins messages."""
    arrays = _flatten(content, path)
    net = next((net for net, root in FLAX_ROOTS.items() if f"{root}.Conv_0.kernel" in arrays), None)
    if net is None:
        raise FormatError(f"{path}: holds no LPIPS on AlexNet or VGG16")
    root = FLAX_ROOTS[net]
    table = {f"NetLinLayer_{k}.Conv_0.kernel": f"heads.{k}" for k in range(HEADS)}
    for i in range(len(PLACES[net])):
        table[f"{root}.Conv_{i}.kernel"] = f"convs.{i}.weight"
        table[f"{root}.Conv_{i}.bias"] = f"convs.{i}.bias"
    state = rename({name: _tensor(array) for name, array in arrays.items()}, table, str(path))
    return net, {
        name: tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
        for name, tensor in state.items()
    }


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _flatten(tree: object, what: str, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of nested dicts by dotted name."""
    if isinstance(tree, np.ndarray):
        return {prefix[:-1]: tree}
    if not isinstance(tree, Mapping):
        raise FormatError(f"{what}: holds a {type(tree).__name__} at {prefix[:-1]}, not an array")
    flat: dict[str, np.ndarray[Any, Any]] = {}
    for key, value in tree.items():
        flat |= _flatten(value, what, f"{prefix}{key}.")
    return flat
