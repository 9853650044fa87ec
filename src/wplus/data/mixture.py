"""The example at each position of each batch: a pure function of seed, step and position.

It does not depend on the numbers of processes and workers, nor on where training was resumed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from wplus.data.base import Dataset, Example
from wplus.errors import ConfigError, ImageError

MAX_BAD = 0.05
"""Share of a data set that may be unreadable; such files are left out of training."""

# Purposes of random streams; no two purposes share numbers.
_EXAMPLE, _EPOCH, _STEP = range(3)


class Mixture:
    """Data sets mixed by weight.

    Positions are assigned to the parts in fixed proportion, as evenly as whole numbers allow: with
    weights 1, 1 and 1, any 6 consecutive positions hold 2 of every part. Within a step they are
    then shuffled. Every part is visited in epochs, each a new permutation of all its items.
    Everything random about an example (flips, augmentation, samples) comes from its own generator,
    seeded by (seed, step, position).

    Args:
        parts: data sets and their weights; proportions are kept to about a millionth.
        batch_size: of all processes together.
        seed: of everything random.

    Raises:
        ConfigError: there is no part or an empty one, a weight is not above 0, or the batch size is
            below 1.
    """

    def __init__(
        self, parts: Sequence[tuple[Dataset, float]], batch_size: int, seed: int = 0
    ) -> None:
        if not parts or batch_size < 1 or seed < 0:
            raise ConfigError(
                f"cannot mix {len(parts)} data sets into batches of {batch_size} with seed {seed}"
            )
        for dataset, weight in parts:
            if not (math.isfinite(weight) and weight > 0):
                raise ConfigError(f"the weight of a data set must be above 0, not {weight}")
            if len(dataset) == 0 and not dataset.endless:
                raise ConfigError("a data set without items cannot be mixed")
        self.datasets = [dataset for dataset, _ in parts]
        self.weights = [float(weight) for _, weight in parts]
        self.batch_size, self.seed = batch_size, seed
        total = sum(self.weights)
        exact = [Fraction(weight / total).limit_denominator(1_000_000) for weight in self.weights]
        if min(exact) == 0:
            raise ConfigError(f"the weights {self.weights} differ too much")
        # The share of each part among itself and the later ones.
        self._shares = [exact[k] / sum(exact[k:]) for k in range(len(exact))]
        self._orders: dict[tuple[int, int], np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def example(self, step: int, position: int) -> Example:
        """The example at a position, from 0, of the global batch of a step.

        An unreadable file is replaced by the next readable item of its data set, and named in
        `replaced`.

        Raises:
            ConfigError: there is no such position.
            ImageError: more than `MAX_BAD` of the data set in a row is unreadable.
        """
        part, index = self.place(step, position)
        dataset = self.datasets[part]
        replaced: list[str] = []
        while True:
            seeds = np.random.SeedSequence(self.seed, spawn_key=(_EXAMPLE, step, position))
            try:
                example = dataset.item(index, np.random.default_rng(seeds))
            except ImageError as error:
                replaced.append(str(error))
                if dataset.endless or len(replaced) > bad_limit(dataset):
                    raise ImageError(
                        f"{len(replaced)} of {len(dataset)} files in a row cannot be used, the"
                        f" last: {error}"
                    ) from error
                index = (index + 1) % len(dataset)
            else:
                if replaced:
                    example["replaced"] = replaced
                return example

    def place(self, step: int, position: int) -> tuple[int, int]:
        """The part at a position, and the index of its item.

        Raises:
            ConfigError: there is no such position.
        """
        if step < 0 or not 0 <= position < self.batch_size:
            raise ConfigError(f"step {step} has no position {position} of {self.batch_size}")
        seeds = np.random.SeedSequence(self.seed, spawn_key=(_STEP, step))
        shuffled = np.random.default_rng(seeds).permutation(self.batch_size)
        part, visit = self._deal(step * self.batch_size + int(shuffled[position]))
        dataset = self.datasets[part]
        if dataset.endless:
            return part, visit
        epoch, rank = divmod(visit, len(dataset))
        return part, int(self._order(part, epoch)[rank])

    def fingerprint(self) -> str:
        """A digest, equal for mixtures with the same items at the same positions."""
        parts = [dataset.fingerprint() for dataset in self.datasets]
        content = repr((parts, self.weights, self.batch_size, self.seed))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def _deal(self, number: int) -> tuple[int, int]:
        """The part at a position counted over all steps, and the part's number of earlier ones.

        Each part in turn takes every n at which ⌊n·share⌋ rises and leaves the others to the later
        parts. Integer arithmetic keeps this exact over any number of steps.
        """
        for part, share in enumerate(self._shares):
            before = number * share.numerator // share.denominator
            if (number + 1) * share.numerator // share.denominator > before:
                return part, before
            number -= before
        raise AssertionError("the last part takes every position")

    def _order(self, part: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        order = self._orders.get((part, epoch))
        if order is None:
            # Two epochs are kept: a batch can span the end of one, in any order of positions.
            for key in [key for key in self._orders if key[0] == part and key[1] < epoch - 1]:
                del self._orders[key]
            seeds = np.random.SeedSequence(self.seed, spawn_key=(_EPOCH, part, epoch))
            order = np.random.default_rng(seeds).permutation(len(self.datasets[part]))
            self._orders[part, epoch] = order
        return order


def bad_limit(dataset: Dataset) -> int:
    """Number of files of a data set that may be unreadable; at least one."""
    return 0 if dataset.endless else max(1, int(MAX_BAD * len(dataset)))
