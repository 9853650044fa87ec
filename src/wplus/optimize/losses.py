"""The loss terms of the optimization of codes, as one table.

A term computes everything about the targets once, and then its value of one `Evaluation` per step.
A new term is a function and a row of `TERMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LossNetworks
from wplus.optimize.constraint import Constraint, pixel_mean
from wplus.psp import PSP
from wplus.registry import Registry
from wplus.schedules import LossWeights

PATCH, PERIOD = 64, 8  # pixels, see `grid_energy`
SAMPLES_OF_W = 8192  # for the covariance of w


@dataclass(frozen=True, eq=False)
class Problem:
    """The constants of an optimization.

    Attributes:
        model: whose codes are optimized.
        constraint: on the model's device, see `Constraint.on`.
        start: (N, L, style_dim), where the optimization starts.
        networks: of the losses.
    """

    model: PSP
    constraint: Constraint
    start: Tensor
    networks: LossNetworks

    @cached_property
    def seen_target(self) -> Tensor:
        """(N, 3, 256, 256): the target as input of the loss networks."""
        return images.resize(self.constraint.target, images.WORKING_SIZE)

    @cached_property
    @torch.no_grad()
    def whitening(self) -> Tensor:
        """(style_dim, style_dim): offsets from w̄ times this have variance 1 in all directions."""
        generator = self.model.generator
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(SAMPLES_OF_W, generator.style_dim, generator=rng)
        offsets = (generator.map(z.to(generator.mean_w)) - generator.mean_w).float()
        variances, directions = torch.linalg.eigh(offsets.T @ offsets / len(offsets))
        # The floor bounds the weight of directions with almost no variance in W.
        floor = variances.mean() * 1e-3
        whitening: Tensor = directions * variances.clamp_min(floor).rsqrt()
        return whitening


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Images and codes of one step, and quantities shared by several terms, each computed once.

    Attributes:
        problem: the constants.
        images: (N, 3, S, S) of the generator.
        pooled: (N, 3, 256, 256), the same at the size at which the method compares images.
        codes: (N, L, style_dim).
    """

    problem: Problem
    images: Tensor
    pooled: Tensor
    codes: Tensor

    @cached_property
    def degraded(self) -> Tensor:
        """The images in the form that is compared with the target."""
        constraint = self.problem.constraint
        return self.pooled if constraint.degradation is None else constraint.degrade(self.images)

    @cached_property
    def seen(self) -> Tensor:
        """(N, 3, 256, 256): the input of loss networks; the target's pixels where weights are 0."""
        constraint, seen = self.problem.constraint, self.degraded
        if constraint.pixel_weights is not None:
            seen = torch.lerp(constraint.target, seen, constraint.pixel_weights)
        return images.resize(seen, images.WORKING_SIZE)

    @cached_property
    def whitened(self) -> Tensor:
        """(N, L, style_dim): offsets of the styles from w̄ in standard deviations of W."""
        mean = self.problem.model.generator.mean_w.float()
        return (self.codes - mean) @ self.problem.whitening


Compute = Callable[[Evaluation], Tensor | None]
"""An evaluation to the values of a term, (N,); None where the term does not apply."""


@dataclass(frozen=True)
class Term:
    """A row of the table.

    Attributes:
        name: in `LossWeights` and in the history.
        prepare: computes the constants, without gradients, and returns the term.
    """

    name: str
    prepare: Callable[[Problem], Compute]


def _l2(problem: Problem) -> Compute:
    """Mean squared error in [-1, 1] at the size at which images are compared."""
    target, weights = problem.constraint.target, problem.constraint.pixel_weights
    return lambda now: pixel_mean((now.degraded - target).square(), weights)


def _lpips(problem: Problem) -> Compute:
    """LPIPS at 256²; degraded images are enlarged."""
    network = problem.networks.lpips
    features = network.features(problem.seen_target)
    return lambda now: network.distance(network.features(now.seen), features)


def _identity(problem: Problem) -> Compute:
    """1 − cosine of face embeddings at 256²."""
    network = problem.networks.identity
    embedding = network.embed(problem.seen_target)
    return lambda now: 1 - (network.embed(now.seen) * embedding).sum(dim=1)


def _distance(problem: Problem) -> Compute:
    """Mean squared distance of the codes from the start, which keeps them editable."""
    return lambda now: (now.codes - problem.start).square().mean(dim=(1, 2))


def _prior(problem: Problem) -> Compute:
    """Mean squared distance of the styles from w̄ in standard deviations of W.

    After Zhu et al. 2020, "Improved StyleGAN Embedding", who use a space close to W.
    """
    return lambda now: now.whitened.square().mean(dim=(1, 2))


def _spread(problem: Problem) -> Compute:
    """Mean squared distance of the styles from their own mean: the distance of the code from W.

    It does not constrain identity but keeps the face coherent, for weakly constrained outputs.
    """

    def compute(now: Evaluation) -> Tensor:
        apart = now.whitened - now.whitened.mean(dim=1, keepdim=True)
        return apart.square().mean(dim=(1, 2))

    return compute


def _grid(problem: Problem) -> Compute:
    """See `grid_energy`; none for images up to 256²."""

    def compute(now: Evaluation) -> Tensor | None:
        is_pooled = now.images.shape[-1] > images.WORKING_SIZE
        return grid_energy(now.images, now.pooled) if is_pooled else None

    return compute


TERMS: Registry[Term] = Registry(
    "loss of an optimization",
    (
        Term("l2", _l2),
        Term("lpips", _lpips),
        Term("identity", _identity),
        Term("distance", _distance),
        Term("prior", _prior),
        Term("spread", _spread),
        Term("grid", _grid),
    ),
)
"""Every term of `schedules.LossWeights`, in the order in which they are summed."""


class Losses:
    """The terms of a problem, each prepared when its weight is first above 0."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._prepared: dict[str, Compute] = {}

    @torch.no_grad()
    def prepare(self, weights: LossWeights) -> dict[str, Compute]:
        """The terms that have a weight, in the order of the table.

        Raises:
            ConfigError: there is no term of some name.
        """
        wanted = {TERMS.find(name).name for name, weight in weights.items() if weight}
        for name in wanted - set(self._prepared):
            self._prepared[name] = TERMS[name].prepare(self.problem)
        return {name: self._prepared[name] for name in TERMS if name in wanted}

    def __call__(self, weights: LossWeights, outputs: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """The terms by name, (N,) each, and their weighted sum, `loss`."""
        pooled = images.resize(outputs, images.WORKING_SIZE)
        now = Evaluation(self.problem, outputs, pooled, codes)
        values = {name: term(now) for name, term in self.prepare(weights).items()}
        return total({name: value for name, value in values.items() if value is not None}, weights)


def total(terms: dict[str, Tensor], weights: LossWeights) -> dict[str, Tensor]:
    """The terms (N,) and their weighted sum, as `loss`.

    Raises:
        ConfigError: there is no term.
    """
    if not terms:
        raise ConfigError("an optimization needs a loss with a weight above 0")
    weighted = [weights[name] * value for name, value in terms.items()]
    return {**terms, "loss": torch.stack(weighted).sum(dim=0)}


def grid_energy(full: Tensor, pooled: Tensor) -> Tensor:
    """Energy of what repeats every `PERIOD` pixels and is lost when an image is pooled to 256².

    Pooling 1024² to 256² averages 4×4 pixels, so a loss at 256² is blind to a pattern that repeats
    every 2 or 4 pixels, and optimization leaves one behind, which photographs do not have. What
    pooling loses is averaged over all places of a patch that are equal modulo the period: hair and
    skin average out, a grid does not.

    Args:
        full: (N, 3, S, S), S a multiple of 64.
        pooled: the same images at 256².

    Returns:
        (N,) mean squares.
    """
    lost = full - F.interpolate(pooled, full.shape[-2:], mode="bilinear", align_corners=False)
    count, patches, repeats = len(lost), full.shape[-1] // PATCH, PATCH // PERIOD
    places = lost.view(count, 3, patches, repeats, PERIOD, patches, repeats, PERIOD)
    return places.mean(dim=(3, 6)).square().mean(dim=(1, 2, 3, 4, 5))
