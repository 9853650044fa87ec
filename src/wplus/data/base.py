"""The interface of data sets, examples, batches, and collation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from wplus.errors import ConfigError, WplusError
from wplus.progress import Progress, silent


class Example(TypedDict, total=False):
    """One training example.

    Attributes:
        name: for logs.
        source: (C, S, S) float32, the encoder's input.
        target: (3, S, S) float32 in [-1, 1].
        native_size: side in pixels of the target's file where it is below S. The target is enlarged
            then, and losses compare it with an output shrunk and enlarged by the same factor.
        codes: (L, style_dim) float32, the true code, where there is one.
        z: (2, style_dim) float32, with psi and cut the recipe of a synthetic example that is not
            rendered yet, see `synthetic.Synthesizer`.
        replaced: "file: problem" of unreadable files that this example replaces.
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
    """Examples stacked. Rows without a tensor hold zeros; a mask marks the rows that have it.

    Attributes:
        name: of each row.
        source: (B, C, S, S); missing where all rows are recipes.
        target: (B, 3, S, S); likewise.
        native_size: (B,) int64, 0 for S; missing where all targets have S.
        codes: (B, L, style_dim); missing where no row has a code.
        has_code: (B,) bool, always present: the row has a true code.
        synthetic: (B,) bool, always present: the row is a recipe without images.
        z: (B, 2, style_dim), psi: (B,) float32, cut: (B,) int64; missing where no row is a recipe.
        index: (B,) int64, index in the data set; validation only.
        replaced: of all rows.
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
        endless: items are drawn at random: `len` is 0, and every index gives a new item.
        problems: (file, problem) found on construction.
    """

    endless: bool = False
    problems: Sequence[tuple[str, str]] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """One example.

        Args:
            index: from 0; any number where `endless`.
            rng: source of everything random in training; None for validation, where the same index
                always gives the same example and nothing is augmented.

        Raises:
            ImageError: a file of the item cannot be used; the message names it.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of an item, for logs."""

    def inspect(self, index: int) -> list[tuple[str, str]]:
        """(file, problem) of one item, see `check`; empty if there is none."""
        try:
            self.item(index, None)
        except WplusError as error:
            return [(self.name(index), f"refused: {error}")]
        return []

    def fingerprint(self) -> str:
        """A digest of the items and their order; training is resumed only on equal ones."""
        digest = hashlib.sha256(type(self).__name__.encode())
        for index in range(len(self)):
            digest.update(self.name(index).encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()[:16]


_STACKED = ("source", "target", "codes", "z")


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples, which may have different tensors.

    Raises:
        ConfigError: there are none, or the shapes of two examples differ.
    """
    if not examples:
        raise ConfigError("a batch needs at least one example")
    batch: dict[str, Any] = {"name": [example["name"] for example in examples]}
    for key in _STACKED:
        parts: list[Tensor | None] = [example.get(key) for example in examples]  # type: ignore[misc]
        if any(part is not None for part in parts):
            batch[key] = _stack(parts, key)
    native = [example.get("native_size", 0) for example in examples]
    sides = [example["target"].shape[-1] if "target" in example else 0 for example in examples]
    if any(0 < size < side for size, side in zip(native, sides)):
        batch["native_size"] = torch.tensor(native)
    batch["has_code"] = torch.tensor(["codes" in example for example in examples])
    batch["synthetic"] = torch.tensor(["z" in example for example in examples])
    if "z" in batch:
        batch["psi"] = torch.tensor([example.get("psi", 0.0) for example in examples])
        batch["cut"] = torch.tensor([example.get("cut", 0) for example in examples])
    replaced = [line for example in examples for line in example.get("replaced", ())]
    if replaced:
        batch["replaced"] = replaced
    return cast(Batch, batch)


def _stack(parts: Sequence[Tensor | None], key: str) -> Tensor:
    present = [part for part in parts if part is not None]
    shapes = {tuple(part.shape) for part in present}
    if len(shapes) > 1:
        raise ConfigError(
            f"examples of different shapes cannot be mixed: {key} of"
            f" {' and '.join(map(str, sorted(shapes)))}"
        )
    blank = torch.zeros_like(present[0])
    return torch.stack([blank if part is None else part for part in parts])


def check(dataset: Dataset, progress: Progress = silent, threads: int = 8) -> list[tuple[str, str]]:
    """Read and decode every file of a data set before training starts.

    Args:
        dataset: an endless one has no files.
        progress: called after every item.
        threads: that read in parallel; decoding releases Python's lock.

    Returns:
        (file, problem), each once: "refused: …" for files that training cannot use (damaged, too
        small, of another kind, unpaired), "accepted: …" for notes (gray, rotated by EXIF, not
        square). See `refused`.
    """
    found = dict.fromkeys(dataset.problems)
    with ThreadPoolExecutor(threads) as pool:
        for done, problems in enumerate(pool.map(dataset.inspect, range(len(dataset))), start=1):
            found.update(dict.fromkeys(problems))
            progress(done, len(dataset))
    return list(found)


def refused(problems: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those problems of `check` that exclude a file from training."""
    return [each for each in problems if each[1].startswith("refused")]
