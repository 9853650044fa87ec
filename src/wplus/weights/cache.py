"""The per-user cache: paths of fetched files, and their verification."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wplus.errors import WeightsError
from wplus.weights import table
from wplus.weights.table import Asset

CACHE_VARIABLE = "WPLUS_CACHE"
"""Environment variable that moves the cache."""

_checked: dict[Path, tuple[int, int, int]] = {}


@dataclass(frozen=True)
class Status:
    """The state of one asset in the cache.

    Attributes:
        name: of the asset.
        path: of its file, whether it exists or not.
        state: "ok" (size and sha256 agree), "missing", or "damaged".
        detail: expected and actual value for a damaged file; else empty.
    """

    name: str
    path: Path
    state: Literal["ok", "missing", "damaged"]
    detail: str = ""


def cache_folder() -> Path:
    """The folder of fetched files: `WPLUS_CACHE` if set, else the system's cache folder for users.

    The folder may not exist; this does not make it.
    """
    moved = os.environ.get(CACHE_VARIABLE)
    if moved:
        return Path(os.path.expandvars(moved)).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("wplus", appauthor=False)


def location(asset: Asset) -> Path:
    """Path of the file of `asset`, whether it exists or not."""
    return cache_folder() / asset.name


def cached(name: str) -> Path | None:
    """The file of asset `name` if the cache has one of the right size, else None.

    Neither reads the file nor touches the network: for listings. `verify` reads it.

    Raises:
        WeightsError: no asset has this name.
    """
    asset = table.ASSETS.find(name)
    file = location(asset)
    try:
        return file if file.is_file() and file.stat().st_size == asset.size else None
    except OSError:
        return None


def verify(name: str) -> Status:
    """Check size and sha256 of the cached file of asset `name`, reading all of it; no network.

    Raises:
        WeightsError: no asset has this name, or its file is there but cannot be read.
    """
    return inspect(table.ASSETS.find(name))


def inspect(asset: Asset) -> Status:
    """`verify` for a row of the table."""
    file = location(asset)
    try:
        before = _stamp(file)
        detail = damage(file, asset.size, asset.sha256)
    except (FileNotFoundError, NotADirectoryError):
        return Status(asset.name, file, "missing")
    except OSError as error:
        raise WeightsError(
            f"cannot read {file} ({error.strerror or error}): repair it, or move the cache "
            f"with {CACHE_VARIABLE}"
        ) from error
    if detail:
        return Status(asset.name, file, "damaged", detail)
    _checked[file] = before
    return Status(asset.name, file, "ok")


def trusted(asset: Asset) -> Path | None:
    """The file of `asset` if this process has verified it and it has not changed since, else None.

    A full sha256 costs about 1 ms per MB (a few times that on processors without SHA
    instructions): acceptable once, too slow for every photograph. So the first use in a process
    reads the whole file, and later ones compare size, time and inode.
    """
    file = location(asset)
    try:
        return file if _checked.get(file) == _stamp(file) else None
    except OSError:
        return None


def damage(file: Path, size: int, sha256: str) -> str:
    """The damage of `file`: expected and actual size or sum; empty for none.

    Raises:
        OSError: the file cannot be read.
    """
    found_size = file.stat().st_size
    if found_size != size:
        return f"{found_size:,} bytes, expected {size:,}"
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    found = digest.hexdigest()
    return "" if found == sha256 else f"sha256 {found}, expected {sha256}"


def _stamp(file: Path) -> tuple[int, int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
