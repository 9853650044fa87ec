"""How a code is refined for each task: what was found to make faces that people would accept.

Where less is known of the output, the prior has more to say. With inversion's prior alone, blurred
and squinting faces explain a small photograph as well as sharp ones, and an eye under a hole is
closed by skin. What helps most is to keep the styles near one another: a code of one w makes a face
whose parts belong together, whoever it is. From the mean face, all styles move as one at first,
until the head is turned as it should be; each going its own way at once tears faces in profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from wplus.refine import Weights

SETTLING = 0.45
"""Share of the steps in which the styles move as one, from the mean face."""
AS_ONE = 3.0
"""`Weights.spread` in these steps."""


@dataclass(frozen=True)
class Recipe:
    """One way to refine.

    Attributes:
        weights: of the terms.
        spread_by_factor: `Weights.spread` for every unit of super-resolution's factor.
        from_mean: steps from the mean face, where the model has no encoder.
        from_inversion: steps from the code of an inversion encoder, where it has none of the task.
        from_own: steps from the code of the task's own encoder.
    """

    weights: Weights
    spread_by_factor: float = 0.0
    from_mean: int = 100
    from_inversion: int = 0
    from_own: int = 0

    def weights_for(self, factor: float | None) -> Weights:
        """The weights for a face smaller by a factor; None for all other tasks."""
        if factor is None:
            return self.weights
        return replace(self.weights, spread=self.spread_by_factor * factor)

    def phases(
        self, steps: int, factor: float | None, from_mean: bool
    ) -> list[tuple[int, Weights]]:
        """Numbers of steps, and the weights in them, one phase after the other.

        Args:
            steps: all together.
            factor: of super-resolution, or None.
            from_mean: whether the mean face is the start.
        """
        weights = self.weights_for(factor)
        settling = round(SETTLING * steps) if from_mean and weights.spread else 0
        first = [(settling, replace(weights, spread=max(AS_ONE, weights.spread)))]
        return [*(first if settling else []), (steps - settling, weights)]


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "inversion": Recipe(Weights()),
        "domain": Recipe(Weights()),
        "super_resolution": Recipe(
            Weights(prior=0.03), spread_by_factor=0.025, from_mean=80, from_inversion=50
        ),
        # A pass alone makes a face like the one around the hole, not one that continues it.
        "inpainting": Recipe(
            Weights(prior=0.03, spread=0.3), from_mean=80, from_inversion=50, from_own=50
        ),
    }
)
