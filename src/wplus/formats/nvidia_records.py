"""What NVIDIA's network pickles leave when their source code is not run: inert records."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.opening import shown
from wplus.formats.pickled_arrays import Allowed, Sealed
from wplus.formats.pickles import Record
from wplus.formats.torch_files import TENSORS, Storage, read_torch, view_of

LR_MULTIPLIER = 0.01  # of our mapping network; another one is folded into the weights
FILTER = [1, 3, 3, 1]


class Found(NamedTuple):
    """A generator in the names of the PyTorch version."""

    tensors: dict[str, StoredTensor | Tensor]
    clamp: float | None
    lr_multiplier: float
    use_noise: bool


class StoredTensor(NamedTuple):
    """A tensor as it was pickled: the bytes of a `torch.save`d storage, and a view of it."""

    storage: bytes
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """The tensor, in its own memory."""
        saved = read_torch(self.storage)
        if not isinstance(saved, Storage) or not saved.numbers.is_floating_point():
            raise FormatError("holds a tensor that is not of floating-point numbers")
        if math.prod(self.size) > saved.numbers.numel():
            raise FormatError("holds a tensor that is larger than its data")
        make, _ = view_of(saved, self.offset, self.size, self.stride)
        return make().to(torch.float32).contiguous()


class Module(NamedTuple):
    """A PyTorch module: the name of its class and its attributes."""

    name: str
    state: dict[str, Any]


class Network(metaclass=Sealed):
    """A TensorFlow network: name, settings, variables and sub-networks, in a dict."""

    __slots__ = ("state",)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


def _persistent_object(meta: dict[str, Any]) -> Module:
    name, state = meta["class_name"], meta["state"]
    if not isinstance(name, str) or not isinstance(state, dict):
        raise FormatError("is damaged: it holds a module without a name or a state")
    return Module(name, state)  # no copy: one state may be handed over many times


def _storage(blob: bytes) -> bytes:
    return blob


def _rebuild_tensor(
    storage: Any, offset: int, size: Any, stride: Any, *training: object
) -> StoredTensor:
    if not isinstance(storage, bytes):
        raise FormatError("holds a tensor without data")
    return StoredTensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: StoredTensor, *training: object) -> StoredTensor:
    return data


MODULES: Allowed = {
    **TENSORS,
    ("dnnlib.util", "EasyDict"): Record,
    ("dnnlib.tflib.network", "Network"): Network,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
}
"""What network pickles of either kind name, beside their tensors."""

ALLOWED: Allowed = {
    **MODULES,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
"""All that the network pickles of either kind name."""


def require(what: str, value: object, expected: object) -> None:
    """Refuse a setting of a generator that ours does not have. Raises FormatError."""
    if not isinstance(value, str | int | float | bool | list | tuple | None):
        value = type(value).__name__
    if value != expected:
        raise FormatError(f"is a generator with {what} {shown(repr(value))}; ours has {expected!r}")


def refuse_labels(count: Any) -> None:
    """Refuse a conditional generator. Raises FormatError."""
    if count:
        raise FormatError(f"is a conditional generator ({int(count)} labels); ours takes none")


def optional(number: Any) -> float | None:
    """A number that may be absent."""
    return None if number is None else float(number)
