"""Weights as differences from another model's: four bits a number, for what was trained from it.

w ≈ base + scale · LEVELS[q]. The numbers of a tensor are taken in groups of 32, two to a byte; a
group has a scale of one byte: a sign and a power of 2^(1/8) below the largest of the tensor, chosen
for the least squared error. In all 4¼ bits. The levels lie closer near zero, where most differences
are, and have one more above zero than below: the sign says which way round that is.

What the base lacks, or has in another shape, is stored in 8 bits (`quantized`); what is small in
half precision as it is, not as a difference; what equals the base takes no room.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from wplus.formats import quantized

CODES, STEPS, TOP, GONE = "|codes", "|steps", "|top", "|gone"
GROUP = 32  # numbers with one scale
STEPS_OF_AN_OCTAVE = 8
FARTHEST = 127  # step below which a group counts as zero: 1/54,000 of the largest
TRIED = range(-1, 7)  # steps around that of the group's largest number
SMALLEST = 2048  # numbers; below, half precision

# Fitted by Lloyd's rounds to the differences of two trained encoders, in scaled groups of 32; zero
# is kept, so that what did not change stays. Part of the format: files hold indices into it.
LEVELS = (
    *(-0.998, -0.725, -0.556, -0.420, -0.304, -0.199, -0.099, 0.0),
    *(0.079, 0.165, 0.259, 0.362, 0.478, 0.617, 0.792, 1.0),
)
_LEVELS = torch.tensor(LEVELS)
_MIDDLES = (_LEVELS[1:] + _LEVELS[:-1]) / 2
_PAIRS = torch.stack([_LEVELS.repeat(16), _LEVELS.repeat_interleave(16)], 1)  # of every byte


def pack(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they are stored.

    Args:
        state: what is to be stored.
        base: what it was trained from, as its readers will have it: unpacked, if it is packed.

    Returns:
        For each large tensor, by its name and a suffix: (groups, 16) uint8 of two numbers each, the
        first in the low half (`CODES`); (groups,) int8, the signed step of its scale, 0 for a group
        of zeros (`STEPS`); the largest scale (`TOP`). An empty tensor + `GONE` for what only the
        base has. Others by their name, see above.

    Raises:
        ValueError: a number, or its difference, is not finite.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{name} has numbers that are not finite")
        known = base.get(name)
        if known is None or known.shape != value.shape or not value.is_floating_point():
            if known is None or not _equal(known, value):
                packed |= quantized.pack({name: value})
        elif _equal(known, value):
            continue
        elif value.ndim < 2 or value.numel() < SMALLEST:
            packed[name] = quantized.half(value)
        else:
            codes, steps, top = _coded(value.detach().float().cpu() - known.float().cpu())
            if not bool(top.isfinite()):
                raise ValueError(f"{name} is too far from the base")
            packed |= {name + CODES: codes, name + STEPS: steps, name + TOP: top}
    gone = [name for name in base if name not in state]
    return packed | {name + GONE: torch.empty(0, dtype=torch.uint8) for name in gone}


def unpack(packed: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given, nearly; float32, but half precision for what is small.

    Raises:
        ValueError: the tensors do not fit each other or the base.
    """
    ours: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for name, value in packed.items():
        stem, bar, suffix = name.rpartition("|")
        if bar and "|" + suffix in (CODES, STEPS, TOP, GONE):
            ours.setdefault(stem, {})["|" + suffix] = value
        else:
            rest[name] = value
    found = dict(base)
    for name, parts in ours.items():
        if name not in base:
            raise ValueError(f"{name} is none of the base")
        if set(parts) == {GONE}:
            del found[name]
        else:
            found[name] = _decoded(name, parts, base[name])
    return found | quantized.unpack(rest)


def digest(state: Mapping[str, Tensor]) -> str:
    """sha256 (64 hexadecimal digits) over names, shapes and numbers, whatever their precision.

    Half-precision numbers count as the float32 they become. Tensors are hashed side by side: the
    digest is taken whenever a difference is laid on its base.
    """

    def one(name: str) -> bytes:
        value = state[name].detach().cpu()
        numbers = value.float() if value.is_floating_point() else value.long()
        array = np.ascontiguousarray(numbers.numpy())
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        head = f"{name} {tuple(value.shape)} {array.dtype.kind}\n".encode()
        inner = hashlib.sha256(head)
        inner.update(array.reshape(-1).view(np.uint8).data)
        return inner.digest()

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return hashlib.sha256(b"".join(pool.map(one, sorted(state)))).hexdigest()


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.is_floating_point() != other.is_floating_point():
        return False
    if one.is_floating_point():
        return torch.equal(one.float().cpu(), other.float().cpu())
    return torch.equal(one.cpu(), other.cpu())


def _coded(difference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, steps and the largest scale of a difference that is not zero everywhere."""
    numbers = difference.flatten()
    groups = torch.nn.functional.pad(numbers, (0, -len(numbers) % GROUP)).view(-1, GROUP)
    top = groups.abs().max() * 2 ** (1 / STEPS_OF_AN_OCTAVE)
    groups = groups / top  # squares of what is left neither overflow nor vanish
    down = -torch.log2(groups.abs().amax(1)) * STEPS_OF_AN_OCTAVE
    nearest = down.round().nan_to_num(posinf=FARTHEST).clamp(0, FARTHEST)

    steps = torch.zeros(len(groups), dtype=torch.int8)
    codes = torch.full(groups.shape, LEVELS.index(0.0))
    least = groups.square().sum(1)  # of leaving the group at zero
    for offset in TRIED:
        step = (nearest + 1 + offset).clamp(1, FARTHEST).to(torch.int8)
        for signed in (step, -step):
            scales = _scales(signed)[:, None]
            tried = torch.bucketize(groups / scales, _MIDDLES)
            error = (_LEVELS[tried] * scales - groups).square().sum(1)
            better = error < least
            least = torch.where(better, error, least)
            steps = torch.where(better, signed, steps)
            codes = torch.where(better[:, None], tried, codes)
    codes = codes.to(torch.uint8)
    return codes[:, 0::2] | codes[:, 1::2] << 4, steps, top


def _scales(steps: Tensor) -> Tensor:
    """(groups,) float32 in units of `TOP`: ±2^(−(|step| − 1) / 8); 0 for step 0."""
    below = [2.0 ** (-step / STEPS_OF_AN_OCTAVE) for step in range(FARTHEST + 1)]
    table = torch.tensor([0.0, *below])  # one longer than is written: int8 has a −128
    return table[steps.long().abs()] * steps.sign()


def _decoded(name: str, parts: Mapping[str, Tensor], base: Tensor) -> Tensor:
    count = math.ceil(base.numel() / GROUP)
    expected = {
        CODES: (torch.uint8, (count, GROUP // 2)),
        STEPS: (torch.int8, (count,)),
        TOP: (torch.float32, ()),
    }
    if expected != {part: (value.dtype, tuple(value.shape)) for part, value in parts.items()}:
        raise ValueError(f"the differences of {name} do not fit the base")
    numbers = _PAIRS.index_select(0, parts[CODES].flatten().int()).view(count, GROUP)
    numbers *= (_scales(parts[STEPS]) * parts[TOP])[:, None]
    return numbers.flatten()[: base.numel()].view(base.shape).add_(base)
