"""Files are written whole or not at all: under a temporary name first, then renamed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffix, so writers that choose a format by suffix still work.
    Missing parent folders are made.

    Raises:
        OSError: the folder cannot be written (whatever the body raises passes through too).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short, since the file's own name may be as long as names can be.
    temporary = path.parent / f".{path.stem[:32]}.{secrets.token_hex(6)}{path.suffix}"
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the umask applies
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        temporary.chmod(mode)  # some writers put a private file of their own in its place
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
