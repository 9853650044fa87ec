"""How commands that go through files one by one show what they do, and tell what became of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from rich.table import Table

from wplus.cli.app import bar, show

Report = Callable[[str, int, int], None]  # the file, the step, the number of steps


class Result(Protocol):
    """A dataclass that says what became of one file; `error` is why there is nothing else in it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def error(self) -> str | None:
        """One line, or None."""


Each = TypeVar("Each", bound=Result)


def tell(
    start: Callable[[Report], Iterable[Each]],
    table: Callable[[list[Each]], Table],
    json_output: bool,
) -> int:
    """Take results as they come, with a progress bar; then print them as a table or as JSON.

    Errors are printed at once. After Ctrl-C, what is done is told all the same.

    Args:
        start: begins the work, given a function to report its progress to.
        table: of the results without an error.
        json_output: print all results as JSON instead.

    Returns:
        The exit status: 1 if there was an error, 130 after Ctrl-C.
    """
    done: list[Each] = []
    stopped = False
    with bar(json_output) as progress:
        line = progress.add_task("", total=None)

        def report(path: str, step: int, steps: int) -> None:
            progress.update(line, description=Path(path).name, completed=step, total=steps)

        try:
            for result in start(report):
                done.append(result)
                if result.error:
                    print(f"error: {result.error}", file=sys.stderr)
        except KeyboardInterrupt:
            stopped = True
    good = [result for result in done if not result.error]
    if json_output:
        print(json.dumps([asdict(result) for result in done], indent=2))
    elif good:
        show(table(good))
    if stopped:
        print(f"stopped; {len(good)} done", file=sys.stderr)
        return 130
    return 1 if len(good) < len(done) else 0
