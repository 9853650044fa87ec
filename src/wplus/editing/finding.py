"""Supervised directions: of codes and the values that an attribute takes for them.

Two ways to come by both. Photographs with known attributes have the codes that an encoder gives
them. Samples of the generator have known codes, and an `AttributeReader` that has learned from the
photographs says what they show; that needs no encoder, and the codes are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from wplus import images
from wplus.editing import regression
from wplus.editing.attributes import ANGLES, AttributeReader, Attributes
from wplus.editing.directions import Direction, apply
from wplus.errors import ConfigError
from wplus.psp import PSP

KEEP = 0.9  # of what the best penalty reads, see `regression.ridge`
LOGISTIC_PENALTY = 100.0
SIZE = 256  # of the pictures that are read
SPAN = 2.0  # standard deviations of an angle that are offered either way
MIXED = 0.5  # share of the samples that have two w
TRIAL = 0.15  # of the distance between codes and their mean: about one standard deviation
REACH = 0.65  # of that distance: longer edits were seen to leave the faces


def fit_directions(
    codes: Tensor, attributes: Attributes, found: str = "", layers: Sequence[int] | None = None
) -> list[Direction]:
    """A direction for each attribute, which leaves what is read of the others as it is.

    A ridge regression (for two values a logistic one) reads each attribute from the codes; the
    directions are the dual basis of what they look at, see `regression.dual_basis`. Rows where a
    value is missing are left out for that attribute only.

    Args:
        codes: (N, L, style_dim).
        attributes: of the same rows, N.
        found: written into the directions.
        layers: the styles that may move; None for all.

    Returns:
        One direction each; amount 1 is one unit of the attribute as the regression sees it (the
        logit, for two values). `figures` has R² ("readable"; the accuracy for two values).

    Raises:
        ConfigError: too few rows, an attribute that does not vary, or two that are the same.
    """
    count, styles, style_dim = codes.shape
    if len(attributes.values) != count:
        raise ConfigError(f"{count} codes and {len(attributes.values)} rows of attributes")
    chosen = list(range(styles)) if layers is None else sorted(set(layers))
    flat = codes[:, chosen].reshape(count, -1).float()
    flat = flat - flat.mean(0)
    normals, figures = [], []
    rows: dict[bytes, regression.Rows] = {}
    for k, name in enumerate(attributes.names):
        known = ~attributes.values[:, k].isnan()
        y = attributes.values[known, k].to(flat)
        if int(known.sum()) < regression.LEAST or not float(y.std()) > 0:
            raise ConfigError(f"attribute {name!r}: too few codes have values that differ")
        if attributes.binary[k]:
            normal, offset = regression.logistic(flat[known], y, LOGISTIC_PENALTY)
            right = ((flat[known] @ normal + offset > 0) == (y > 0.5)).float().mean()
            figures.append({"readable": round(float(right), 3)})
        else:
            mask = known.numpy().tobytes()
            if mask not in rows:
                rows[mask] = regression.Rows.of(flat[known])
            normal, share = regression.ridge(rows[mask], y, keep=KEEP)
            figures.append({"readable": round(share, 3)})
        normals.append(normal)
    vectors = regression.dual_basis(torch.stack(normals))
    directions = []
    for k, name in enumerate(attributes.names):
        vector = torch.zeros(styles, style_dim)
        vector[chosen] = vectors[k].view(len(chosen), style_dim).cpu()
        unit = f"logit of {name}" if attributes.binary[k] else attributes.units[k]
        low, high = _span(name, attributes.values[:, k])
        directions.append(Direction(name, vector, unit, low, high, found, figures[k]))
    return directions


def _span(name: str, values: Tensor) -> tuple[float, float]:
    if name not in ANGLES:
        return -3.0, 3.0
    known = values[~values.isnan()]
    reach = float(max(5.0, 5 * round(SPAN * float(known.std()) / 5)))
    return -reach, reach


@torch.no_grad()
def draw_codes(
    model: PSP, count: int, seed: int = 0, truncation: tuple[float, float] = (0.6, 1.0)
) -> Tensor:
    """Codes of samples, half of them with one w up to a random style and another from there on.

    So styles vary apart, and a direction finds out which of them an attribute lives in.

    Returns:
        (count, L, style_dim) float32.
    """
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 2, model.generator.style_dim, generator=rng)
    w = torch.stack([model.map(z[:, i]).cpu() for i in (0, 1)], 1)
    low, high = truncation
    psi = low + (high - low) * torch.rand(count, 1, 1, generator=rng)
    mean = model.generator.mean_w.float().cpu()
    w = mean + psi * (w - mean)
    cut = torch.randint(1, model.num_styles, (count, 1), generator=rng)
    cut[torch.rand(count, generator=rng) >= MIXED] = model.num_styles
    second = (torch.arange(model.num_styles) >= cut)[..., None]
    return torch.where(second, w[:, 1:], w[:, :1])


@torch.no_grad()
def pictures_of(codes: Tensor, model: PSP) -> Iterator[Tensor]:
    """The picture of each code, (1, 3, 256, 256) in [-1, 1]."""
    for code in codes:
        yield images.resize(model.decode(code[None]), SIZE).clamp(-1, 1)


def read_codes(
    codes: Tensor,
    model: PSP,
    reader: AttributeReader,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """(N, L, style_dim) codes to what the reader sees in their pictures, (N, A)."""
    values = []
    for i, picture in enumerate(pictures_of(codes, model), 1):
        values.append(reader(picture))
        if progress is not None:
            progress(i, len(codes))
    return torch.cat(values)


def responses(
    directions: Sequence[Direction],
    amounts: Sequence[float],
    codes: Tensor,
    model: PSP,
    reader: AttributeReader,
    embed: Callable[[Tensor], Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """What edits do to pictures: to every attribute, and to identity.

    Args:
        directions: D of them.
        amounts: the size of the edit of each, made both ways.
        codes: (N, L, style_dim) of the faces that are edited.
        model: its generator makes the pictures.
        reader: sees the attributes.
        embed: unit vectors of identity of pictures (N, 3, 256, 256); None for none.
        progress: called with how many directions are done, and D.

    Returns:
        (D, A) mean change of each attribute for +amount (half of the difference between both
        ways), and (D,) mean cosine of identity between the faces before and after (NaN without
        `embed`).
    """
    before = torch.cat([embed(x) for x in pictures_of(codes, model)]) if embed else None
    changes, kept = [], []
    for k, (direction, amount) in enumerate(zip(directions, amounts), 1):
        sides, cosines = [], []
        for sign in (1, -1):
            read = []
            moved = apply(codes, [(direction, sign * amount)])
            for i, picture in enumerate(pictures_of(moved, model)):
                read.append(reader(picture))
                if embed is not None and before is not None:
                    cosines.append(float((embed(picture)[0] * before[i]).sum()))
            sides.append(torch.cat(read).mean(0))
        changes.append((sides[0] - sides[1]) / 2)
        kept.append(sum(cosines) / len(cosines) if cosines else float("nan"))
        if progress is not None:
            progress(k, len(directions))
    return torch.stack(changes), torch.tensor(kept)


def calibrate(
    directions: Sequence[Direction],
    units: Sequence[str],
    scales: Sequence[float],
    codes: Tensor,
    model: PSP,
    reader: AttributeReader,
    progress: Callable[[int, int], None] | None = None,
) -> list[Direction]:
    """Directions of such a length that amount 1 changes its attribute by 1 in pictures.

    Regressions shrink, and what they see in codes is not quite what pictures show. So every edit
    is tried either way, and the reader says what it did.

    Args:
        directions: one for each attribute of the reader, in its order.
        units: what 1 is for each, in words.
        scales: standard deviation of each, in these units.
        codes: (N, L, style_dim), the faces it is tried on.
        model: its generator makes the pictures.
        reader: sees the attributes.
        progress: see `responses`.

    Returns:
        The directions. `figures` has, as "others", what a standard deviation of each does to the
        other attributes, in their standard deviations.

    Raises:
        ConfigError: an edit does not change its attribute, or the other way round.
    """
    trial = torch.stack([direction.vector for direction in directions]).to(codes)
    typical = (codes - codes.mean(0)).square().sum((1, 2)).mean().sqrt()
    steps = TRIAL * typical / trial.flatten(1).norm(dim=1).clamp_min(1e-12)
    changes, _ = responses(directions, steps.tolist(), codes, model, reader, None, progress)
    result = []
    for k, direction in enumerate(directions):
        slope = float(changes[k, k]) / float(steps[k])
        own = abs(float(changes[k, k])) / scales[k]
        if slope <= 0 or own < 0.05:
            raise ConfigError(
                f"the direction found for {direction.name!r} does not change it in pictures;"
                " more pictures or samples are needed, or it cannot be shown by this generator"
            )
        length = float(direction.vector.norm()) / slope
        reach = max(0.5, round(2 * REACH * float(typical) / length) / 2)
        others: dict[str, Any] = {
            name: round(float(changes[k, j]) / scales[j] / own, 2)
            for j, name in enumerate(reader.names)
            if j != k
        }
        result.append(
            replace(
                direction,
                vector=direction.vector / slope,
                low=max(direction.low, -reach),
                high=min(direction.high, reach),
                unit=units[k],
                figures={**(direction.figures or {}), "others": others},
            )
        )
    return result
