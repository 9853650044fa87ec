"""Tables of edits: directions by amounts, contents by styles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from wplus import latents
from wplus.editing.directions import Direction, apply
from wplus.editing.rendering import sheet, shown
from wplus.errors import ConfigError
from wplus.progress import Progress, silent
from wplus.psp import PSP


def amounts_of(direction: Direction, count: int, reach: float | None = None) -> list[float]:
    """Evenly spaced amounts around 0, which is among them.

    Args:
        direction: without a reach, its own range is used.
        count: odd, at least 3.
        reach: the largest amount of either sign.

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


def explore(
    code: Tensor,
    directions: Sequence[Direction],
    model: PSP,
    columns: int = 5,
    reach: float | None = None,
    size: int = 192,
    progress: Progress = silent,
) -> Image.Image:
    """What each direction does to a face, from one end of its range to the other.

    Args:
        code: (L, style_dim).
        directions: a row each.
        model: its generator makes the images.
        columns: amounts of each, see `amounts_of`.
        reach: the same for all; None for each direction's own range.
        size: side of each image in pixels.
        progress: counts rows.

    Raises:
        ConfigError: no directions, or one that does not fit the code; see `amounts_of`.
    """
    if not directions:
        raise ConfigError("there are no directions to explore")
    spans = [amounts_of(direction, columns, reach) for direction in directions]
    [middle] = shown([code], model, size)
    rows = []
    for i, (direction, amounts) in enumerate(zip(directions, spans), 1):
        codes = [apply(code[None], [(direction, amount)])[0] for amount in amounts if amount]
        row = list(shown(codes, model, size))
        rows.append([*row[: columns // 2], middle, *row[columns // 2 :]])
        progress(i, len(directions))
    same = all(span == spans[0] for span in spans)
    heads = [f"{amount:+g}" if amount else "0" for amount in spans[0]] if same else []
    names = [d.name if same else f"{d.name} {d.low:+g} … {d.high:+g}" for d in directions]
    return sheet(rows, heads, names, size)


def mixing_table(
    contents: Tensor,
    styles: Tensor,
    model: PSP,
    layers: Sequence[int],
    alpha: float = 1.0,
    size: int = 256,
    progress: Progress = silent,
) -> Image.Image:
    """Contents down the left side, styles along the top, their mixtures between (StyleGAN, fig. 3).

    Args:
        contents: (R, L, style_dim).
        styles: (C, L, style_dim).
        model: its generator makes the images.
        layers: the styles that come from the top, see `latents.mix`.
        alpha: their weight.
        size: side of each image in pixels.
        progress: counts images.

    Raises:
        ConfigError: no layers, a layer does not exist, or the shapes do not fit.
    """
    if not layers:
        raise ConfigError("mixing needs at least one layer")
    codes = list(styles)
    for content in contents:
        codes += [content, *latents.mix(content[None], styles, layers, alpha)]
    made: list[Image.Image | None] = []
    for image in shown(codes, model, size):
        made.append(image)
        progress(len(made), len(codes))
    width = len(styles) + 1
    made.insert(0, None)  # the corner
    return sheet([made[i : i + width] for i in range(0, len(made), width)], size=size)
