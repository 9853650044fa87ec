"""Large blocks of freed memory are kept for the next step instead of given back to the system.

By default glibc maps every large tensor anew and the system fills it with zeros: a tenth of a step
of training or refinement on a CPU (0.223 to 0.197 s a picture, `faces` through the short
generator). It changes the whole process, so the command decides on it and not the library.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Ask for it; where the C library is another one, nothing happens.

    Returns:
        Whether it was granted.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    settings = ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 1 << 28))
    granted = [mallopt(name, value) for name, value in settings]  # every one is asked for
    return all(granted)
