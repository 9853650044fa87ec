"""Algebra on W+ codes, (N, L, style_dim): mix, interpolate, move, truncate.

All functions are pure and differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from wplus.errors import ConfigError

# Names of layer ranges by the resolution at which a style acts (StyleGAN, section 3).
RANGES = {"coarse": (4, 8), "medium": (16, 32), "fine": (64, 1 << 30)}


def layers_of(spec: str, style_resolutions: Sequence[int]) -> list[int]:
    """Indices of the styles that a specification names.

    Args:
        spec: comma-separated names ("coarse": 4² to 8², "medium": 16² to 32², "fine": from 64² up,
            "all"), resolutions ("64px", "64-256px"), indices ("7") or inclusive ranges of indices
            ("8-17").
        style_resolutions: of the generator.

    Returns:
        Sorted indices.

    Raises:
        ConfigError: an unknown name, an index out of range, or a resolution that has no style.
    """
    count = len(style_resolutions)
    chosen: set[int] = set()
    for word in (part.strip().lower() for part in spec.split(",")):
        if word == "all":
            chosen.update(range(count))
        elif word in RANGES:
            low, high = RANGES[word]
            chosen.update(i for i, size in enumerate(style_resolutions) if low <= size <= high)
        elif word.endswith("px"):
            low, high = _range(word.removesuffix("px"), spec)
            found = [i for i, size in enumerate(style_resolutions) if low <= size <= high]
            if not found:
                raise ConfigError(f"layers {word!r}: no style of this generator acts there")
            chosen.update(found)
        else:
            low, high = _range(word, spec)
            if not low <= high < count:
                raise ConfigError(f"layers {word!r}: this generator has styles 0 to {count - 1}")
            chosen.update(range(low, high + 1))
    return sorted(chosen)


def _range(word: str, spec: str) -> tuple[int, int]:
    first, dash, last = word.partition("-")
    try:
        return int(first), int(last if dash else first)
    except ValueError:
        names = ", ".join((*RANGES, "all"))
        raise ConfigError(f"layers {spec!r}: use {names}, indices like 8-17, or 64-256px") from None


def mix(codes: Tensor, others: Tensor, layers: Iterable[int], alpha: float = 1.0) -> Tensor:
    """Replace the styles of `layers`: α·other + (1 − α)·code ("Encoding in Style", section 4.3).

    Args:
        codes: (N, L, style_dim).
        others: (M, L, style_dim), or (M, style_dim) for one w at every layer; M = N, or either
            is 1.
        layers: indices of the styles to replace.
        alpha: weight of `others`.

    Returns:
        (max(N, M), L, style_dim).

    Raises:
        ConfigError: a layer does not exist, or the shapes do not fit.
    """
    if others.ndim == 2:
        others = others[:, None].expand(-1, codes.shape[1], -1)
    if codes.shape[1:] != others.shape[1:] or (
        len(codes) != len(others) and 1 not in (len(codes), len(others))
    ):
        raise ConfigError(f"cannot mix codes of {tuple(codes.shape)} with {tuple(others.shape)}")
    weight = _per_layer(codes, layers, alpha)
    return weight * others + (1 - weight) * codes


def _per_layer(codes: Tensor, layers: Iterable[int], value: float) -> Tensor:
    """(1, L, 1): `value` at `layers`, else 0."""
    count = codes.shape[1]
    weight = torch.zeros(1, count, 1, dtype=codes.dtype, device=codes.device)
    for layer in layers:
        if not 0 <= layer < count:
            raise ConfigError(
                f"layer {layer} does not exist: the codes have styles 0 to {count - 1}"
            )
        weight[:, layer] = value
    return weight


def interpolate(first: Tensor, last: Tensor, steps: int) -> Tensor:
    """Codes on the straight line between two, both ends included.

    Args:
        first, last: (L, style_dim) each.
        steps: number of codes, at least 2.

    Returns:
        (steps, L, style_dim).

    Raises:
        ConfigError: fewer than 2 steps, or the shapes do not fit.
    """
    if steps < 2:
        raise ConfigError(f"an interpolation needs at least 2 steps, not {steps}")
    if first.ndim != 2 or first.shape != last.shape:
        raise ConfigError(
            f"cannot interpolate from {tuple(first.shape)} to {tuple(last.shape)}:"
            " both must be one code, (L, style_dim)"
        )
    t = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)[:, None, None]
    return torch.lerp(first[None], last[None], t)


def move(
    codes: Tensor, direction: Tensor, amount: float, layers: Iterable[int] | None = None
) -> Tensor:
    """Codes + amount·direction, at all layers or some.

    Args:
        codes: (N, L, style_dim).
        direction: (style_dim,) for every layer, or (L, style_dim).
        amount: signed strength, in the units of the direction.
        layers: indices of the styles that move; None moves all.

    Returns:
        (N, L, style_dim).

    Raises:
        ConfigError: a layer does not exist, or the shapes do not fit.
    """
    _check_fit(direction, codes, "a direction")
    every = range(codes.shape[1]) if layers is None else layers
    return codes + _per_layer(codes, every, amount) * direction.to(codes)


def truncate(codes: Tensor, mean: Tensor, psi: float) -> Tensor:
    """Mean + ψ·(codes − mean): the truncation trick (StyleGAN, appendix B).

    Args:
        codes: (N, L, style_dim).
        mean: (style_dim,) or (L, style_dim).
        psi: 1 leaves the codes, 0 gives the mean.

    Raises:
        ConfigError: the shapes do not fit.
    """
    _check_fit(mean, codes, "a mean")
    return torch.lerp(mean.to(codes).expand_as(codes), codes, psi)


def _check_fit(part: Tensor, codes: Tensor, what: str) -> None:
    if codes.ndim != 3 or part.shape not in (codes.shape[1:], codes.shape[2:]):
        raise ConfigError(f"{what} of {tuple(part.shape)} fits no codes of {tuple(codes.shape)}")
