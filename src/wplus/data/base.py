"""What every source of training data offers, what an example and a batch are, and collation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from wplus.errors import ConfigError, WplusError


class Example(TypedDict, total=False):
    """One training example.

    Attributes:
        name: what it is called in logs.
        source: (C, S, S) float32, the encoder's input.
        target: (3, S, S) float32 in [-1, 1].
        native_size: side in pixels at which the target was photographed, where that is less than
            S: it was enlarged since, and is compared with an output that was, too.
        codes: (L, style_dim) float32, the true code, where there is one.
        z: (2, style_dim) float32, psi, cut: the recipe of a synthetic example that has no images
            yet, see `synthetic.Synthesizer`.
        replaced: "file: problem" of files that stood here and could not be read.
    """

    name: str
    source: Tensor
    target: Tensor
    native_size: int
    codes: Tensor
    z: Tensor
    psi: float
    cut: int
    replaced: list[str]


class Batch(TypedDict, total=False):
    """Examples stacked: rows that lack something hold zeros, and a mask says which have it.

    Attributes:
        name: of each row.
        source: (B, C, S, S). Missing where no row has images (all are recipes).
        target: (B, 3, S, S), likewise.
        native_size: (B,) int64; 0 for all of S. Missing where no row has less.
        codes: (B, L, style_dim); missing where no row has a code.
        has_code: (B,) bool: the row's code is true. Always there.
        synthetic: (B,) bool: the row is a recipe without images. Always there.
        z: (B, 2, style_dim), psi: (B,) float32, cut: (B,) int64; missing where no row is a recipe.
        index: (B,) int64, place in the data set; validation only.
        replaced: what was replaced in any row.
    """

    name: list[str]
    source: Tensor
    target: Tensor
    native_size: Tensor
    codes: Tensor
    has_code: Tensor
    synthetic: Tensor
    z: Tensor
    psi: Tensor
    cut: Tensor
    index: Tensor
    replaced: list[str]


class Dataset(ABC):
    """A source of examples.

    Attributes:
        endless: items are drawn, not counted: `len` is 0, and every visit is a new item.
        problems: (file, problem) found when it was made.
    """

    endless: bool = False
    problems: Sequence[tuple[str, str]] = ()

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are."""

    @abstractmethod
    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """One example.

        Args:
            index: from 0; whatever it is, where `endless`.
            rng: source of everything random in training; None for validation, where the same index
                always gives the same example and nothing is augmented.

        Raises:
            ImageError: a file of the item cannot be used; the message names it.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """What an item is called."""

    def inspect(self, index: int) -> list[tuple[str, str]]:
        """(file, problem) of one item, nothing if it is as it should be; see `check`."""
        try:
            self.item(index, None)
        except WplusError as error:
            return [(self.name(index), f"refused: {error}")]
        return []

    def fingerprint(self) -> str:
        """Equal for equal items in equal order: training can only be resumed on those."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for index in range(len(self)):
            digest.update(self.name(index).encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()[:16]


_STACKED = ("source", "target", "codes", "z")


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples, whatever each of them has.

    Raises:
        ConfigError: there are none, or the shapes of two examples differ.
    """
    if not examples:
        raise ConfigError("a batch needs at least one example")
    batch: dict[str, Any] = {"name": [example["name"] for example in examples]}
    for key in _STACKED:
        found: list[Tensor | None] = [example.get(key) for example in examples]  # type: ignore[misc]
        stacked = _stack(found, key)
        if stacked is not None:
            batch[key] = stacked
    details = [example.get("native_size", 0) for example in examples]
    sides = [example["target"].shape[-1] if "target" in example else 0 for example in examples]
    if any(0 < detail < side for detail, side in zip(details, sides)):
        batch["native_size"] = torch.tensor(details)
    batch["has_code"] = torch.tensor(["codes" in example for example in examples])
    batch["synthetic"] = torch.tensor(["z" in example for example in examples])
    if "z" in batch:
        batch["psi"] = torch.tensor([example.get("psi", 0.0) for example in examples])
        batch["cut"] = torch.tensor([example.get("cut", 0) for example in examples])
    replaced = [line for example in examples for line in example.get("replaced", ())]
    if replaced:
        batch["replaced"] = replaced
    return cast(Batch, batch)


def _stack(parts: Sequence[Tensor | None], key: str) -> Tensor | None:
    present = [part for part in parts if part is not None]
    if not present:
        return None
    shapes = {tuple(part.shape) for part in present}
    if len(shapes) > 1:
        raise ConfigError(
            f"examples of different shapes cannot be mixed: {key} of"
            f" {' and '.join(map(str, sorted(shapes)))}"
        )
    blank = torch.zeros_like(present[0])
    return torch.stack([blank if part is None else part for part in parts])


def check(
    dataset: Dataset,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 8,
) -> list[tuple[str, str]]:
    """Read and decode every file of a data set before training starts.

    Args:
        dataset: which; an endless one has no files.
        progress: called with how many items are done, and how many there are.
        threads: that read at once; decoding is done outside of Python's lock.

    Returns:
        (file, problem), each once: "refused: …" for files that training cannot use (damaged, tiny,
        of another kind, without a partner), "accepted: …" for notes (gray, rotated by EXIF, not
        square). See `refused`.
    """
    found = dict.fromkeys(dataset.problems)
    with ThreadPoolExecutor(threads) as pool:
        for done, problems in enumerate(pool.map(dataset.inspect, range(len(dataset))), start=1):
            found.update(dict.fromkeys(problems))
            if progress is not None:
                progress(done, len(dataset))
    return list(found)


def refused(problems: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those problems of `check` for which training leaves a file out."""
    return [each for each in problems if each[1].startswith("refused")]
