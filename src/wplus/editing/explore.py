"""The explorer's grid: a row for each direction, a column for each amount."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.editing.directions import Direction, apply
from wplus.editing.sheets import sheet
from wplus.errors import ConfigError
from wplus.psp import PSP


def amounts_of(direction: Direction, count: int, reach: float | None = None) -> list[float]:
    """Evenly spaced amounts around 0, which is among them.

    Args:
        direction: its range is used without a reach.
        count: odd, at least 3.
        reach: the largest amount either way.

    Raises:
        ConfigError: an even count, fewer than 3, or a reach that is not above 0.
    """
    if count < 3 or count % 2 == 0:
        raise ConfigError(f"{count} columns: use an odd number from 3 up, so that 0 is among them")
    if reach is not None and not (reach > 0 and math.isfinite(reach)):
        raise ConfigError(f"a reach of {reach:g}: use a number above 0")
    half = count // 2
    low, high = (direction.low, direction.high) if reach is None else (-reach, reach)
    below = [low * (half - i) / half for i in range(half)]
    return [*below, 0.0, *(high * (i + 1) / half for i in range(half))]


@torch.no_grad()
def explore(
    code: Tensor,
    directions: Sequence[Direction],
    model: PSP,
    columns: int = 5,
    reach: float | None = None,
    size: int = 192,
    progress: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """What each direction does to a face, from one end of its range to the other.

    Args:
        code: (L, style_dim).
        directions: a row each.
        model: its generator makes the pictures.
        columns: amounts of each, see `amounts_of`.
        reach: the same for all; None for each direction's own range.
        size: side of each picture in pixels.
        progress: called with how many rows are made, and how many there are.

    Raises:
        ConfigError: no directions, or one that does not fit the code; see `amounts_of`.
    """
    if not directions:
        raise ConfigError("there are no directions to explore")
    side = min(size, model.resolution)
    middle = images.to_picture(images.resize(model.decode(code[None]), side))
    rows = []
    for i, direction in enumerate(directions, 1):
        row = []
        for amount in amounts_of(direction, columns, reach):
            if amount == 0:
                row.append(middle)
                continue
            moved = apply(code[None], [(direction, amount)])
            row.append(images.to_picture(images.resize(model.decode(moved), side)))
        rows.append(row)
        if progress is not None:
            progress(i, len(directions))
    spans = [amounts_of(direction, columns, reach) for direction in directions]
    same = all(span == spans[0] for span in spans)
    heads = [f"{amount:+g}" if amount else "0" for amount in spans[0]] if same else []
    names = [d.name if same else f"{d.name} {d.low:+g} … {d.high:+g}" for d in directions]
    return sheet(rows, heads, names, size)
