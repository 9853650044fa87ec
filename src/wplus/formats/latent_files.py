"""Latent codes and directions as other tools of the field save them.

| tool | file | holds |
|---|---|---|
| e4e | `latents.pt` | (N, L, D) |
| PTI | `0.pt` | (1, L, D), or (1, D) |
| ReStyle | `latents.npy` | dict: file name -> (L, D), or a list with one of each iteration |
| rosinality's projector | `name.pt` | dict: file name -> {"latent": (L, D) or (D,), …} |
| StyleGAN2-ADA's projector | `projected_w.npz` | `w` (1, L, D) |
| InterFaceGAN | `name_boundary.npy` | a direction (1, D) |
| e4e, PTI | `age.pt`, `pose.pt` | a direction (1, D) or (1, L, D) |
| GANSpace | `name.pt`, `name.npz` | `comp` or `act_comp` (K, 1, D), `stdev` … |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.arrays import MAGIC_NPY, read_arrays, tensor_of
from wplus.formats.opening import shown

KEYS = ("w", "w_plus", "wp", "latent", "latents", "latent_code", "codes", "dlatents")
COMPONENTS = ("comp", "lat_comp", "act_comp", "components")
DEVIATIONS = {"comp": "std", "lat_comp": "lat_stdev", "act_comp": "act_stdev", "components": "std"}


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like one of these; its content is not read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (paths of every kind)
            head = file.read(8)
    except (OSError, ValueError):
        return False
    return head.startswith((MAGIC_NPY, b"PK\x03\x04", b"\x80"))


def read_codes(path: str | os.PathLike[str]) -> list[tuple[str, Tensor]]:
    """Codes of a file with their names, which are empty for the only one.

    Returns:
        (L, D) float32 each; L is 1 for a code of W, which is one style for all layers.

    Raises:
        FormatError: the file is missing, damaged or unsafe, or holds no codes.
    """
    what, found = os.fsdecode(path), list[tuple[str, Tensor]]()
    content = read_arrays(path)
    if isinstance(content, Mapping) and not any(key in content for key in KEYS):
        for name, value in content.items():
            codes = _codes(value)
            stem = PurePath(str(name)).stem if codes else ""
            found += [(_name(stem, i, codes), code) for i, code in enumerate(codes)]
    else:
        codes = _codes(content)
        found = [(_name("", i, codes), code) for i, code in enumerate(codes)]
    if not found:
        raise FormatError(f"{what}: holds no codes; known are (N, L, D), (L, D), (D,) or a table")
    for name, code in found:
        if not bool(torch.isfinite(code).all()):
            raise FormatError(f"{what}: {shown(name) or 'its code'} is not finite")
    return found


def _name(stem: str, index: int, codes: list[Tensor]) -> str:
    if len(codes) == 1:
        return stem
    return f"{stem}-{index}" if stem else str(index)


def _codes(value: Any) -> list[Tensor]:
    """Codes (L, D) in one entry of a file; none if it is something else."""
    if isinstance(value, Mapping):
        return next((_codes(value[key]) for key in KEYS if key in value), [])
    if isinstance(value, list | tuple):  # of iterations, the last of which is the result
        return _codes(value[-1]) if value else []
    tensor = tensor_of(value)
    if tensor is None or 0 in tensor.shape:
        return []
    if tensor.ndim == 4 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim == 1:
        tensor = tensor[None]
    if tensor.ndim == 2:
        tensor = tensor[None]
    return list(tensor) if tensor.ndim == 3 else []


def read_directions(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Directions of a file by name: (L, D) float32, or (1, D) for all styles alike.

    The names of a table are its keys, those of GANSpace's components comp0, comp1, …, each one
    standard deviation long; a single direction has the name of the file.

    Raises:
        FormatError: the file is missing, damaged or unsafe, or holds no directions.
    """
    what, content = os.fsdecode(path), read_arrays(path)
    stem = PurePath(what).stem.removesuffix("_boundary")
    found: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        key = next((key for key in COMPONENTS if key in content), None)
        if key is not None:
            components = tensor_of(content[key])
            deviations = tensor_of(content.get(DEVIATIONS[key]))
            if components is not None and components.ndim in (2, 3):
                found = {f"comp{i}": row for i, row in enumerate(components)}
                if deviations is not None and deviations.numel() == len(components):
                    found = {n: r * s for (n, r), s in zip(found.items(), deviations.flatten())}
        else:
            tensors = {shown(str(name)): tensor_of(value) for name, value in content.items()}
            found = {name: value for name, value in tensors.items() if value is not None}
    elif (tensor := tensor_of(content)) is not None:
        found = {stem: tensor}
    directions = {}
    for name, tensor in found.items():
        while tensor.ndim > 2 and len(tensor) == 1:
            tensor = tensor[0]
        tensor = tensor[None] if tensor.ndim == 1 else tensor
        if tensor.ndim == 2 and 0 not in tensor.shape and bool(torch.isfinite(tensor).all()):
            directions[name] = tensor
    if not directions:
        raise FormatError(f"{what}: holds no directions; known are (1, D), (L, D) and (1, L, D)")
    return directions
