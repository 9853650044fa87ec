"""Training from the command line: every setting of `training.config` is a flag."""

from __future__ import annotations

import inspect
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from cyclopts import Group, Parameter
from rich.progress import BarColumn, Progress, TextColumn

from wplus import tasks
from wplus.cli.app import MODELS, app, console
from wplus.cli.memory import keep_freed_memory
from wplus.errors import ConfigError, WplusError
from wplus.training import config
from wplus.training.config import GROUPS

if TYPE_CHECKING:
    from wplus.training.log import Progress as Where

QUIET = 30.0  # seconds between two lines of progress where nobody watches
TITLES = {
    "data": "Data",
    "network": "Networks",
    "losses": "Losses (weights; by default those of the task)",
    "optimizer": "Optimization",
    "run": "The run",
}


def train(
    *,
    out: Path,
    config_file: Annotated[Path | None, Parameter(name="--config")] = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    **flags: Any,
) -> int:
    """Train an encoder; the same command again goes on where it stopped.

    Settings come from the flags, else from the file of --config, else from the run itself if it is
    there already, else they are the paper's. Ctrl-C ends the run after the step under way and saves
    it. `docs/training.md` says what is in the folder.

    Example: wplus train --task inversion --data photos --validation others --out runs/faces

    Parameters
    ----------
    out
        Folder of the run; it is made, or gone on with.
    config_file
        Settings as JSON, such as a run's config.json.
    dry_run
        Print the settings as JSON, and do nothing.
    """
    if out.exists() and not out.is_dir():
        raise WplusError(f"{out}: is a file; --out needs a folder")
    from_file = config.read(config_file) if config_file is not None else {}
    settings = config.resolve(out, from_file, tables(flags))
    if dry_run:
        print(settings.to_json())
        return 0
    from wplus.training.loop import train as run

    keep_freed_memory()
    with _reporting() as progress:
        result = run(settings, out, progress=progress)
    if result.rank == 0:
        said = [f"{out}: {result.reason}, {result.step} of {result.steps} steps made"]
        if result.best:
            said.append(f"best loss {result.best['loss']:.4f} at step {result.best['step']}")
        if result.step < result.steps:
            said.append("the same command goes on from here")
        print("; ".join(said))
    return 130 if result.signal == signal.SIGINT else 0


def tables(flags: dict[str, Any]) -> dict[str, Any]:
    """Flags that were given, in the JSON form of a configuration.

    Raises:
        ConfigError: the arguments of the encoder are no JSON table.
    """
    given: dict[str, Any] = {name: flags[name] for name in ("task",) if name in flags}
    for name, kind in GROUPS.items():
        of_group = [item.name for item in fields(kind)]  # type: ignore[arg-type]
        given[name] = {flag: flags[flag] for flag in of_group if flag in flags}
    options = given["network"].get("encoder_options")
    if options is not None:
        try:
            given["network"]["encoder_options"] = json.loads(options)
        except ValueError as error:
            raise ConfigError(f"--encoder-options {options}: is no JSON ({error})") from None
    return given


def signature() -> inspect.Signature:
    """The command's: `out` and the like, then a flag for every setting, none of which has a value
    unless it is given; the help shows the settings' defaults.
    """
    names = ", ".join(tasks.TASKS)
    task = Parameter(help=f"What is learned: {names}.", show_default=_as("inversion"))
    parameters = [
        *list(inspect.signature(train, eval_str=True).parameters.values())[:-1],
        _flag("task", Annotated[str | None, task]),
    ]
    for place, (name, kind) in enumerate(GROUPS.items(), start=1):
        group = Group(TITLES[name], sort_key=place)
        hints = get_type_hints(kind)
        for item in fields(kind):  # type: ignore[arg-type]
            about = Parameter(
                help=item.metadata["about"],
                group=group,
                show_default=_default(item),
                consume_multiple=True,
                negative_iterable=(),
            )
            hint = str if item.name == "encoder_options" else hints[item.name]
            parameters.append(_flag(item.name, Annotated[hint | None, about]))
    return inspect.Signature(parameters, return_annotation=int)


def _flag(name: str, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def _default(item: Field[Any]) -> Callable[[Any], str] | bool:
    value = item.default
    if value is MISSING or value in (None, "", ()):
        return False
    if isinstance(value, bool):
        return _as("yes") if value else False
    return _as(" ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _as(text: str) -> Callable[[Any], str]:
    return lambda _: text


@contextmanager
def _reporting() -> Iterator[Callable[[Where], None]]:
    """What happens, on standard error: a line that moves in a terminal, else one now and then."""
    handler = _Lines()
    logger = logging.getLogger("wplus")
    before = (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    moving = bar.add_task("starting", total=None)
    said = time.monotonic()

    def report(at: Where) -> None:
        nonlocal said
        if console.is_terminal:
            bar.update(moving, total=at.steps, completed=at.step, description=str(at))
        elif time.monotonic() - said > QUIET or at.step == at.steps:
            said = time.monotonic()
            _say(str(at))

    try:
        with bar:
            yield report
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Lines(logging.Handler):
    """Records as lines above the one that moves."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        _say(self.format(record))


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


train.__signature__ = signature()  # type: ignore[attr-defined]
app.command(train, group=MODELS)
