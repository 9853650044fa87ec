"""A folder of photographs to a folder of sources, paired by name as training wants them."""

from __future__ import annotations

import multiprocessing
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from wplus import images, weights
from wplus.data.finding import pictures_in
from wplus.errors import ConfigError, WplusError
from wplus.faces.parser import FaceParser, load_parser
from wplus.prepare import record
from wplus.prepare.sketch import sketch
from wplus.sources.kind import FACTORS
from wplus.sources.labels import colored
from wplus.sources.low_resolution import shrink_and_enlarge
from wplus.sources.masks import COVERAGE, draw_mask
from wplus.sources.masks import Kind as MaskKind

Kind = Literal["sketches", "labels", "masks", "low_resolution"]
KINDS: tuple[Kind, ...] = ("sketches", "labels", "masks", "low_resolution")


@dataclass(frozen=True)
class Recipe:
    """What is made of every photograph.

    Attributes:
        kind: sketches (gray PNG), labels (PNG of class numbers, with the colors of CelebAMask-HQ as
            palette), masks (white is to be removed) or low_resolution (enlarged back).
        seed: with a photograph's name, it decides everything random about it: the same again.
        factors: low_resolution: by how much it is shrunk, one of these for each photograph.
        size: low_resolution: side of the result, at which the factor is meant.
        masks: kind of masks, see `masks.draw_mask`.
        coverage: of masks: least and largest share that is removed.

    Raises:
        ConfigError: the kind is unknown, or a value is out of range.
    """

    kind: Kind
    seed: int = 0
    factors: tuple[int, ...] = FACTORS
    size: int = 256
    masks: MaskKind = "mixed"
    coverage: tuple[float, float] = COVERAGE

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"sources are {', '.join(KINDS)}, not {self.kind!r}")
        if self.seed < 0 or not self.factors or min(self.factors) < 1:
            raise ConfigError("seed must be 0 or more, and factors 1 or more")
        if self.size < 2 * max(self.factors):
            raise ConfigError(f"{self.size} pixels a side cannot be shrunk by {max(self.factors)}")
        draw_mask(16, np.random.default_rng(0), self.masks, self.coverage)  # checks its settings

    def settings(self) -> dict[str, Any]:
        """What decides how this kind of source looks, by the names of the command's options."""
        chosen: dict[Kind, dict[str, Any]] = {
            "sketches": {"seed": self.seed},
            "labels": {},
            "masks": {"seed": self.seed, "kind": self.masks, "coverage": list(self.coverage)},
            "low_resolution": {
                "seed": self.seed,
                "factors": list(self.factors),
                "size": self.size,
            },
        }
        return {"sources": self.kind, **chosen[self.kind]}

    def make(self, picture: Image.Image, name: str) -> Image.Image:
        """The source of one photograph (mode RGB).

        Raises:
            WeightsError: the face parser cannot be fetched.
        """
        rng = np.random.default_rng([self.seed, zlib.crc32(os.fsencode(name))])
        if self.kind == "sketches":
            return sketch(picture, rng)
        if self.kind == "labels":
            return colored(_parser().parse(images.to_tensor(picture))[0])
        if self.kind == "masks":
            side = max(picture.size)
            mask = Image.fromarray(draw_mask(side, rng, self.masks, self.coverage))
            return mask.resize(picture.size, Image.Resampling.NEAREST)
        factor = self.factors[int(rng.integers(len(self.factors)))]
        pixels = shrink_and_enlarge(images.to_tensor(picture), factor, self.size)
        return images.to_picture(pixels)


@dataclass(frozen=True)
class Prepared:
    """What became of one photograph.

    Attributes:
        input: its file.
        made: the source's file; None where there is none.
        kept: the file was there already and was left as it is.
        error: why there is none.
    """

    input: str
    made: str | None = None
    kept: bool = False
    error: str | None = None


def prepare_folder(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], recipe: Recipe, jobs: int = 1
) -> tuple[int, Iterator[Prepared]]:
    """Make the sources of all photographs of a folder and its subfolders.

    `a/7.jpg` gives `a/7.png` in the other folder. What is there already is kept, so that a run that
    was stopped goes on; `prepare.json` in the folder says what it was begun with, and another
    recipe is refused. A file that cannot be read gives an error, and the others go on.

    Args:
        folder: photographs, cropped as FFHQ is.
        out: it is made; must be no part of `folder`.
        recipe: what to make.
        jobs: processes that work at once.

    Returns:
        How many photographs there are, and what became of each, in order, as it is done.

    Raises:
        ConfigError: the folder is missing or has no pictures, `out` lies in it, or the pictures in
            `out` are of another recipe or of none that is known.
        WeightsError: the face parser cannot be fetched.
    """
    place, target = Path(folder).resolve(), Path(out).resolve()
    if target == place or place in target.parents:
        raise ConfigError(f"{os.fspath(out)}: lies in the folder of the photographs; name another")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{os.fspath(out)}: is a file, not a folder")
    if jobs < 1:
        raise ConfigError(f"{jobs} processes cannot do anything; 1 or more are needed")
    found = pictures_in(folder)
    if recipe.kind == "labels":
        weights.path("bisenet-faces.pth")  # once, before there are several processes
    record.keep_to(Path(out), recipe.settings())
    return len(found), _all(found, Path(out), recipe, jobs)


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


@cache
def _parser() -> FaceParser:
    return load_parser()
