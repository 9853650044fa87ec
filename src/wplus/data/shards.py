"""Synthetic examples rendered in advance: shards of images with their true codes.

Training on codes then needs no generator, and an epoch costs only reading. A shard is an
uncompressed `.npz` of `images` (n, S, S, 3) uint8, `w1` and `w2` (n, style_dim) float32 and `cut`
(n,): styles below the cut are w1, the others w2.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image

from wplus import images
from wplus.data.augment import Augmentation, augment
from wplus.data.base import Dataset, Example
from wplus.data.record import read_settings
from wplus.data.synthetic import spread
from wplus.errors import ConfigError, ImageError

ABOUT = "cache.json"
_ARRAYS = ("images", "w1", "w2", "cut")


class _Array(NamedTuple):
    """Position of an array in its shard."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Shard(NamedTuple):
    path: str
    first: int
    arrays: dict[str, _Array]


def find(place: Path) -> list[Path]:
    """The shards in a folder, in order."""
    return sorted(path for path in place.glob("*.npz") if not path.name.startswith("."))


class CachedSynthetic(Dataset):
    """Rendered examples: a source, a target and the true code each.

    Only the positions of the arrays are in memory; every item is read from its file. So a cache may
    be larger than the memory, and workers share the system's file cache.

    Args:
        folder: of shards, as `render_cache` writes them.
        num_styles: L; by default as written beside the shards, or else the largest cut in them
            (which is L where some example is not mixed).
        augmentation: of the source in training. There are no flips, since the code of a mirrored
            image is unknown.

    Raises:
        ConfigError: there are no shards; one is damaged, compressed or of other shapes; or
            num_styles contradicts them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        num_styles: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        place = Path(folder)
        paths = find(place) if place.is_dir() else []
        if not paths:
            raise ConfigError(f"{place}: there are no shards (.npz) of rendered examples")
        self.augmentation = augmentation or Augmentation.none()
        self.shards: list[_Shard] = []
        total, highest = 0, 0
        for path in paths:
            arrays = locate(path)
            shard = _Shard(os.fspath(path), total, arrays)
            if self.shards and _kind(shard) != _kind(self.shards[0]):
                raise ConfigError(f"{path}: arrays of another kind than in {paths[0].name}")
            highest = max(highest, int(_read(shard, "cut", slice(None)).max()))
            self.shards.append(shard)
            total += arrays["images"].shape[0]
        written = read_settings(place / ABOUT).get("num_styles")
        self.num_styles: int = num_styles or written or highest
        if highest > self.num_styles or written not in (None, self.num_styles):
            raise ConfigError(
                f"{place}: was rendered with {written or highest} styles, not {self.num_styles}"
            )
        self._starts = np.array([shard.first for shard in self.shards])
        self._count = total

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Side of the images."""
        return self.shards[0].arrays["images"].shape[1]

    def name(self, index: int) -> str:
        """See `Dataset.name`: the shard, and the row in it."""
        shard = self._shard(index)
        return f"{Path(shard.path).stem}/{index - shard.first}"

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """See `Dataset.item`."""
        shard = self._shard(index)
        row = index - shard.first
        try:
            pixels, *ends, cut = (_read(shard, name, row) for name in _ARRAYS)
        except OSError as error:
            raise ImageError(f"{shard.path}: example {row} cannot be read ({error})") from error
        image = Image.fromarray(pixels)
        target = images.to_tensor(image)[0]
        source = target
        if rng is not None and not self.augmentation.is_none:
            source = images.to_tensor(augment(image, self.augmentation, rng))[0]
        first, second = (torch.from_numpy(end)[None] for end in ends)
        codes = spread(first, second, torch.from_numpy(cut.reshape(1)), self.num_styles)[0]
        return {"name": self.name(index), "source": source, "target": target, "codes": codes}

    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`; the names follow from the shards."""
        shards = [(Path(shard.path).stem, shard.first) for shard in self.shards]
        return hashlib.sha256(repr((shards, self._count)).encode()).hexdigest()[:16]

    def _shard(self, index: int) -> _Shard:
        return self.shards[int(np.searchsorted(self._starts, index, side="right")) - 1]


def _kind(shard: _Shard) -> list[tuple[Any, ...]]:
    return [(array.shape[1:], array.dtype) for array in shard.arrays.values()]


def _read(shard: _Shard, name: str, rows: int | slice) -> np.ndarray[Any, np.dtype[Any]]:
    """One row, or all. Read, not mapped: a truncated file gives an error instead of a crash."""
    array = shard.arrays[name]
    shape = array.shape if isinstance(rows, slice) else array.shape[1:]
    count = math.prod(shape)
    start = 0 if isinstance(rows, slice) else rows * count * array.dtype.itemsize
    values = np.fromfile(shard.path, array.dtype, count, offset=array.offset + start)
    if values.size != count:
        raise OSError(f"{shard.path} is cut short")
    return values.reshape(shape)


def locate(path: Path) -> dict[str, _Array]:
    """The positions of the arrays of a shard, from its directory and their headers.

    Raises:
        ConfigError: the file is damaged, compressed, or not such a shard.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            found = {name: _header(file, archive.getinfo(f"{name}.npy")) for name in _ARRAYS}
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: is no shard or a damaged one ({error})") from error
    batch, first, second, cut = (found[name] for name in _ARRAYS)
    count, side = (*batch.shape, 0, 0)[:2]
    width = (0, *first.shape)[-1]
    shapes = [(count, side, side, 3), (count, width), (count, width), (count,)]
    types = batch.dtype == np.uint8 and first.dtype == second.dtype == np.float32
    good = [array.shape for array in found.values()] == shapes and types
    if not good or count == 0 or cut.dtype.kind not in "iu":
        raise ConfigError(f"{path}: the arrays of this shard are not those of rendered examples")
    return found


def _header(file: BinaryIO, member: zipfile.ZipInfo) -> _Array:
    """The position of one array. Raises ValueError if it cannot be read in place."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("is compressed; write shards with numpy.savez")
    file.seek(member.header_offset + 26)  # the lengths of name and extra field end the 30 bytes
    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
    begin = file.tell()
    if np.lib.format.read_magic(file) != (1, 0):  # as for all short headers
        raise ValueError(f"{member.filename} has a header of another version")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if by_columns and len(shape) > 1:
        raise ValueError(f"{member.filename} is stored column by column")
    length = math.prod(shape) * dtype.itemsize
    if file.tell() - begin + length != member.file_size and not dtype.hasobject:
        raise ValueError(f"{member.filename} is not as long as it says")
    return _Array(file.tell(), shape, dtype)
