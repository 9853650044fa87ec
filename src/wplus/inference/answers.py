"""Several answers to one input: named styles drawn anew ("Encoding in Style", section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wplus import latents
from wplus.errors import ConfigError
from wplus.psp import PSP


@torch.no_grad()
def answers(
    model: PSP, codes: Tensor, count: int, layers: Sequence[int], alpha: float, seed: int
) -> Tensor:
    """The code itself, then `count` − 1 with w of fresh z blended into the styles of `layers`.

    codes[layers] ← α·w + (1 − α)·codes[layers], w the mapping of a standard normal z.

    Args:
        model: its mapping is used.
        codes: (1, L, style_dim).
        count: how many answers.
        layers: indices of the styles, see `latents.layers_of`.
        alpha: weight of w.
        seed: answer i depends on the seed and on i alone, whatever the count, input and device.

    Returns:
        (count, L, style_dim).

    Raises:
        ConfigError: fewer than one answer, more than one code, or layers that do not exist.
    """
    if count < 1 or len(codes) != 1:
        raise ConfigError(f"{count} answers to {len(codes)} codes: at least one, to one code")
    rng = torch.Generator().manual_seed(seed)
    found = [codes]
    for _ in range(count - 1):
        z = torch.randn(1, model.generator.style_dim, generator=rng)
        found.append(latents.mix(codes, model.map(z).to(codes), layers, alpha))
    return torch.cat(found)
