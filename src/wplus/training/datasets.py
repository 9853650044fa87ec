"""The data that the settings name: folders, lists, rendered shards, samples, and their codes."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wplus import data
from wplus.data import Dataset, Example, Mixture, Reading
from wplus.errors import ConfigError
from wplus.generators import Generator
from wplus.images import resize
from wplus.psp import PSP
from wplus.tasks import Task
from wplus.training.config import TrainConfig
from wplus.training.step import Batch

logger = logging.getLogger(__name__)

Prepare = Callable[[Any], Batch]
"""Move a loaded batch to the device and render its synthetic examples."""


def open_data(
    config: TrainConfig, task: Task, generator: Generator
) -> tuple[Mixture, Dataset | None]:
    """Training and validation data.

    Raises:
        ConfigError: a file or folder is missing or empty, files do not pair, or no data is named.
    """
    settings = config.data
    sets = [_open(path, settings.sources, config, task, generator, training=True)
            for path in settings.data]  # fmt: skip
    validation: Dataset | None = None
    if settings.validation is not None:
        sources = settings.validation_sources
        validation = _open(settings.validation, sources, config, task, generator, training=False)
    elif settings.hold_out:
        sets[0], validation = hold_out(sets[0], settings.hold_out)
    weights: list[float] = list(settings.shares) or [float(len(each)) for each in sets]
    if settings.synthetic:
        total = sum(weights)
        weights = [(1 - settings.synthetic) * weight / total for weight in weights]
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
        raise ConfigError("nothing to train on: name folders of images as data, or synthetic 1")
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
    settings, place = config.data, Path(path)
    none = data.Augmentation.none()
    augmentation = data.Augmentation() if settings.augment and training else none
    variation = data.Augmentation.variation() if settings.vary and training else none
    if sources is None and place.is_dir() and any(place.glob("*.npz")):
        return data.CachedSynthetic(place, generator.num_styles, augmentation)
    reading = Reading.of(task, augmentation=augmentation, variation=variation)
    if sources is not None:
        if settings.vary and training:
            raise ConfigError(
                "vary changes source and target alike, which may not suit pairs of files"
            )
        return data.PairedFolders(
            sources,
            place,
            settings.source_suffix,
            settings.target_suffix,
            reading,
            skip_unpaired=settings.skip_unpaired,
            memory=settings.in_memory,
        )
    kind = data.FileList if place.is_file() else data.Folder
    return kind(place, reading, memory=settings.in_memory)


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """Split a data set: all but `count` items, and these, chosen by a checksum of their names.

    The choice hardly depends on the other files: an image added later moves at most one to the
    other side.

    Raises:
        ConfigError: there are not more than `count` items.
    """
    if dataset.endless or len(dataset) <= count:
        raise ConfigError(f"hold_out {count}: there are only {len(dataset)} images")
    names = [dataset.name(index) for index in range(len(dataset))]
    order = sorted(range(len(names)), key=lambda i: (_checksum(names[i]), names[i]))
    return Subset(dataset, sorted(order[count:])), Subset(dataset, sorted(order[:count]))


def _checksum(name: str) -> int:
    """Of a file's name, which may have bytes that are no text."""
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
    """Check every file; warn of each problem, and refuse if there are too many.

    A few bad files are skipped in training (the next one takes their place).

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


class Teacher:
    """Fills in the codes that are not known with those of another model.

    An encoder of sketches so learns the codes that one of photographs finds for the targets.
    Nothing has to be decoded for it, so a step takes a fraction of the time of one with losses on
    images.

    Args:
        prepare: brings the batch to the device first.
        model: an encoder of photographs; see `check_teacher`.
        bfloat16: whether it runs under autocast.
    """

    def __init__(self, prepare: Prepare, model: PSP, bfloat16: bool = False) -> None:
        self.prepare, self.model, self.bfloat16 = prepare, model, bfloat16

    @torch.no_grad()
    def __call__(self, loaded: Any) -> Batch:
        """A batch on the device in which every row of `codes` (N, L, D) counts as known."""
        batch = dict(self.prepare(loaded))
        targets, unknown = batch["target"], ~batch["has_code"]
        if bool(unknown.any()):
            encoder = self.model.encoder
            assert encoder is not None  # by `check_teacher`
            photos = resize(targets[unknown], encoder.input_size)
            with torch.autocast(targets.device.type, torch.bfloat16, enabled=self.bfloat16):
                found = self.model.encode(photos)
            codes = batch.get("codes")
            if codes is None:
                codes = found.new_zeros((len(targets), *found.shape[1:]), dtype=torch.float32)
            batch["codes"] = codes.index_copy(0, unknown.nonzero()[:, 0], found.to(codes.dtype))
        batch["has_code"] = torch.ones_like(unknown)
        return batch


def check_teacher(teacher: PSP, model: PSP, name: str) -> None:
    """Refuse a teacher that cannot teach.

    Raises:
        ConfigError: it has no encoder of photographs, or its codes have another shape.
    """
    if teacher.encoder is None:
        raise ConfigError(f"teacher {name}: has no encoder")
    if teacher.config.source != "photo":
        raise ConfigError(f"teacher {name}: reads {teacher.config.source}, not photographs")
    if teacher.mean_codes.shape != model.mean_codes.shape:
        raise ConfigError(
            f"teacher {name}: its codes are {tuple(teacher.mean_codes.shape)}, but the generator's"
            f" {tuple(model.mean_codes.shape)}"
        )
