"""A folder of photographs to a folder of training sources, paired by name."""

from __future__ import annotations

import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from wplus import images, weights
from wplus.data.listing import images_in
from wplus.data.record import keep_settings
from wplus.errors import ConfigError, WplusError
from wplus.faces.parser import PARSER, load_parser
from wplus.prepare.sketch import sketch
from wplus.registry import Registry
from wplus.sources.kind import FACTORS
from wplus.sources.labels import colored
from wplus.sources.low_resolution import shrink_and_enlarge
from wplus.sources.masks import COVERAGE, draw_mask
from wplus.sources.masks import Kind as MaskKind

RECORD = "prepare.json"


@dataclass(frozen=True)
class Recipe:
    """The settings of the sources made from photographs.

    Attributes:
        kind: a name of `MAKERS`.
        seed: with the photograph's name, it determines everything random about a source.
        factors: low_resolution: one of these shrinking factors is drawn for each photograph.
        size: low_resolution: side of the result in pixels, to which the factor refers.
        masks: kind of masks, see `masks.draw_mask`.
        coverage: of masks: least and largest share that is removed.

    Raises:
        ConfigError: the kind is unknown, or a value is out of range.
    """

    kind: str
    seed: int = 0
    factors: tuple[int, ...] = FACTORS
    size: int = 256
    masks: MaskKind = "mixed"
    coverage: tuple[float, float] = COVERAGE

    def __post_init__(self) -> None:
        MAKERS.find(self.kind)
        if self.seed < 0 or not self.factors or min(self.factors) < 1:
            raise ConfigError("seed must be 0 or more, and factors 1 or more")
        if self.size < 2 * max(self.factors):
            raise ConfigError(f"{self.size} pixels a side cannot be shrunk by {max(self.factors)}")
        draw_mask(16, np.random.default_rng(0), self.masks, self.coverage)  # checks its settings

    def settings(self) -> dict[str, Any]:
        """The settings that this kind of source depends on, by the names of the options."""
        values = {name: getattr(self, field) for name, field in MAKERS[self.kind].uses.items()}
        lists = {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
        return {"sources": self.kind, **lists}

    def make(self, image: Image.Image, name: str) -> Image.Image:
        """The source of one photograph (mode RGB).

        Raises:
            WeightsError: the face parser cannot be fetched.
        """
        rng = np.random.default_rng([self.seed, zlib.crc32(os.fsencode(name))])
        return MAKERS[self.kind].make(image, self, rng)


@dataclass(frozen=True)
class Maker:
    """One kind of source that can be made from photographs.

    Attributes:
        name: of the kind; also the command.
        make: (photograph, recipe, rng) -> the source.
        uses: the fields of `Recipe` that it reads, by the names of the command's options.
        weights: asset to fetch before several processes start.
    """

    name: str
    make: Callable[[Image.Image, Recipe, np.random.Generator], Image.Image]
    uses: dict[str, str]
    weights: str | None = None


def _sketch(image: Image.Image, recipe: Recipe, rng: np.random.Generator) -> Image.Image:
    return sketch(image, rng)


def _labels(image: Image.Image, recipe: Recipe, rng: np.random.Generator) -> Image.Image:
    return colored(_parser().parse(images.to_tensor(image))[0])


def _mask(image: Image.Image, recipe: Recipe, rng: np.random.Generator) -> Image.Image:
    mask = Image.fromarray(draw_mask(max(image.size), rng, recipe.masks, recipe.coverage))
    return mask.resize(image.size, Image.Resampling.NEAREST)


def _low_resolution(image: Image.Image, recipe: Recipe, rng: np.random.Generator) -> Image.Image:
    factor = recipe.factors[int(rng.integers(len(recipe.factors)))]
    return images.to_picture(shrink_and_enlarge(images.to_tensor(image), factor, recipe.size))


_parser = cache(load_parser)

MAKERS: Registry[Maker] = Registry(
    "kind of training source",
    (
        Maker("sketches", _sketch, {"seed": "seed"}),
        Maker("labels", _labels, {}, weights=PARSER),
        Maker("masks", _mask, {"seed": "seed", "kind": "masks", "coverage": "coverage"}),
        Maker(
            "low_resolution",
            _low_resolution,
            {"seed": "seed", "factors": "factors", "size": "size"},
        ),
    ),
)


@dataclass(frozen=True)
class Prepared:
    """The source of one photograph, or the reason why there is none.

    Attributes:
        input: the photograph's file.
        made: the source's file; None where there is none.
        kept: the file existed and was kept.
        error: the reason.
    """

    input: str
    made: str | None = None
    kept: bool = False
    error: str | None = None


def prepare_folder(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], recipe: Recipe, jobs: int = 1
) -> tuple[int, Iterator[Prepared]]:
    """Make the sources of all photographs of a folder and its subfolders.

    `a/7.jpg` gives `a/7.png` in the other folder. Existing files are kept, so an interrupted run
    can be continued; `prepare.json` in the folder holds its recipe, and another one is refused. A
    file that cannot be read gives an error; the others are still made.

    Args:
        folder: photographs, cropped as in FFHQ.
        out: made if missing; must not lie in `folder`.
        recipe: the settings.
        jobs: number of processes.

    Returns:
        The number of photographs, and one `Prepared` for each, in order, when it is done.

    Raises:
        ConfigError: the folder is missing or has no images, `out` lies in it, or the images in
            `out` are of another or an unknown recipe.
        WeightsError: the face parser cannot be fetched.
    """
    place, target = Path(folder).resolve(), Path(out).resolve()
    if target == place or place in target.parents:
        raise ConfigError(f"{os.fspath(out)}: is in the folder of the photographs; choose another")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{os.fspath(out)}: is a file, not a folder")
    if jobs < 1:
        raise ConfigError(f"{jobs} processes are too few; use 1 or more")
    found = images_in(folder)
    maker = MAKERS[recipe.kind]
    if maker.weights is not None:
        weights.path(maker.weights)
    keep_settings(Path(out) / RECORD, recipe.settings(), occupied=_has_images(Path(out)))
    return len(found), _all(found, Path(out), recipe, jobs)


def _has_images(folder: Path) -> bool:
    try:
        return folder.is_dir() and bool(images_in(folder))
    except ConfigError:  # none; a folder that cannot be read cannot be written either
        return False


def _all(found: list[tuple[str, str]], out: Path, recipe: Recipe, jobs: int) -> Iterator[Prepared]:
    first: dict[str, str] = {}
    for name, path in found:
        first.setdefault(name, path)
    work = [(name, path, str(out / f"{name}.png"), first[name]) for name, path in found]
    if jobs == 1:
        yield from map(partial(_one, recipe), work)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(
        jobs, context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            yield from pool.map(partial(_one, recipe), work, chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


def _one(recipe: Recipe, work: tuple[str, str, str, str]) -> Prepared:
    name, path, made, first = work
    if path != first:
        return Prepared(path, error=f"{path}: has the name of {first}; rename one")
    if Path(made).exists():
        return Prepared(path, made, kept=True)
    try:
        images.save(recipe.make(images.read(path), name), made)
    except WplusError as error:
        reason = " ".join(str(error).split())
        return Prepared(path, error=reason if path in reason else f"{path}: {reason}")
    return Prepared(path, made)
