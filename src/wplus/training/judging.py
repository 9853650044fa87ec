"""Where an encoder stands: the losses on validation pictures, and a preview of some."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wplus import data
from wplus.data import Dataset, Mixture
from wplus.data.base import Batch, collate
from wplus.encoders import Encoder
from wplus.errors import ImageError
from wplus.training import preview
from wplus.training.config import TrainConfig
from wplus.training.distributed import Processes
from wplus.training.step import Forward
from wplus.training.teacher import Prepare
from wplus.training.validation import validate

FOLDER = "previews"


class Judge:
    """Judges one encoder again and again, on the same pictures.

    Args:
        forward: the losses, with the generator's fixed noise.
        encoder: the one, whose weights change.
        prepare: brings a batch to the device and renders what is synthetic.
        together: who shares the work; the first process draws.
        settings: of the run.
        validation: pictures that are not trained on, if any.
        training: previews show some of these where there are no others.
        run: folder of the run.
    """

    def __init__(
        self,
        forward: Forward,
        encoder: Encoder,
        prepare: Prepare,
        together: Processes,
        settings: TrainConfig,
        validation: Dataset | None,
        training: Mixture,
        run: Path,
    ) -> None:
        self.forward, self.encoder, self.prepare = forward, encoder, prepare
        self.together, self.run = together, run
        count = settings.run.previews if together.rank == 0 else 0
        self.shown = _spread([validation, *training.datasets], count)
        optimization = settings.optimizer
        at_once = optimization.batch // together.world // optimization.accumulate
        self.batches = (
            None
            if validation is None
            else data.validation(
                validation, max(1, at_once), together.rank, together.world, settings.data.workers
            )
        )

    def rehearse(self) -> None:
        """Before the first step: what is wrong with validation shows now, not after hours.

        Raises:
            WplusError: of whatever kind.
        """
        self._draw(0)
        if self.batches is not None:
            one = itertools.islice(self.batches, 1)
            validate(self.forward, self.encoder, one, self.prepare, self.together)

    def __call__(self, step: int, leaving: Callable[[], bool]) -> dict[str, float] | None:
        """Draw a preview, and measure.

        Args:
            step: steps made.
            leaving: asked between batches; whether to give up.

        Returns:
            See `validate`; nothing without validation pictures, None where it was given up.
        """
        self._draw(step)
        if self.batches is None:
            return {}
        kept = _Until(self.batches, leaving)
        values = validate(self.forward, self.encoder, kept, self.prepare, self.together)
        return None if kept.left else values

    def _draw(self, step: int) -> None:
        if self.shown is not None:
            path = self.run / FOLDER / f"{step:08d}.jpg"
            preview.draw(self.forward, self.encoder, self.prepare(self.shown), path)


class _Until:
    """Batches until somebody is leaving."""

    def __init__(self, batches: Any, leaving: Callable[[], bool]) -> None:
        self.batches, self.leaving, self.left = batches, leaving, False

    def __iter__(self) -> Any:
        for batch in self.batches:
            yield batch
            if self.leaving():
                self.left = True
                return


def _spread(datasets: list[Dataset | None], count: int) -> Batch | None:
    """Up to `count` examples, spread over the first data set that has an end."""
    dataset = next((each for each in datasets if each is not None and not each.endless), None)
    if dataset is None or not count:
        return None
    count = min(count, len(dataset))
    found = []
    for i in range(count):
        with suppress(ImageError):  # a bad file is named elsewhere
            found.append(dataset.item(i * len(dataset) // count, None))
    return collate(found) if found else None
