"""The plain alternative to making a face: the photograph of the training set that comes nearest.

Nearest by the very figure that is judged, so nothing that looks for a photograph could score
better.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from lines import Mask, head, lines_in, near
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser
from wplus.sources.labels import class_numbers, colored

SIDE = 128  # of the label maps that are searched


def names_before(folder: Path, first: str, limit: int | None) -> list[Path]:
    """The photographs that sort before the judged ones: those that encoders were trained on."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name < first]
    if not files:
        raise SystemExit(f"{folder}: nothing sorts before --first {first or '(not given)'}")
    return files[:limit]


class ByLines:
    """Photographs by their lines.

    Args:
        files: the photographs.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        inside = head()
        found = [lines_in(images.read(file)) for file in files]
        self._lines = np.packbits([(each & inside).ravel() for each in found], axis=1)
        self._near = np.packbits([near(each).ravel() for each in found], axis=1)
        self._counts = np.array([(each & inside).sum() for each in found])

    def nearest(self, drawn: Mask, count: int) -> list[int]:
        """The `count` photographs whose F-score is the highest against drawn lines, best first."""
        judged = np.packbits((drawn & head()).ravel())
        close = np.packbits(near(drawn).ravel())
        recall = _ones(self._near & judged) / max(int(_ones(judged[None])[0]), 1)
        precision = _ones(self._lines & close) / np.maximum(self._counts, 1)
        scores = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        return [int(index) for index in np.argsort(-scores, kind="stable")[:count]]


def _ones(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    table = np.array([bin(value).count("1") for value in range(256)], np.uint8)
    counts: NDArray[np.int64] = table[bits].sum(axis=1, dtype=np.int64)
    return counts


class Labels:
    """Label maps of photographs, in a folder as `wplus prepare labels` makes it; kept there.

    Args:
        folder: what is missing in it is made.
        parser: that makes it.
    """

    def __init__(self, folder: Path, parser: FaceParser) -> None:
        self.folder = folder
        self.parser = parser

    def of(self, name: str, picture: Image.Image) -> Tensor:
        """(H, W) int64, labels of the photograph of that name."""
        file = self.folder / f"{name}.png"
        if not file.exists():
            images.save(colored(self.parser.parse(images.to_tensor(picture))[0]), file)
        with Image.open(file) as opened:
            return class_numbers(opened)[0]


class ByLabels:
    """Photographs by their label maps.

    Args:
        files: the photographs.
        labels: gives their maps.
    """

    def __init__(self, files: Sequence[Path], labels: Labels) -> None:
        self.files = files
        maps = [_small(labels.of(file.stem, images.read(file))) for file in files]
        self._maps = np.stack(maps)
        self._areas = _areas(self._maps)

    def nearest(self, wanted: Tensor, count: int) -> list[int]:
        """The `count` photographs of the highest mean IoU with a label map (H, W), best first."""
        small = _small(wanted)
        # Where a map differs, it counts for a class beyond the last.
        both = _areas(np.where(self._maps == small, small, len(LABELS)).astype(np.uint8))
        either = self._areas + _areas(small[None]) - both
        with np.errstate(invalid="ignore"):
            scores = np.nanmean(both / either, axis=1)
        return [int(index) for index in np.argsort(-scores, kind="stable")[:count]]


def _small(labels: Tensor) -> NDArray[np.uint8]:
    """(SIDE²,) labels under the centers of larger pixels."""
    rows, columns = ((2 * torch.arange(SIDE) + 1) * side // (2 * SIDE) for side in labels.shape)
    return labels[rows[:, None], columns].flatten().numpy().astype(np.uint8)


def _areas(maps: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, classes) pixels of each class in maps (N, P); labels beyond the classes do not count."""
    wide = len(LABELS) + 1
    shifted = maps.astype(np.int64) + wide * np.arange(len(maps))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=wide * len(maps)).reshape(-1, wide)
    return counts[:, :-1]
