"""How long work reports its progress: one callback signature for the whole package."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called as progress(done, total) after each unit of work; `total` never changes during a run."""

ProgressFor = Callable[[str], Progress]
"""A new `Progress` for each named part of the work: an input file, a stage."""


def silent(done: int, total: int) -> None:
    """Report nothing: the default."""


def part(progress: Progress, before: int, total: int) -> Progress:
    """A callback for a part of longer work.

    Args:
        progress: of all the work.
        before: units of work that precede the part.
        total: units of all the work.
    """
    return lambda done, _: progress(before + done, total)
