"""The one place that prints: paths, errors, warnings, tables, JSON and progress.

Names of files may hold anything. Here control characters are escaped and long lines shortened, so
that a name can neither move the cursor nor pass for a message.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from wplus.cli import signals
from wplus.progress import ProgressFor

LONGEST = 1000  # characters of a line
PIPE_WIDTH = 200  # columns of a table that no terminal shows
console = Console(stderr=True)


def safe(text: object) -> str:
    """One line in which everything that is not printable is escaped."""
    line = "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text)
    )
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} … {line[-half:]}"


def print_line(text: object) -> None:
    """One line, such as a file that was written, on standard output."""
    print(safe(text))


def print_error(reason: object) -> None:
    """One line on standard error."""
    print(f"error: {safe(' '.join(str(reason).split()))}", file=sys.stderr)


def print_stopped(done: int | None = None) -> None:
    """A signal ended the command, after so many results."""
    print("stopped" if done is None else f"stopped; {done} done", file=sys.stderr)


def print_json(value: object) -> None:
    """For programs."""
    print(json.dumps(value, indent=2))


def print_progress(text: object) -> None:
    """One line on standard error, above a progress bar if there is one."""
    console.print(safe(text), markup=False, highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str | Column], rows: Iterable[Sequence[object]]) -> None:
    """As wide as the terminal, or wide enough for whoever reads a pipe."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(safe(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


def start_logging() -> None:
    """Warnings and errors of the library on standard error, in the same form."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {safe(record.getMessage())}"


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[ProgressFor]:
    """A bar on standard error for one named part of the work after the other.

    Args:
        quiet: hide it; it is hidden too where standard error is no terminal.
    """
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    hidden = quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden) as bar:
        line = bar.add_task("", total=None)

        def begin(name: str) -> Callable[[int, int], None]:
            bar.reset(line, total=None, description=Text(safe(Path(name).name)).markup)
            return lambda done, total: bar.update(line, completed=done, total=total)

        yield begin


class Reported(Protocol):
    """A dataclass about one file; `error` is why there is nothing else in it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def error(self) -> str | None:
        """One line, or None."""


Each = TypeVar("Each", bound=Reported)


def report(
    start: Callable[[ProgressFor], Iterable[Each]],
    show: Callable[[list[Each]], None],
    json_output: bool = False,
    to_json: Callable[[Each], dict[str, Any]] = asdict,
) -> int:
    """Take results as they come, with a progress bar; then show them, or print them as JSON.

    Errors are printed at once. After a signal, the results so far are shown all the same.

    Args:
        start: begins the work.
        show: prints the results without an error.
        json_output: print all results as JSON instead.
        to_json: one result for JSON.

    Returns:
        The exit status: 1 if there was an error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    done: list[Each] = []
    stopped = False
    with progress_bar(json_output) as progress:
        try:
            for result in start(progress):
                done.append(result)
                if result.error:
                    print_error(result.error)
        except KeyboardInterrupt:
            stopped = True
    good = [result for result in done if not result.error]
    if json_output:
        print_json([to_json(result) for result in done])
    elif good:
        show(good)
    if stopped:
        print_stopped(len(good))
        return signals.status()
    return 1 if len(good) < len(done) else 0
