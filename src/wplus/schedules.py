"""Schedules of the optimization of codes: steps, learning rates and loss weights of each task.

This module does not import torch, so that listing tasks is fast.

The less an input constrains the output, the stronger the prior must be: with inversion's prior
alone, blurred or cross-eyed faces satisfy a low-resolution input as well as sharp ones, and an eye
under a hole is filled with skin. The most effective prior keeps the styles close to one another:
a code with the same w at every layer gives a coherent face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wplus.errors import ConfigError

LossWeights = Mapping[str, float]
"""λ of each term of `optimize.TERMS`; a term that is absent or 0 is not computed."""

PHOTOGRAPH: LossWeights = {"l2": 1.0, "lpips": 0.8, "prior": 0.003, "grid": 10.0}
"""For a whole photograph: the method's L2 and LPIPS, and a weak prior.

A prior of 0.003 brings the code 40 % closer to W at equal LPIPS.
"""

Start = Literal["mean", "inversion", "encoder"]
"""Where optimization starts: at the mean code, at the code of an inversion encoder, or at the code
of the task's own encoder."""

SETTLING = 0.45  # share of the steps from the mean code during which the styles move together
SETTLING_SPREAD = 3.0  # weight of the term `spread` in these steps
WARMUP_RATE = 0.06


@dataclass(frozen=True)
class Schedule:
    """Steps and learning rates of one run of Adam.

    Attributes:
        steps: the number of steps, unless the run stops early.
        learning_rate: at its peak.
        ramp_up: share of the steps over which the rate rises linearly from 0.
        ramp_down: share of the steps over which it falls to 0 along a cosine.
        patience: stop when no image's best loss improved for this many steps; 0 never stops.
        tolerance: least relative improvement of the best loss.

    Raises:
        ConfigError: steps or patience are negative, or the rate is not positive.
    """

    steps: int = 100
    learning_rate: float = 0.12
    ramp_up: float = 0.1
    ramp_down: float = 0.3
    patience: int = 25
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0 or self.patience < 0:
            raise ConfigError(
                "an optimization needs steps ≥ 0, a learning rate above 0 and patience ≥ 0"
            )


@dataclass(frozen=True)
class Phase:
    """One run of the optimizer; the next phase starts at its best codes.

    Attributes:
        schedule: its steps.
        weights: of the losses.
        truncated: synthesize with the truncated generator, a third of the cost of a step; skipped
            where the generator has none.
    """

    schedule: Schedule = Schedule()
    weights: LossWeights = field(default_factory=lambda: PHOTOGRAPH)
    truncated: bool = False


@dataclass(frozen=True)
class FromEncoder:
    """What differs when optimization starts at an encoder's code, which is close already.

    Attributes:
        learning_rate: smaller steps lead further.
        identity: weight of the identity term, since a few steps leave the identity slightly off.
        warmup: steps through the truncated generator that precede each step through the whole one.
            On four difficult photographs, 30 steps end at LPIPS .164 without warm-up, at .123 after
            30 and at .102 after 60 warm-up steps.
    """

    learning_rate: float = 0.04
    identity: float = 0.03
    warmup: int = 2


@dataclass(frozen=True)
class RefinementSchedule:
    """How the codes of a task are optimized.

    Attributes:
        weights: of the losses.
        steps: default number of steps by start; 0 where a start is absent.
        spread_per_factor: super-resolution: weight of the term `spread` per unit of the factor.
        from_encoder: other settings for a start at an encoder's code; None for the same.
    """

    weights: LossWeights = field(default_factory=lambda: PHOTOGRAPH)
    steps: Mapping[Start, int] = field(default_factory=lambda: {"mean": 100})
    spread_per_factor: float = 0.0
    from_encoder: FromEncoder | None = None

    def phases(
        self, steps: int, start: Start = "mean", factor: float | None = None
    ) -> tuple[Phase, ...]:
        """The phases of an optimization.

        From the mean code all styles first move together, until the pose is right: independent
        styles from the beginning distort faces in profile.

        Args:
            steps: through the whole generator.
            start: where optimization starts.
            factor: of super-resolution: 256 divided by the size of the face in the input.
        """
        weights = dict(self.weights)
        if factor is not None:
            weights["spread"] = self.spread_per_factor * factor
        if start != "mean":
            return self._from_encoder(steps, weights)
        settling = round(SETTLING * steps) if weights.get("spread") else 0
        together = {**weights, "spread": max(SETTLING_SPREAD, weights.get("spread", 0.0))}
        first = Phase(Schedule(settling), together)
        return (*([first] if settling else []), Phase(Schedule(steps - settling), weights))

    def _from_encoder(self, steps: int, weights: dict[str, float]) -> tuple[Phase, ...]:
        special = self.from_encoder
        if special is None:
            return (Phase(Schedule(steps), weights),)
        weights["identity"] = special.identity
        last = Phase(Schedule(steps, special.learning_rate), weights)
        warmup = Schedule(special.warmup * steps, WARMUP_RATE)
        return (*([Phase(warmup, weights, truncated=True)] if warmup.steps else []), last)
