"""Files are written whole or not at all: in a temporary folder first, then moved."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves there is not removed
    fcntl = None  # type: ignore[assignment]

PREFIX = ".wplus-writing-"
"""Of temporary folders, which are locked by the process that writes in them."""

_swept: set[str] = set()

MAX_NESTING = 100  # of tables and lists in a JSON text
Leaf = str | int | float | None


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; move the file there to `path` on success, remove it on failure.

    The temporary file has the same name, since writers choose a format by its suffix, in a folder
    of its own beside it, since some writers make temporary files themselves. Missing parent folders
    are made. The first write into a folder removes what killed processes have left there.

    Raises:
        OSError: the file cannot be written; the error names `path`. (Whatever else the body raises
            passes through.)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = os.path.abspath(path.parent)  # noqa: PTH100  (a link stays one)
    if place not in _swept and PREFIX not in place:  # (results are written together)
        _swept.add(place)
        sweep(path.parent)
    try:
        with _temporary_folder(path.parent) as folder:
            temporary = folder / path.name
            temporary.touch(exist_ok=False)  # the umask applies
            mode = stat.S_IMODE(temporary.stat().st_mode)
            yield temporary
            temporary.chmod(mode)  # some writers put a private file of their own in its place
            temporary.replace(path)
    except OSError as error:
        if error.errno is None or PREFIX not in str(error.filename or PREFIX):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def save_tensors(
    tensors: Mapping[str, Tensor], path: str | os.PathLike[str], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        OSError: it cannot be written; safetensors has an exception of its own for a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=dict(metadata))
        except SafetensorError as error:
            found = re.search(r"os error (\d+)", str(error))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number), os.fspath(path)) from None


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """A new folder, locked until it is removed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with _locked(folder, wait=True):
            if not folder.exists():  # another process swept it before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[bool]:
    """Lock a folder against other processes, if that is possible; the system ends it with ours."""
    opened = None
    locked = False
    with suppress(OSError, AttributeError):  # no locks here (network, Windows), or held by another
        opened = os.open(folder, os.O_RDONLY)
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        locked = True
    try:
        yield locked
    finally:
        if opened is not None:
            os.close(opened)


def sweep(folder: Path) -> None:
    """Remove the temporary folders that killed processes have left in a folder."""
    for left in folder.glob(f"{PREFIX}*"):
        with _locked(left, wait=False) as nobodys:
            if nobodys:
                shutil.rmtree(left, ignore_errors=True)


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is no JSON, or nested so deep that later code could not walk it.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_NESTING} deep") from None
    layer, depth = [content], 0
    while layer:
        if (depth := depth + 1) > MAX_NESTING + 1:
            raise ValueError(f"nested more than {MAX_NESTING} deep")
        inner = [each.values() if isinstance(each, dict) else each for each in layer]
        layer = [x for each in inner if not isinstance(each, Leaf) for x in each]
    return content
