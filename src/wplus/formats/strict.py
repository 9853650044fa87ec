"""Nothing missing, nothing left over: how tensors of a foreign file are renamed and loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from wplus.errors import FormatError

COUNTER = "num_batches_tracked"
"""Batch norms before torch 0.4.1 had no such counter, and no network of ours uses it."""


def norm_names(theirs: str, ours: str, *, affine: bool = True) -> dict[str, str]:
    """Rows of a name table for a batch norm that stands at `theirs` there and at `ours` here."""
    leaves = ("weight", "bias") if affine else ()
    return {
        f"{theirs}.{x}": f"{ours}.{x}" for x in (*leaves, "running_mean", "running_var", COUNTER)
    }


def check_names(found: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Refuse a set of tensor names that is not the expected one.

    Raises:
        FormatError: a name is missing or unexpected; the message starts with `what` and lists them.
    """
    found, expected = set(found), set(expected)
    if found == expected:
        return
    faults = [
        f"{kind} {_some(names)}"
        for kind, names in (("lacks", expected - found), ("has unexpected", found - expected))
        if names
    ]
    raise FormatError(f"{what}: {' and '.join(faults)}")


def tensors_of(content: object, what: str) -> dict[str, Tensor]:
    """What a file held, if it is a plain table of tensors by name.

    Raises:
        FormatError: it is something else, or a value is not a tensor.
    """
    if not isinstance(content, Mapping):
        raise FormatError(f"{what}: holds a {type(content).__name__}, not a table of tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise FormatError(f"{what}: holds a {type(value).__name__} at {name}, not a tensor")
    return dict(content)


def rename(state: Mapping[str, Tensor], table: Mapping[str, str], what: str) -> dict[str, Tensor]:
    """Give the tensors of `state` the names that `table` (their name: our name) says.

    Every name of the table must be there and no other, except that counters of batch norms, which
    old files lack, are filled in.

    Raises:
        FormatError: a name is missing or unexpected.
    """
    filled = dict(state)
    for name in table:
        if name.endswith(COUNTER):
            filled.setdefault(name, torch.zeros((), dtype=torch.int64))
    check_names(filled, table, what)
    return {ours: filled[theirs] for theirs, ours in table.items()}


def inverse(table: Mapping[str, str]) -> dict[str, str]:
    """The table read the other way: our name to their name."""
    turned = {ours: theirs for theirs, ours in table.items()}
    if len(turned) != len(table):
        raise ValueError("two names of the table become one")
    return turned


def load_strict(
    module: nn.Module, state: Mapping[str, Tensor], what: str, *, assign: bool = False
) -> None:
    """Put `state` into `module`: every tensor, of the right shape, and no other.

    Args:
        module: the network; with `assign`, it may stand on the meta device.
        state: tensors under the names of the module.
        what: what the state was read from; messages start with it.
        assign: take the tensors themselves, without a copy and with their dtype.

    Raises:
        FormatError: a tensor is missing, unexpected, of another shape, whole numbers where the
            network has fractions, or not finite.
    """
    expected = module.state_dict()
    check_names(state, expected, what)
    wrong = [
        f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise FormatError(f"{what}: has tensors of the wrong shape: {_some(wrong)}")
    wrong = [
        f"{name} {state[name].dtype} for {tensor.dtype}"
        for name, tensor in expected.items()
        if state[name].is_floating_point() != tensor.is_floating_point()
        or state[name].is_complex() != tensor.is_complex()
    ]
    if wrong:
        raise FormatError(f"{what}: has tensors of the wrong type: {_some(wrong)}")
    wrong = [name for name, tensor in state.items() if not is_finite(tensor)]
    if wrong:
        raise FormatError(f"{what}: has values that are not finite, in {_some(wrong)}")
    module.load_state_dict(dict(state), strict=True, assign=assign)


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither infinities nor NaN; one pass, and no memory of its size."""
    if not tensor.is_floating_point() or tensor.numel() == 0 or tensor.is_meta:
        return True
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _some(names: Iterable[str], limit: int = 5) -> str:
    """The first few, in order, and how many there are in all."""
    listed = sorted(names)
    text = ", ".join(listed[:limit])
    return text if len(listed) <= limit else f"{text}, … ({len(listed)} in all)"
