"""How the two files of a pair become an example: decoding, flips, the source of the task."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wplus import images, sources
from wplus.data.augment import Augmentation, augment
from wplus.data.masks import draw_mask
from wplus.errors import ConfigError, ImageError
from wplus.tasks import Flip, Task

READABLE = ("photo", "sketch", "labels", "low_resolution", "masked")
MIN_TARGET = 64  # pixels a side; enlarged from less, a target teaches blur
Pixels = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        source: what the encoder reads, one of `READABLE`.
        size: side of the encoder's input and of the target, in pixels. Pictures that are not
            square are stretched, as everywhere.
        flip: see `tasks.Task`. Flipped label maps get their left and right classes exchanged if
            they are those of `sources.LABELS`; for classes of your own that have sides, use "none".
        augmentation: of a photographic source, in training only.
        variation: of a photograph that is both source and target, in training only, before
            anything else happens to either.
        factors: low_resolution of one file: by how much it is shrunk, drawn evenly in training, and
            in validation by name, so that a picture keeps its factor. A pair of files is taken as
            it is. (masked of one file: so are its holes, see `masks.draw_mask`. In a pair of files,
            the source is the mask.)
        num_classes: of labels.
        bilinear: see `sources.one_hot_labels`.
        min_target: targets with a smaller side are refused.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    source: str = "photo"
    size: int = 256
    flip: Flip = "both"
    augmentation: Augmentation = field(default_factory=Augmentation.none)
    variation: Augmentation = field(default_factory=Augmentation.none)
    factors: tuple[int, ...] = sources.FACTORS
    num_classes: int = len(sources.LABELS)
    bilinear: bool = False
    min_target: int = MIN_TARGET

    def __post_init__(self) -> None:
        if self.source not in READABLE:
            raise ConfigError(
                f"source {self.source!r} cannot be read from files; there are: "
                + ", ".join(READABLE)
            )
        if self.flip not in get_args(Flip):
            raise ConfigError(f"flip {self.flip!r} is none of: {', '.join(get_args(Flip))}")
        if self.size < 1 or not self.factors or min(self.factors) < 1 or self.num_classes < 1:
            raise ConfigError("size, factors and num_classes must be 1 or more")
        object.__setattr__(self, "factors", tuple(self.factors))

    @classmethod
    def of(cls, task: Task, **settings: Any) -> Reading:
        """As a task wants it; other settings by name."""
        reading = cls(source=task.source, flip=task.flip)
        if task.factors:
            reading = replace(reading, factors=task.factors)
        if task.source == "labels":
            reading = replace(reading, num_classes=task.input_channels)
        return replace(reading, **settings)


def photo(path: str | os.PathLike[str], size: int, min_side: int = images.MIN_SIDE) -> Pixels:
    """(size, size, 3) uint8 of a photograph, whatever its shape.

    Raises:
        ImageError: it cannot be read, or a side is below `min_side`.
    """
    picture = images.read(path)
    if min(picture.size) < min_side:
        raise ImageError(
            f"{os.fsdecode(path)}: {picture.width}x{picture.height} is too small for a target;"
            f" {min_side} pixels a side are needed"
        )
    return np.asarray(images.resample(picture, size))


def detail(path: str | os.PathLike[str], size: int) -> int:
    """The side at which a readable photograph still has something to say: its own, up to `size`.

    Raises:
        ImageError: it has gone since it was read.
    """
    try:
        with Image.open(path) as picture:
            return min(size, *picture.size)
    except OSError as error:
        raise ImageError(f"{os.fsdecode(path)}: cannot be read again ({error})") from error


def sketch(path: str | os.PathLike[str], size: int) -> Pixels:
    """(size, size) uint8 of a sketch, 0 is ink. Raises ImageError if it cannot be read."""
    gray = sources.from_file(path, "sketch", size)
    return gray[0, 0].mul(255).round().to(torch.uint8).numpy()


def mask(path: str | os.PathLike[str], size: int) -> Pixels:
    """(size, size) uint8 of a mask, 255 in the hole. Raises ImageError if the file is no mask."""
    hole = sources.read_mask(path)
    if hole.size != (size, size):
        # A pixel is in the hole if any part of it is.
        pixels = images.resize(torch.from_numpy(np.array(hole, np.float32))[None, None], size)
        return np.uint8(255) * (pixels[0, 0] > 0).numpy()
    return np.asarray(hole)


def labels(path: str | os.PathLike[str], reading: Reading) -> Pixels:
    """(size, size) class numbers. Raises ImageError if the file is no map of such classes."""
    try:
        channels = sources.from_file(
            path, "labels", reading.size, num_classes=reading.num_classes, bilinear=reading.bilinear
        )
    except OSError as error:  # it is read twice, and can go in between
        raise ImageError(f"{os.fsdecode(path)}: cannot be read ({error})") from error
    kind = np.min_scalar_type(reading.num_classes - 1)
    return channels[0].argmax(0).numpy().astype(kind)


def example(
    source: Pixels, target: Pixels, reading: Reading, name: str, rng: np.random.Generator | None,
    *, alone: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The two tensors of an example.

    Args:
        source: pixels as `photo`, `sketch`, `labels` or `mask` give them.
        target: as `photo` gives it.
        reading: how.
        name: of the example; decides the factor or the hole in validation.
        rng: None for validation.
        alone: the source is the target: a sharp photograph for low_resolution, a whole one for
            masked.

    Returns:
        (C, size, size) float32, the encoder's input, and (3, size, size) in [-1, 1].
    """
    if rng is not None and alone and not reading.variation.is_none:
        varied = augment(Image.fromarray(target), reading.variation, rng)
        source = target = np.asarray(varied)
    if rng is not None and reading.flip != "none":
        first, second = rng.random(2) < 0.5
        if second if reading.flip == "independent" else first:
            target = target[:, ::-1]
        if first:
            source = mirrored(source, reading)
    reached = images.to_tensor(Image.fromarray(np.ascontiguousarray(target)))[0]
    if reading.source == "sketch":
        return torch.from_numpy(source.copy())[None].to(torch.float32).div_(255), reached
    if reading.source == "labels":
        numbers = torch.from_numpy(source.astype(np.int64))
        return sources.one_hot_labels(numbers[None], reading.num_classes, reading.size)[0], reached
    if reading.source == "masked":
        whole = reached
        hole = source
        if alone:
            whole = images.to_tensor(Image.fromarray(np.ascontiguousarray(source)))[0]
            hole = draw_mask(reading.size, _draws(name) if rng is None else rng)
        holes = torch.from_numpy(hole.copy())[None, None]
        return sources.masked(whole[None], holes)[0], reached
    picture = Image.fromarray(np.ascontiguousarray(source))
    if reading.source == "photo" and rng is not None and not reading.augmentation.is_none:
        picture = augment(picture, reading.augmentation, rng)
    made = images.to_tensor(picture)
    if reading.source == "low_resolution" and alone:
        draw = _number(name) if rng is None else int(rng.integers(1 << 32))
        factor = reading.factors[draw % len(reading.factors)]
        made = sources.low_resolution(made, factor, reading.size)
    return made[0], reached


def _number(name: str) -> int:
    return zlib.crc32(os.fsencode(name))


def _draws(name: str) -> np.random.Generator:
    return np.random.default_rng(_number(name))


def mirrored(source: Pixels, reading: Reading) -> Pixels:
    """Left and right exchanged; in label maps of faces, the classes that have a side too."""
    source = source[:, ::-1]
    if reading.source == "labels" and reading.num_classes == len(sources.LABELS):
        return np.array(_OTHER_SIDE, source.dtype)[source]
    return source


def _other_side(label: str) -> str:
    """l_eye for r_eye and back; what has no partner stays (l_lip is the lower lip)."""
    swapped = {"l_": "r_", "r_": "l_"}.get(label[:2], label[:2]) + label[2:]
    return swapped if swapped in sources.LABELS else label


_OTHER_SIDE = [sources.LABELS.index(_other_side(label)) for label in sources.LABELS]
