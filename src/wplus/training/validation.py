"""Validation: the losses on images that are not trained on, and previews of some of them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wplus import data, images
from wplus.data import Dataset, Mixture
from wplus.data.base import collate
from wplus.errors import ImageError
from wplus.images import WORKING_SIZE
from wplus.sources import SOURCES
from wplus.sources.kind import Kind
from wplus.tasks import TASKS
from wplus.training.config import TrainConfig
from wplus.training.datasets import Prepare
from wplus.training.distributed import SingleProcess
from wplus.training.step import Batch, Losses

logger = logging.getLogger(__name__)

FOLDER = "previews"


class Validator:
    """Validates one network again and again, always on the same images.

    Args:
        losses: through the generator's fixed noise.
        network: the one they run, whose weights change.
        prepare: brings a batch to the device.
        processes: that share the work; the first one draws previews.
        settings: of the run.
        validation: images that are not trained on, if any.
        training: previews show some of these where there are no others.
        run: folder of the run.
    """

    def __init__(
        self,
        losses: Losses,
        network: nn.Module,
        prepare: Prepare,
        processes: SingleProcess,
        settings: TrainConfig,
        validation: Dataset | None,
        training: Mixture,
        run: Path,
    ) -> None:
        self.losses, self.network, self.prepare = losses, network, prepare
        self.processes, self.run = processes, run
        self.kind = SOURCES.find(TASKS.find(settings.task).source).kind
        count = settings.run.previews if processes.rank == 0 else 0
        self.shown = _spread([validation, *training.datasets], count)
        share = settings.optimizer.batch // processes.world // settings.optimizer.accumulate
        self.batches: Iterable[Any] | None = None
        if validation is not None:
            self.batches = data.validation(
                validation, max(1, share), processes.rank, processes.world, settings.data.workers
            )

    def rehearse(self) -> None:
        """Validate one batch before the first step, to fail now rather than after hours.

        Raises:
            WplusError: of any kind.
        """
        self._preview(0)
        if self.batches is not None:
            self._validate(itertools.islice(self.batches, 1))

    def __call__(self, step: int, stop: Callable[[], bool]) -> dict[str, float] | None:
        """Draw a preview, and validate.

        Args:
            step: number of steps made.
            stop: asked after every batch; whether to give up.

        Returns:
            See `validate`; {} without validation images, None if it was given up.
        """
        self._preview(step)
        if self.batches is None:
            return {}
        stopped = False

        def until_stop(batches: Iterable[Any]) -> Iterator[Any]:
            nonlocal stopped
            for batch in batches:
                yield batch
                stopped = stop()
                if stopped:
                    return

        values = self._validate(until_stop(self.batches))
        return None if stopped else values

    def _validate(self, batches: Iterable[Any]) -> dict[str, float]:
        return validate(self.losses, self.network, batches, self.prepare, self.processes)

    def _preview(self, step: int) -> None:
        if self.shown is None:
            return
        path = self.run / FOLDER / f"{step:08d}.jpg"
        try:
            draw(self.losses, self.network, self.prepare(self.shown), self.kind, path)
        except Exception as error:  # a preview is not worth a run
            reason = " ".join(str(error).split()) or type(error).__name__
            logger.warning("step %d: no preview could be drawn (%s)", step, reason)


@torch.no_grad()
def validate(
    losses: Losses,
    network: nn.Module,
    batches: Iterable[Any],
    prepare: Prepare,
    processes: SingleProcess,
) -> dict[str, float]:
    """Means over the images of all processes.

    Args:
        losses: through the generator's fixed noise.
        network: the one they run; evaluated in evaluation mode.
        batches: this process's share, of any sizes, or none.
        prepare: brings a batch to the device.
        processes: that share the work.

    Returns:
        The terms of the losses, and `images`, the number of images.

    Raises:
        ConfigError: a batch does not fit.
    """
    names = [name for name in losses.names if name != "loss"]
    sums = torch.zeros(len(names) + 1, 2, dtype=torch.float64)
    with evaluating(network):
        for loaded in batches:
            batch = prepare(loaded)
            count = len(batch["source"])
            terms = losses(batch)
            sums[-1] += count
            for row, name in enumerate(names):
                if name in terms:
                    with_code = name in losses.names_with_code
                    weight = int(batch["has_code"].sum()) if with_code else count
                    sums[row] += torch.tensor([float(terms[name]) * weight, weight])
    sums = processes.sum(sums).cpu()
    means = {name: float(total / n) for name, (total, n) in zip(names, sums) if n}
    return {**means, "loss": losses.total(means), "images": float(sums[-1, 1])}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and back afterwards."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)


def _spread(datasets: list[Dataset | None], count: int) -> Any:
    """A batch of up to `count` examples, evenly from the first finite data set; None without."""
    dataset = next((each for each in datasets if each is not None and not each.endless), None)
    if dataset is None or not count:
        return None
    count = min(count, len(dataset))
    examples = []
    for i in range(count):
        with suppress(ImageError):  # bad files are reported by `datasets.check`
            examples.append(dataset.item(i * len(dataset) // count, None))
    return collate(examples) if examples else None


@torch.no_grad()
def draw(losses: Losses, network: nn.Module, batch: Batch, kind: Kind, path: Path) -> None:
    """Write a JPEG with source, output and target of every row, two rows side by side."""
    with evaluating(network):
        outputs = losses.outputs(batch)
    tiles = []
    for source, output, target in zip(batch["source"], outputs, batch["target"]):
        tiles.append(images.resample(kind.preview(source), WORKING_SIZE))
        for x in (output, target):
            tiles.append(images.to_picture(images.resize(x[None].float(), WORKING_SIZE)))
    images.save(images.grid(tiles, columns=6 if len(tiles) > 3 else 3), path)
