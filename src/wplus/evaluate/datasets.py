"""The datasets of evaluations: photographs, pairs of images, samples of the generator."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wplus import images
from wplus.data import listing
from wplus.errors import ConfigError, FaceError, ImageError
from wplus.evaluate.metrics import SIZE
from wplus.evaluate.results import Failure
from wplus.inference.readers import read_photographs
from wplus.psp import PSP

SAMPLES_SEED = 7_000_001
"""Seed of the samples. Training draws z from another one, so these were never trained on."""
COMPARISON = ".compare"
"""Ends the stems of the comparisons that `wplus invert` writes beside its reconstructions."""
_NAMED = 5  # files in a message


@dataclass(frozen=True, eq=False)
class Example:
    """An image of a dataset.

    Attributes:
        name: for reports.
        target: (1, 3, 256, 256) in [-1, 1].
        output: the same for the image to be scored, where the dataset is of pairs.
    """

    name: str
    target: Tensor
    output: Tensor | None = None


class Dataset(ABC):
    """Images that are scored, each exactly once.

    Attributes:
        name: for tables and files.
        paired: whether every image comes with its output.
        cut: number of images read so far that were cropped to their middle square.
    """

    name: str
    paired: bool = False
    cut: int = 0

    @abstractmethod
    def __len__(self) -> int:
        """The number of images, unreadable ones included."""

    @abstractmethod
    def images(self) -> Iterator[Example | Failure]:
        """The images in order; a failure in place of an unusable one."""

    def batches(self, size: int, failures: list[Failure]) -> Iterator[list[Example]]:
        """The images in batches of `size`, the last one smaller; failures are appended."""
        batch: list[Example] = []
        for image in self.images():
            if isinstance(image, Failure):
                failures.append(image)
                continue
            batch.append(image)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch


class _Files(Dataset):
    """Images in files.

    Attributes:
        files: name, and paths of the target and of its output, if there is one.
    """

    def __init__(
        self, name: str, files: list[tuple[str, list[Path]]], align: bool, limit: int | None
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"a limit of {limit} images leaves nothing to evaluate")
        self.name = name
        self.align = align
        self.files = files[:limit]

    def __len__(self) -> int:
        return len(self.files)

    def images(self) -> Iterator[Example | Failure]:
        """Files that cannot be used become failures."""
        for name, (first, *second) in self.files:
            try:
                yield Example(name, self._target(first), *map(self._output, second))
            except (ImageError, FaceError) as error:
                kind = "no face" if isinstance(error, FaceError) else "unreadable"
                yield Failure(self.name, name, kind, " ".join(str(error).split()))

    def _target(self, path: Path) -> Tensor:
        """(1, 3, 256, 256) in [-1, 1], the pixels that an encoder of photographs sees."""
        sample, *_ = read_photographs(path, self.align)
        assert sample.photo is not None and sample.image is not None
        self.cut += not self.align and sample.image.width != sample.image.height
        return sample.photo

    def _output(self, path: Path) -> Tensor:
        """(1, 3, 256, 256) in [-1, 1], not rounded again after averaging, as in `as_saved`."""
        image = images.read(path)
        self.cut += image.width != image.height
        square = images.middle_square(image, min(image.size))
        return images.resize(images.to_tensor(square), SIZE)


class Photographs(_Files):
    """The images of a folder and its subfolders, comparisons of `wplus invert` left out.

    Args:
        folder: the folder; links to folders in it are not followed.
        name: of the dataset; by default the folder's.
        align: find the largest face and crop it as FFHQ is cropped; else the images must be
            cropped already, and of one that is not square the middle square is taken.
        limit: at most this many, the first by name.

    Raises:
        ConfigError: no such folder, no image in it, or a limit below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        name: str = "",
        *,
        align: bool = False,
        limit: int | None = None,
    ) -> None:
        found = [Path(path) for stem, path in listing.images_in(folder) if _is_scored(stem)]
        if not found:
            raise ConfigError(f"{os.fsdecode(folder)}: holds only comparisons of wplus invert")
        files = [(path.relative_to(folder).as_posix(), [path]) for path in found]
        super().__init__(name or _named_by(folder), files, align, limit)


class Pairs(_Files):
    """The images of two folders, paired by stem: `a/faces/1.jpg` with `b/faces/1_out.png`.

    All images must pair, since scores of a part would not be scores of the folders.

    Args:
        first: the targets.
        second: the outputs.
        suffixes: ends of the stems in the first and in the second folder.
        align: crop the faces of the first as FFHQ is cropped; the second is not changed.
        limit: at most this many, the first by name.

    Raises:
        ConfigError: a folder is missing or empty, images have no partner or several (some of them
            are named), or a limit below 1.
    """

    paired = True

    def __init__(
        self,
        first: str | os.PathLike[str],
        second: str | os.PathLike[str],
        suffixes: tuple[str, str] = ("", ""),
        *,
        align: bool = False,
        limit: int | None = None,
    ) -> None:
        pairs, problems = listing.pair(first, second, *suffixes)
        alone = [path for path, _ in problems if _is_scored(Path(path).stem)]
        if alone:
            more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
            raise ConfigError(
                f"{len(alone)} images have no partner of the same stem, or several:"
                f" {', '.join(alone[:_NAMED])}{more}"
            )
        files = [
            (name, [Path(source), Path(target)])
            for name, source, target in pairs
            if _is_scored(name)
        ]
        super().__init__(_named_by(first), files, align, limit)


class Samples(Dataset):
    """Samples of the model's generator; their scores minus those of photographs are the domain gap.

    An encoder that inverts these much better needs more photographs, not more parameters.

    Args:
        model: its generator makes the images.
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
    def images(self) -> Iterator[Example | Failure]:
        """Of one z after the other."""
        rng = torch.Generator().manual_seed(self.seed)
        for index in range(self.count):
            z = torch.randn(1, self.model.generator.style_dim, generator=rng)
            image = self.model.decode(self.model.map(z, self.truncation))
            name = f"seed{self.seed}-{index:0{len(str(self.count - 1))}d}"
            try:
                yield Example(name, as_saved(image[0]))
            except ImageError as error:
                yield Failure(self.name, name, "broken result", str(error), "sample")


def as_saved(image: Tensor) -> Tensor:
    """A generated image (3, S, S) as its PNG file would be scored: (1, 3, 256, 256).

    Clamped and rounded to 8 bits, so that a model gets the scores of its files.

    Raises:
        ImageError: values that are not finite.
    """
    return images.resize(images.to_tensor(images.to_picture(image)), SIZE)


def _named_by(folder: str | os.PathLike[str]) -> str:
    return Path(folder).resolve().name or "images"


def _is_scored(stem: str) -> bool:
    return not stem.endswith(COMPARISON)
