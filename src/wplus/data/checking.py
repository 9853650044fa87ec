"""Looking at every file before training starts, so that it does not stop in the night."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from wplus.data.base import Dataset

_THREADS = 8


def check(
    dataset: Dataset,
    progress: Callable[[int, int], None] | None = None,
    threads: int = _THREADS,
) -> list[tuple[str, str]]:
    """Read and decode every file of a data set.

    Args:
        dataset: which; an endless one has no files.
        progress: called with how many items are done, and how many there are.
        threads: that read at once; decoding is done outside of Python's lock.

    Returns:
        (file, problem), each file's problems once: "refused: …" for what cannot be trained on
        (damaged, tiny, not what the task reads, without a partner), "accepted: …" for what is
        worth knowing (gray, rotated by EXIF, not square). See `refused`.
    """
    found = dict.fromkeys(dataset.problems)
    with ThreadPoolExecutor(threads) as pool:
        for done, problems in enumerate(pool.map(dataset.inspect, range(len(dataset))), start=1):
            found.update(dict.fromkeys(problems))
            if progress is not None:
                progress(done, len(dataset))
    return list(found)


def refused(problems: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of `check` that keep a file from being trained on."""
    return [each for each in problems if each[1].startswith("refused")]
