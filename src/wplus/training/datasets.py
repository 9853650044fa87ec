"""The data that the settings name: folders, lists, rendered shards, samples of the generator."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wplus import data
from wplus.data import Dataset, Example, Mixture, Reading
from wplus.errors import ConfigError
from wplus.generators import Generator
from wplus.tasks import Task
from wplus.training.config import TrainConfig

logger = logging.getLogger(__name__)


def open_data(
    config: TrainConfig, task: Task, generator: Generator
) -> tuple[Mixture, Dataset | None]:
    """What is trained on, and what is validated on.

    Raises:
        ConfigError: a file or folder is missing or empty, files do not pair, or no data is named.
    """
    settings = config.data
    sources: Sequence[str | None] = [settings.sources] * len(settings.data)
    sets = [_open(path, source, config, task, generator, training=True)
            for path, source in zip(settings.data, sources)]  # fmt: skip
    validation: Dataset | None = None
    if settings.validation is not None:
        validation = _open(
            settings.validation,
            settings.validation_sources,
            config,
            task,
            generator,
            training=False,
        )
    elif settings.hold_out:
        sets[0], validation = hold_out(sets[0], settings.hold_out)
    weights: list[float] = list(settings.shares) or [float(len(each)) for each in sets]
    if sets and settings.synthetic:
        total = sum(weights)
        weights = [(1 - settings.synthetic) * weight / total for weight in weights]
    if settings.synthetic:
        low, high = settings.truncation
        sets.append(
            data.Synthetic(
                generator.num_styles,
                generator.style_dim,
                truncation=(low, high),
                mixing=settings.mixing,
            )
        )
        weights.append(settings.synthetic)
    if not sets:
        raise ConfigError("nothing to train on: name folders of pictures as data, or synthetic 1")
    mixture = Mixture(list(zip(sets, weights)), config.optimizer.batch, config.run.seed)
    return mixture, validation


def _open(
    path: str,
    sources: str | None,
    config: TrainConfig,
    task: Task,
    generator: Generator,
    *,
    training: bool,
) -> Dataset:
    settings = config.data
    changes = settings.augment and training
    augmentation = data.Augmentation() if changes else data.Augmentation.none()
    varied = settings.vary and training
    variation = data.Augmentation.variation() if varied else data.Augmentation.none()
    place = Path(path)
    if sources is None and place.is_dir() and any(place.glob("*.npz")):
        return data.CachedSynthetic(place, generator.num_styles, augmentation)
    reading = Reading.of(task, augmentation=augmentation, variation=variation)
    if sources is not None and varied:
        raise ConfigError("vary changes source and target alike, which pairs of files may not bear")
    if sources is not None:
        return data.PairedFolders(
            sources,
            place,
            settings.source_suffix,
            settings.target_suffix,
            reading,
            skip_unpaired=settings.skip_unpaired,
            memory=settings.in_memory,
        )
    if place.is_file():
        return data.FileList(place, reading, memory=settings.in_memory)
    return data.Folder(place, reading, memory=settings.in_memory)


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """Split a data set: all but `count` items, and these, chosen by their names.

    The choice looks random and does not depend on what else is in the folder: a picture added later
    moves few others to the other side.

    Raises:
        ConfigError: there are not more than `count` items.
    """
    if dataset.endless or len(dataset) <= count:
        raise ConfigError(f"hold_out {count}: there are only {len(dataset)} pictures")
    names = [dataset.name(index) for index in range(len(dataset))]
    order = sorted(range(len(names)), key=lambda i: (_checksum(names[i]), names[i]))
    return Subset(dataset, sorted(order[count:])), Subset(dataset, sorted(order[:count]))


def _checksum(name: str) -> int:
    """Of a file's name, also where the system has bytes in it that are no text."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


class Subset(Dataset):
    """Some items of a data set."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices
        self.problems = dataset.problems

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """See `Dataset.item`."""
        return self.dataset.item(self.indices[index], rng)

    def name(self, index: int) -> str:
        """See `Dataset.name`."""
        return self.dataset.name(self.indices[index])

    def inspect(self, index: int) -> list[tuple[str, str]]:
        """See `Dataset.inspect`."""
        return self.dataset.inspect(self.indices[index])


def check(mixture: Mixture, validation: Dataset | None) -> None:
    """Look at every file; say what is wrong with any, and refuse if it is too much.

    A few bad files are left out while training (the next one takes their place).

    Raises:
        ConfigError: more than `data.mixture.MAX_BAD` of a data set cannot be used.
    """
    for dataset in (*mixture.datasets, *([validation] if validation is not None else [])):
        problems = data.check(dataset)
        for path, problem in problems:
            logger.warning("%s: %s", path, problem)
        bad = data.refused(problems)
        if len(bad) > data.mixture.bad_limit(dataset):
            path, problem = bad[0]
            raise ConfigError(
                f"{len(bad)} files of {len(dataset)} cannot be trained on, the first: {path}:"
                f" {problem.removeprefix('refused: ')}"
            )
