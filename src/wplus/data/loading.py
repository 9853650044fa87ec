"""Batches of examples by worker processes: endless for training, one pass for validation."""

from __future__ import annotations

import atexit
import logging
import signal
import weakref
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wplus.data.base import Batch, Dataset, Example, collate
from wplus.data.mixture import Mixture, bad_limit
from wplus.errors import ConfigError, ImageError

logger = logging.getLogger(__name__)


def loader(
    mixture: Mixture,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    *,
    method: str | None = None,
) -> Iterator[Batch]:
    """Endless batches of one process, beginning with a step.

    Process r gets the positions r·b to (r + 1)·b − 1 of every global batch, b = B / processes. Each
    worker makes whole batches; their order does not depend on the number of workers. Unreadable
    files are logged once.

    Args:
        mixture: its batch size is that of all processes together.
        start_step: the first step.
        rank: of this process.
        world_size: number of processes.
        workers: processes that decode ahead; 0 decodes in this one.
        method: to start workers: "fork", "spawn" or "forkserver"; None for Python's default.

    Returns:
        An iterator; its workers end when it is deleted or closed by its `close`.

    Raises:
        ConfigError: the batch is not divisible by the processes, or a number is out of range.
        ImageError: (while iterating) more than `mixture.MAX_BAD` of the files are unreadable.
    """
    _check(rank, world_size, workers)
    if mixture.batch_size % world_size or start_step < 0:
        raise ConfigError(
            f"a batch of {mixture.batch_size} cannot be divided among {world_size} processes from"
            f" step {start_step}; use a multiple of their number, and a step of 0 or more"
        )
    batches: DataLoader[Batch] = DataLoader(
        _Steps(mixture, rank, world_size),
        batch_size=None,
        sampler=count(start_step),
        **_options(workers, method),
    )
    return _Batches(batches, sum(map(bad_limit, mixture.datasets)))


def validation(
    dataset: Dataset,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    *,
    method: str | None = None,
) -> Iterable[Batch]:
    """Every item once, in order, without augmentation; the last batch may be smaller.

    Process r gets the r-th of `world` equal consecutive shares of the data set; a share can be
    empty. `index` holds the indices of a batch's items. Unreadable files are left out and logged.

    Returns:
        An iterable; every iteration gives the same batches.

    Raises:
        ConfigError: the data set is endless, or a number is out of range.
        ImageError: (while iterating) more than `mixture.MAX_BAD` of the data set is unreadable.
    """
    _check(rank, world, workers)
    if dataset.endless or batch_size < 1:
        raise ConfigError("validation needs a data set of known size and a batch size above 0")
    first, last = (len(dataset) * part // world for part in (rank, rank + 1))
    parts = [range(at, min(at + batch_size, last)) for at in range(first, last, batch_size)]
    return _Validation(dataset, parts, _options(workers, method))


class _Steps(TorchDataset[Batch]):
    """Step to batch, for one process."""

    def __init__(self, mixture: Mixture, rank: int, world_size: int) -> None:
        self.mixture = mixture
        size = mixture.batch_size // world_size
        self.positions = range(rank * size, (rank + 1) * size)

    def __getitem__(self, step: int) -> Batch:
        return collate([self.mixture.example(step, position) for position in self.positions])


class _Parts(TorchDataset[Batch]):
    """Ranges of indices to batches, for validation."""

    def __init__(self, dataset: Dataset, parts: list[range]) -> None:
        self.dataset, self.parts = dataset, parts

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Batch:
        examples: list[Example] = []
        indices, bad = [], []
        for index in self.parts[number]:
            try:
                examples.append(self.dataset.item(index, None))
                indices.append(index)
            except ImageError as error:
                bad.append(str(error))
        batch = collate(examples) if examples else Batch(name=[])
        batch["index"] = torch.tensor(indices, dtype=torch.int64)
        if bad:
            batch["replaced"] = bad
        return batch


class _Validation:
    def __init__(self, dataset: Dataset, parts: list[range], options: dict[str, Any]) -> None:
        self.dataset, self.parts, self.options = dataset, parts, options

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        batches: DataLoader[Batch] = DataLoader(
            _Parts(self.dataset, self.parts), batch_size=None, **self.options
        )
        found = _Batches(batches, bad_limit(self.dataset))
        return (batch for batch in found if batch["name"])


class _Batches(Iterator[Batch]):
    """Passes batches through; logs every unreadable file once, and counts them."""

    def __init__(self, batches: Iterable[Batch], limit: int) -> None:
        self.limit = limit
        self.bad: set[str] = set()
        self.source = iter(batches)
        _close_at_exit()
        _open.add(self)

    def __next__(self) -> Batch:
        batch = next(self.source)
        for line in batch.pop("replaced", ()):
            if line not in self.bad:
                self.bad.add(line)
                logger.warning("left out: %s", line)
        if len(self.bad) > self.limit:
            raise ImageError(
                f"{len(self.bad)} files went bad since training began (more than {self.limit} is"
                f" too many), such as {min(self.bad)}"
            )
        return batch

    def close(self) -> None:
        """End the workers, even where a traceback still refers to their iterator."""
        end = getattr(self.source, "_shutdown_workers", None)
        self.source = iter(())
        if end is not None:
            end()


_open: weakref.WeakSet[_Batches] = weakref.WeakSet()


@cache
def _close_at_exit() -> None:
    """Register once: at exit Python waits for workers, which ignore its SIGTERM."""
    atexit.register(_close_all)


def _close_all() -> None:
    for batches in list(_open):
        batches.close()


def _options(workers: int, method: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": torch.cuda.is_available(),
        # Each pass draws a seed for its workers. Drawn from torch's global generator, it would make
        # training depend on the number of validations and resumptions.
        "generator": torch.Generator(),
    }
    if workers:
        options |= {"worker_init_fn": _start_worker, "multiprocessing_context": method}
    return options


def _start_worker(number: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach the whole group: the main process ends the workers."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def _check(rank: int, world: int, workers: int) -> None:
    if not 0 <= rank < world or workers < 0:
        raise ConfigError(f"there is no process {rank} of {world} with {workers} workers")
