"""Supervised directions: of codes and the values that an attribute has for them.

Both can come from photographs with known attributes, whose codes an encoder gives, or from samples
of the generator, whose attributes an `AttributeReader` predicts that learned from the photographs:
that needs no encoder, and the codes are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wplus.editing import regression
from wplus.editing.attributes import ANGLES, AttributeReader, Attributes
from wplus.editing.directions import Direction, apply
from wplus.editing.rendering import rendered
from wplus.errors import ConfigError
from wplus.images import WORKING_SIZE
from wplus.progress import Progress, part, silent
from wplus.psp import PSP

KEEP = 0.9  # of the R² of the best penalty, see `regression.ridge`
LOGISTIC_PENALTY = 100.0
SPAN = 2.0  # standard deviations of an angle offered on either side of 0
MIXED = 0.5  # share of the samples that have two w
TRIAL = 0.15  # of the distance between codes and their mean: about one standard deviation
REACH = 0.65  # of that distance: longer edits were seen to leave the faces


def fit_directions(
    codes: Tensor, attributes: Attributes, found: str = "", layers: Sequence[int] | None = None
) -> list[Direction]:
    """A direction for each attribute, which leaves the prediction of the others unchanged.

    A ridge regression (for two values a logistic one) predicts each attribute from the codes; the
    directions are the dual basis of the regressions' weights, see `regression.dual_basis`. Rows
    where a value is missing are left out for that attribute only.

    Args:
        codes: (N, L, style_dim).
        attributes: of the same rows, N.
        found: how, in words, for the directions.
        layers: the styles that may move; None for all.

    Returns:
        One direction each; amount 1 is one unit of the attribute as the regression predicts it
        (the logit, for two values). `figures` has R² ("readable"; the accuracy for two values).

    Raises:
        ConfigError: too few rows, an attribute that does not vary, or two that are the same.
    """
    count, styles, style_dim = codes.shape
    if len(attributes.values) != count:
        raise ConfigError(f"{count} codes and {len(attributes.values)} rows of attributes")
    chosen = list(range(styles)) if layers is None else sorted(set(layers))
    flat = codes[:, chosen].reshape(count, -1).float()
    flat = flat - flat.mean(0)
    values = attributes.values.to(flat)
    normals, shares = [], []
    for k, (normal, share, rows) in enumerate(
        regression.ridges(flat, values, attributes.names, KEEP)
    ):
        if attributes.binary[k]:
            y = values[rows, k]
            normal, offset = regression.logistic(flat[rows], y, LOGISTIC_PENALTY)
            share = float(((flat[rows] @ normal + offset > 0) == (y > 0.5)).float().mean())
        normals.append(normal)
        shares.append(share)
    directions = []
    for k, dual in enumerate(regression.dual_basis(torch.stack(normals))):
        name = attributes.names[k]
        vector = torch.zeros(styles, style_dim)
        vector[chosen] = dual.view(len(chosen), style_dim).cpu()
        unit = f"logit of {name}" if attributes.binary[k] else attributes.units[k]
        reach = 3.0
        if name in ANGLES:
            deviation = float(values[:, k][~values[:, k].isnan()].std())
            reach = float(max(5.0, 5 * round(SPAN * deviation / 5)))
        figures = {"readable": round(shares[k], 3)}
        directions.append(Direction(name, vector, unit, -reach, reach, found, figures))
    return directions


@torch.no_grad()
def draw_codes(
    model: PSP, count: int, seed: int = 0, truncation: tuple[float, float] = (0.6, 1.0)
) -> Tensor:
    """Codes of samples, half of them with one w up to a random style and another from there on.

    So styles vary independently, and a regression finds out which of them carry an attribute.

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


def read_codes(
    codes: Iterable[Tensor],
    model: PSP,
    reader: AttributeReader,
    progress: Progress = silent,
    total: int = 0,
) -> Tensor:
    """(N, A): the attributes that the reader predicts of the images of N codes (L, style_dim).

    `progress` counts codes, of `total`.
    """
    values = []
    for image in rendered(codes, model, WORKING_SIZE):
        values.append(reader(image))
        progress(len(values), total)
    return torch.cat(values)


def responses(
    directions: Sequence[Direction],
    amounts: Sequence[float],
    codes: Tensor,
    model: PSP,
    reader: AttributeReader,
    progress: Progress = silent,
) -> Tensor:
    """(D, A): the mean change of each attribute in images by each edit.

    Args:
        directions: D of them.
        amounts: of each; half the difference between +amount and −amount is taken.
        codes: (N, L, style_dim) of the faces that are edited.
        model: its generator makes the images.
        reader: predicts the attributes.
        progress: counts images.
    """
    total, changes = 2 * len(directions) * len(codes), []
    for k, (direction, amount) in enumerate(zip(directions, amounts)):
        plus, minus = (
            read_codes(
                apply(codes, [(direction, sign * amount)]),
                model,
                reader,
                part(progress, (2 * k + (sign < 0)) * len(codes), total),
            ).mean(0)
            for sign in (1, -1)
        )
        changes.append((plus - minus) / 2)
    return torch.stack(changes)


def calibrate(
    directions: Sequence[Direction],
    units: Sequence[str],
    scales: Sequence[float],
    codes: Tensor,
    model: PSP,
    reader: AttributeReader,
    progress: Progress = silent,
) -> list[Direction]:
    """Directions of such a length that amount 1 changes its attribute by 1 in images.

    Regressions shrink, and what they predict from codes is not quite what images show. So every
    edit is tried with both signs, and the reader measures its effect.

    Args:
        directions: one for each attribute of the reader, in its order.
        units: what 1 is for each, in words.
        scales: standard deviation of each, in these units.
        codes: (N, L, style_dim), the faces that edits are tried on.
        model, reader, progress: see `responses`.

    Returns:
        The directions. `figures` has, as "others", the effect of a standard deviation of each on
        the other attributes, in their standard deviations.

    Raises:
        ConfigError: an edit does not change its attribute, or with the wrong sign.
    """
    trial = torch.stack([direction.vector for direction in directions]).to(codes)
    typical = (codes - codes.mean(0)).square().sum((1, 2)).mean().sqrt()
    steps = TRIAL * typical / trial.flatten(1).norm(dim=1).clamp_min(1e-12)
    changes = responses(directions, steps.tolist(), codes, model, reader, progress)
    calibrated = []
    for k, direction in enumerate(directions):
        slope = float(changes[k, k]) / float(steps[k])
        own = abs(float(changes[k, k])) / scales[k]
        if slope <= 0 or own < 0.05:
            raise ConfigError(
                f"the direction found for {direction.name!r} does not change it in images;"
                " use more photographs or samples, or this generator cannot show it"
            )
        length = float(direction.vector.norm()) / slope
        reach = max(0.5, round(2 * REACH * float(typical) / length) / 2)
        others = {
            other.name: round(float(changes[k, j]) / scales[j] / own, 2)
            for j, other in enumerate(directions)
            if j != k
        }
        calibrated.append(
            replace(
                direction,
                vector=direction.vector / slope,
                low=max(direction.low, -reach),
                high=min(direction.high, reach),
                unit=units[k],
                figures={**(direction.figures or {}), "others": others},
            )
        )
    return calibrated
