"""The two files of a pair to an example: decoding, flips, augmentation, the task's source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.data.augment import Augmentation, augment
from wplus.errors import ConfigError, ImageError
from wplus.sources import SOURCES, Source
from wplus.sources.kind import File, Pixels, SourceOptions, as_image, named
from wplus.tasks import Flip, Task

MIN_TARGET = 64  # pixels a side; training on smaller targets, enlarged, teaches blur


@dataclass(frozen=True, kw_only=True)
class Reading(SourceOptions):
    """How training files are read; source and target have the same size.

    Attributes:
        source: the encoder's input, a name of `sources.SOURCES`.
        flip: see `tasks.Task`. Flipped label maps get their left and right classes exchanged if
            they are those of `faces.labels.LABELS`; use "none" for other classes with sides.
        augmentation: of an augmentable source, in training only.
        variation: of a photograph that is both source and target, in training only; applied first.
        min_target: least side of a target's file in pixels.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    source: str = "photo"
    flip: Flip = "both"
    augmentation: Augmentation = field(default_factory=Augmentation.none)
    variation: Augmentation = field(default_factory=Augmentation.none)
    min_target: int = MIN_TARGET

    def __post_init__(self) -> None:
        super().__post_init__()
        SOURCES.find(self.source)
        if self.flip not in get_args(Flip):
            raise ConfigError(f"flip {self.flip!r} is none of: {', '.join(get_args(Flip))}")

    @classmethod
    def of(cls, task: Task, **settings: Any) -> Reading:
        """The settings of a task; others by name."""
        if task.factors:
            settings = {"factors": task.factors, **settings}
        own = {"source": task.source, "flip": task.flip, "channels": task.input_channels}
        return cls(**{**own, **settings})

    @property
    def row(self) -> Source:
        """The kind of source."""
        return SOURCES.find(self.source)


def read_source(file: File, reading: Reading) -> Pixels:
    """The source of a pair at the encoder's size; see `Kind.pixels`. Raises ImageError."""
    try:
        return reading.row.kind.pixels(file, reading)
    except ImageError as error:
        raise named(error, file) from error


def read_target(file: File, reading: Reading) -> tuple[Pixels, int]:
    """A target, and its native size.

    Returns:
        (size, size, 3) uint8, stretched; and the shorter side of its file, at most `size`.

    Raises:
        ImageError: it cannot be read, or a side is below `min_target`.
    """
    image = images.read(file)
    if min(image.size) < reading.min_target:
        raise ImageError(
            f"{file}: {image.width}x{image.height} is too small for a target;"
            f" {reading.min_target} pixels a side are needed"
        )
    pixels = np.asarray(images.resample(image, reading.size))
    return pixels, min(reading.size, *image.size)


def example(
    source: Pixels | None,
    target: Pixels,
    reading: Reading,
    name: str,
    rng: np.random.Generator | None,
) -> tuple[Tensor, Tensor]:
    """The two tensors of an example.

    Args:
        source: see `read_source`; None where it is derived from the target.
        target: see `read_target`.
        reading: the settings.
        name: of the example; in validation it seeds everything random about the source.
        rng: None for validation.

    Returns:
        (C, size, size) float32, the encoder's input, and (3, size, size) in [-1, 1].
    """
    row, kind, alone = reading.row, reading.row.kind, source is None
    if alone and rng is not None and not reading.variation.is_none:
        target = np.asarray(augment(Image.fromarray(target), reading.variation, rng))
    source = target if source is None else source
    if rng is not None and reading.flip != "none":
        first, second = rng.random(2) < 0.5
        if second if reading.flip == "independent" else first:
            target = target[:, ::-1]
        if first:
            source = kind.mirror(source, reading)
    if rng is not None and row.augmentable and not reading.augmentation.is_none:
        source = np.asarray(augment(as_image(source), reading.augmentation, rng))
    if alone:
        encoder_input = kind.derived(source, reading, name, rng)
    else:
        encoder_input = kind.paired(source, target, reading)
    return encoder_input, images.to_tensor(as_image(target))[0]
