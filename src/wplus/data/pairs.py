"""Data sets of image files: one file as source and target, or pairs of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from wplus.data.base import Dataset, Example
from wplus.data.listing import Pair, images_in, pair, read_list
from wplus.data.reading import Reading, example, read_source, read_target
from wplus.errors import ConfigError, ImageError
from wplus.sources.kind import File

_NAMED = 5  # files that a message names; the others are counted
_TURNED = range(2, 9)  # EXIF orientations that are not upright
_Decoded = TypeVar("_Decoded")


class ImagePairs(Dataset):
    """Pairs of files, see `Folder`, `PairedFolders` and `FileList`.

    Args:
        pairs: the files; where both are the same file, the source is derived from the target.
        reading: how files are read.
        memory: keep decoded images, 8 bits a value, once they are read. Processes started
            afterwards share them (with `spawn`, they copy them).

    Raises:
        ConfigError: there are no pairs, or the source cannot be derived from the target.
    """

    def __init__(
        self, pairs: Iterable[Pair], reading: Reading | None = None, *, memory: bool = False
    ) -> None:
        self.pairs = list(pairs)
        self.reading = Reading() if reading is None else reading
        self.memory: dict[tuple[Any, str], Any] | None = {} if memory else None
        if not self.pairs:
            raise ConfigError("no images to train on")
        alone = next((pair for pair in self.pairs if pair.source == pair.target), None)
        row = self.reading.row
        if alone is not None and not row.is_photograph:
            raise ConfigError(
                f"{alone.target}: a photograph is no {row.noun}; give a folder of sources and one"
                " of targets"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """See `Dataset.name`."""
        return self.pairs[index].name

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """See `Dataset.item`."""
        pair = self.pairs[index]
        target, side = self._decoded(pair.target, read_target)
        source = None
        if pair.source != pair.target:
            source = self._decoded(pair.source, read_source)
        tensors = example(source, target, self.reading, pair.name, rng)
        return {
            "name": pair.name, "source": tensors[0], "target": tensors[1], "native_size": side
        }  # fmt: skip

    def inspect(self, index: int) -> list[tuple[str, str]]:
        """See `Dataset.inspect`; gray and rotated photographs are noted too."""
        pair = self.pairs[index]
        found: list[tuple[str, str]] = []
        for path in dict.fromkeys((pair.source, pair.target)):
            is_target = path == pair.target
            try:
                self._decoded(path, read_target) if is_target else self._decoded(path, read_source)
            except ImageError as error:
                problem = str(error).removeprefix(f"{path}: ")
                found.append((path, f"refused: {problem}"))
            else:
                if is_target or self.reading.row.augmentable:
                    found.extend((path, f"accepted: {note}") for note in _notes(path))
        return found

    def _decoded(self, path: str, read: Callable[[str, Reading], _Decoded]) -> _Decoded:
        """A file read by `read`, through the memory if there is one."""
        if self.memory is None:
            return read(path, self.reading)
        if (read, path) not in self.memory:
            self.memory[read, path] = read(path, self.reading)
        decoded: _Decoded = self.memory[read, path]
        return decoded


class Folder(ImagePairs):
    """The images of a folder and its subfolders, each its own source and target.

    Raises:
        ConfigError: the folder is missing, cannot be read, or has no images.
    """

    def __init__(
        self, folder: File, reading: Reading | None = None, *, memory: bool = False
    ) -> None:
        pairs = (Pair(name, path, path) for name, path in images_in(folder))
        super().__init__(pairs, reading, memory=memory)


class PairedFolders(ImagePairs):
    """Two folders, paired by name: see `listing.pair`.

    Args:
        sources: folder of sources.
        targets: folder of targets.
        source_suffix: end of the names of sources that those of targets do not have: "_edges"
            pairs `7_edges.png` with `7.jpg`.
        target_suffix: likewise, of targets.
        reading: how files are read.
        skip_unpaired: leave unpaired files out and list them in `problems`, instead of refusing.
        memory: see `ImagePairs`.

    Raises:
        ConfigError: a folder is missing, cannot be read, or has no images; or files are unpaired:
            the message names the first few and counts them.
    """

    def __init__(
        self,
        sources: File,
        targets: File,
        source_suffix: str = "",
        target_suffix: str = "",
        reading: Reading | None = None,
        *,
        skip_unpaired: bool = False,
        memory: bool = False,
    ) -> None:
        pairs, problems = pair(sources, targets, source_suffix, target_suffix)
        if problems and not (skip_unpaired and pairs):
            shown = _few([f"{path} {what}" for path, what in problems], "; ")
            raise ConfigError(f"{len(problems)} files do not pair ({len(pairs)} pairs do): {shown}")
        super().__init__(pairs, reading, memory=memory)
        self.problems = [(path, f"refused: {what}") for path, what in problems]


class FileList(ImagePairs):
    """A text file that names images, one example a line.

    Columns are separated by commas in `.csv` files, else by tabs. One column names an image that is
    its own source and target; two name source and target. A header line of the words source,
    target and name may give another order. Relative paths start at the list's folder. Empty lines
    and lines that begin with # are ignored.

    Raises:
        ConfigError: the list cannot be read, a line is malformed, or a file is missing: the message
            names the first few and counts them.
    """

    def __init__(self, path: File, reading: Reading | None = None, *, memory: bool = False) -> None:
        pairs = read_list(Path(path))
        missing = [
            name
            for name in dict.fromkeys(name for pair in pairs for name in pair[1:])
            if not os.path.isfile(name)  # noqa: PTH113  (many times faster than a Path each)
        ]
        if missing:
            raise ConfigError(f"{path}: {len(missing)} files are missing: {_few(missing)}")
        super().__init__(pairs, reading, memory=memory)


def _few(names: Sequence[str], separator: str = ", ") -> str:
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return separator.join([*names[:_NAMED], *more])


def _notes(path: str) -> list[str]:
    """Notes on a readable photograph, from its header."""
    try:
        with Image.open(path) as image:
            mode, size = image.mode, image.size
            turn = image.getexif().get(0x0112, 1)
    except Exception:  # its pixels were read; a damaged header does not matter
        return []
    notes = []
    if mode in {"1", "L", "LA", "I", "F"} or mode.startswith("I;16"):
        notes.append("gray; becomes a color image without colors")
    if turn in _TURNED:
        notes.append("rotated by EXIF; is turned upright")
    if size[0] != size[1]:
        notes.append(f"not square ({size[0]}x{size[1]}); is stretched")
    return notes
