"""Directions without labels: of the generator's weights (SeFa) and of W's covariance (GANSpace)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from wplus.editing.directions import Direction
from wplus.errors import ConfigError
from wplus.generators import Generator
from wplus.nn.equalized import EqualizedLinear

SAMPLES = 8192  # of w, for its spread


def style_weights(generator: Generator) -> list[list[Tensor]]:
    """For each style, the matrices that turn it into scales of channels, as they act on w.

    StyleGAN2's styles between resolutions drive two layers (the image at one resolution and the
    doubling to the next), all others one.

    Returns:
        L lists of (channels, style_dim) float32.

    Raises:
        ConfigError: see `Generator.style_affines`.
    """
    found: list[list[Tensor]] = [[] for _ in range(generator.num_styles)]
    for style, layer in generator.style_affines():
        scale = layer.scale if isinstance(layer, EqualizedLinear) else 1.0
        found[style].append(layer.weight.detach().float() * scale)  # type: ignore[operator]
    return found


def spread_of_w(generator: Generator, seed: int = 0) -> Tensor:
    """(SAMPLES, style_dim) offsets of w from w̄, the same for the same seed."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(SAMPLES, generator.style_dim, generator=rng)
    with torch.no_grad():
        w = generator.map(z.to(generator.mean_w)).float()
    return (w - generator.mean_w.float()).cpu()


def sefa(generator: Generator, layers: Iterable[int], count: int = 10) -> list[Direction]:
    """Closed-form factorization (Shen & Zhou 2021, section 3.2): eigenvectors of AᵀA.

    A stacks the style matrices of the layers, each row at length 1, as the authors' program has it:
    a row's length says how strong a channel's scale is, which the next convolution can undo.

    Args:
        generator: G.
        layers: the styles whose matrices are stacked, and that move.
        count: number of directions, the strongest first.

    Returns:
        Directions `sefa1`, `sefa2`, …; amount 1 is one standard deviation of w along each, but at
        most a tenth of how far w lies from w̄. The first often is one that w hardly uses, and a
        larger step along it leaves the faces.

    Raises:
        ConfigError: no layers, more directions than there are, or an unknown generator.
    """
    chosen = _checked(layers, count, generator)
    weights = style_weights(generator)
    rows = torch.cat([matrix for layer in chosen for matrix in weights[layer]]).double().cpu()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    offsets = spread_of_w(generator).double()
    longest = float(offsets.square().sum(1).mean().sqrt()) / 10
    directions = []
    for k, (vector, _, share) in enumerate(_eigenvectors(rows.T @ rows, count), 1):
        length = min(longest, max(float((offsets @ vector).std()), 1e-3 * longest))
        found = f"SeFa of styles {_ranges(chosen)}, {share:.1%} of AᵀA"
        w, unit = vector * length, f"{length:.2f} in W"
        directions.append(_at(f"sefa{k}", w, chosen, generator, unit, found))
    return directions


def pca(generator: Generator, layers: Iterable[int], count: int = 10) -> list[Direction]:
    """Principal components of W (Härkönen et al. 2020, "GANSpace", section 2.1).

    Args:
        generator: G.
        layers: the styles that move; W is the same for all of them.
        count: number of directions, the widest first.

    Returns:
        Directions `pca1`, `pca2`, …; amount 1 is one standard deviation of w along each.

    Raises:
        ConfigError: no layers, or more directions than there are.
    """
    chosen = _checked(layers, count, generator)
    offsets = spread_of_w(generator).double()
    offsets = offsets - offsets.mean(0)
    directions = []
    covariance = offsets.T @ offsets / len(offsets)
    for k, (vector, variance, share) in enumerate(_eigenvectors(covariance, count), 1):
        found, unit = f"PCA of W, {share:.1%} of its variance", "standard deviation of w"
        w = vector * variance.clamp_min(0).sqrt()
        directions.append(_at(f"pca{k}", w, chosen, generator, unit, found))
    return directions


def _checked(layers: Iterable[int], count: int, generator: Generator) -> list[int]:
    chosen = sorted(set(layers))
    if not chosen:
        raise ConfigError("directions need at least one style to move")
    if not 0 <= chosen[0] <= chosen[-1] < generator.num_styles:
        raise ConfigError(f"this generator has styles 0 to {generator.num_styles - 1}")
    if not 1 <= count <= generator.style_dim:
        raise ConfigError(f"{count} directions: there are 1 to {generator.style_dim}")
    return chosen


def _eigenvectors(matrix: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Eigenvectors of a symmetric matrix, the largest value first, with value and its share."""
    values, vectors = torch.linalg.eigh(matrix)
    shares = values.clamp_min(0) / values.sum()
    for k in range(1, count + 1):
        vector = vectors[:, -k]
        sign = vector[vector.abs().argmax()].sign()  # eigenvectors have none of their own
        yield vector * sign, values[-k], float(shares[-k])


def _at(
    name: str, w: Tensor, layers: list[int], generator: Generator, unit: str, found: str
) -> Direction:
    vector = torch.zeros(generator.num_styles, generator.style_dim)
    vector[layers] = w.float()
    return Direction(name, vector, unit, found=found)


def _ranges(layers: list[int]) -> str:
    """[0, 1, 2, 5] as "0-2, 5"."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
