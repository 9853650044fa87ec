"""What a model is evaluated on: photographs, pairs of pictures, or the generator's own samples."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from wplus import faces, images
from wplus.errors import ConfigError, FaceError, ImageError
from wplus.evaluate.metrics import SIZE
from wplus.evaluate.pairs import pair, pictures
from wplus.evaluate.results import Failure, FailureKind
from wplus.psp import PSP

SAMPLES_SEED = 7_000_001
"""Seed of the samples. Training must draw from other ones: these are the unseen."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of a set.

    Attributes:
        names: N names.
        targets: (N, 3, 256, 256) in [-1, 1].
        outputs: the same for what is to be compared with them, where the set is one of pairs.
    """

    names: list[str]
    targets: Tensor
    outputs: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Item:
    name: str
    target: Tensor
    output: Tensor | None = None


class DataSet(ABC):
    """Images that are scored, each exactly once.

    Attributes:
        name: for tables and files.
        cut: pictures so far that lost their longer ends, since they were not square.
    """

    name: str
    cut: int = 0

    @abstractmethod
    def __len__(self) -> int:
        """How many images there are, those among them that will turn out unreadable."""

    @abstractmethod
    def _items(self) -> Iterator[_Item | Failure]:
        """All images in order, one at a time; a failure in the place of an unusable one."""

    def batches(self, size: int, failures: list[Failure]) -> Iterator[Batch]:
        """All images in batches of `size`, the last one with what is left.

        Args:
            size: images in a batch.
            failures: images that cannot be used are added here, and leave no gap in the batches.
        """
        waiting: list[_Item] = []
        for item in self._items():
            if isinstance(item, Failure):
                failures.append(item)
                continue
            waiting.append(item)
            if len(waiting) == size:
                yield _batch(waiting)
                waiting = []
        if waiting:
            yield _batch(waiting)

    def _read(self, path: Path, align: bool = False) -> Tensor:
        """A picture as it is judged: (1, 3, 256, 256) in [-1, 1].

        Args:
            path: the file.
            align: crop its largest face the FFHQ way; else its middle square is taken whole.

        Raises:
            ImageError: the file cannot be read.
            FaceError: no face is found.
        """
        picture = images.read(path)
        if align:
            return images.to_tensor(faces.align(picture, "largest", SIZE)[0].picture)
        self.cut += picture.width != picture.height
        return images.resize(images.to_tensor(middle_square(picture)), SIZE)


def _batch(items: list[_Item]) -> Batch:
    outputs = [item.output for item in items if item.output is not None]
    return Batch(
        [item.name for item in items],
        torch.cat([item.target for item in items]),
        torch.cat(outputs) if outputs else None,
    )


class Photographs(DataSet):
    """The pictures of a folder and its subfolders.

    Args:
        folder: where.
        name: of the set; the folder's name if empty.
        align: find the largest face and crop it the FFHQ way; else the pictures must be so already,
            and what is not square loses its longer ends.
        limit: only the first so many, by name.

    Raises:
        ConfigError: no such folder, no picture in it, or a limit below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str = "",
        *,
        align: bool = False,
        limit: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.name = name or _named_by(self.folder)
        self.align = align
        self._paths = pictures(self.folder)[: _checked(limit)]

    def __len__(self) -> int:
        return len(self._paths)

    def _items(self) -> Iterator[_Item | Failure]:
        for path in self._paths:
            name = path.relative_to(self.folder).as_posix()
            try:
                yield _Item(name, self._read(path, self.align))
            except (ImageError, FaceError) as error:
                yield _failure(self.name, name, error)


class Pairs(DataSet):
    """The pictures of two folders, paired by stem.

    Args:
        first: what was to be reached.
        second: what came out.
        suffixes: after the stem, in the first folder and in the second.
        align: crop the faces of the first the FFHQ way; the second is taken as it is.
        limit: only the first so many, by name.

    Raises:
        ConfigError: see `pairs.pair`; or a limit below 1.
    """

    def __init__(
        self,
        first: str | os.PathLike[str],
        second: str | os.PathLike[str],
        suffixes: tuple[str, str] = ("", ""),
        *,
        align: bool = False,
        limit: int | None = None,
    ) -> None:
        self.name = _named_by(Path(first))
        self.align = align
        self._pairs = pair(first, second, suffixes)[: _checked(limit)]

    def __len__(self) -> int:
        return len(self._pairs)

    def _items(self) -> Iterator[_Item | Failure]:
        for stem, first, second in self._pairs:
            try:
                yield _Item(stem, self._read(first, self.align), self._read(second))
            except (ImageError, FaceError) as error:
                yield _failure(self.name, stem, error)


class Samples(DataSet):
    """Images that the model's own generator makes, to tell what the domain gap costs.

    An encoder that inverts these much better than photographs lacks photographs, not capacity.

    Args:
        model: whose generator.
        count: how many.
        truncation: ψ; 1 is the generator's own distribution.
        seed: of z. One z is drawn at a time, so that image k does not depend on the count.

    Raises:
        ConfigError: a count below 1.
    """

    def __init__(
        self, model: PSP, count: int, truncation: float = 1.0, seed: int = SAMPLES_SEED
    ) -> None:
        if count < 1:
            raise ConfigError(f"{count} samples cannot be evaluated; at least 1")
        self.name = "unseen-seeds"
        self.model = model
        self.count = count
        self.truncation = truncation
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    @torch.no_grad()
    def _items(self) -> Iterator[_Item | Failure]:
        rng = torch.Generator().manual_seed(self.seed)
        for index in range(self.count):
            z = torch.randn(1, self.model.generator.style_dim, generator=rng)
            image = self.model.decode(self.model.map(z, self.truncation))
            name = f"seed{self.seed}-{index:0{len(str(self.count - 1))}d}"
            try:
                yield _Item(name, as_saved(image[0]))
            except ImageError as error:
                yield Failure(self.name, name, "broken result", str(error), "sample")


def middle_square(picture: Image.Image) -> Image.Image:
    """The picture without its longer ends; as `wplus invert --no-align` takes it."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture if width == height else picture.crop((left, top, left + side, top + side))


def as_saved(image: Tensor) -> Tensor:
    """A generated image (3, S, S) as its PNG file would be judged: (1, 3, 256, 256).

    So a model gets the scores of the files that it writes: clamped, in 8-bit levels.

    Raises:
        ImageError: values that are not finite.
    """
    return images.resize(images.to_tensor(images.to_picture(image)), SIZE)


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ConfigError(f"a limit of {limit} images leaves nothing to evaluate")
    return limit


def _named_by(folder: Path) -> str:
    return folder.resolve().name or "pictures"


def _failure(data: str, name: str, error: Exception) -> Failure:
    kind: FailureKind = "no face" if isinstance(error, FaceError) else "unreadable"
    return Failure(data, name, kind, " ".join(str(error).split()))
