"""Style mixing: the styles of one code at some layers of another, and the table of many pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from PIL import Image
from torch import Tensor

from wplus import images, latents
from wplus.editing.sheets import sheet
from wplus.errors import ConfigError
from wplus.psp import PSP

SIZE = 256  # side of a picture in the table


def mixed(contents: Tensor, styles: Tensor, layers: Iterable[int], alpha: float = 1.0) -> Tensor:
    """Every content with every style: `latents.mix` of all pairs (StyleGAN, figure 3).

    Args:
        contents: (R, L, style_dim).
        styles: (C, L, style_dim).
        layers: the styles that come from `styles`.
        alpha: their weight.

    Returns:
        (R, C, L, style_dim).

    Raises:
        ConfigError: no layers, a layer does not exist, or the shapes do not fit.
    """
    chosen = list(layers)
    if not chosen:
        raise ConfigError("mixing needs at least one layer")
    rows = [latents.mix(content[None], styles, chosen, alpha) for content in contents]
    return torch.stack(rows)


@torch.no_grad()
def mixing_table(
    contents: Tensor,
    styles: Tensor,
    model: PSP,
    layers: Sequence[int],
    alpha: float = 1.0,
    size: int = SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """The figure: contents down the left side, styles along the top, their mixtures between.

    Args:
        contents: (R, L, style_dim).
        styles: (C, L, style_dim).
        model: its generator makes the pictures.
        layers: the styles that come from the top.
        alpha: their weight.
        size: side of each picture in pixels.
        progress: called with how many pictures are made, and how many there are.

    Raises:
        ConfigError: see `mixed`.
    """
    codes = mixed(contents, styles, layers, alpha)
    total, made = codes[..., 0, 0].numel() + len(contents) + len(styles), 0

    def draw(code: Tensor) -> Image.Image:
        nonlocal made
        made += 1
        if progress is not None:
            progress(made, total)
        image = images.resize(model.decode(code[None]), min(size, model.resolution))
        return images.to_picture(image)

    top: list[Image.Image | None] = [None, *map(draw, styles)]
    return sheet([top, *([draw(a), *map(draw, row)] for a, row in zip(contents, codes))], size=size)
