"""`wplus train`: every setting of `training.config` is a flag."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from rich.progress import BarColumn, Progress, TextColumn

from wplus import tasks
from wplus.cli.app import MODELS, app
from wplus.cli.memory import keep_freed_memory
from wplus.cli.terminal import console, print_json, print_line, print_progress
from wplus.errors import ConfigError, WplusError
from wplus.files import parse_json
from wplus.training import config
from wplus.training.config import GROUPS

if TYPE_CHECKING:
    from torch import Tensor

    from wplus.generators import Generator
    from wplus.training.log import StepReport

JSON = {"encoder_options", "corrector_options"}  # flags that take JSON
QUIET = 30.0  # seconds between two lines of progress where there is no terminal
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
    """Train an encoder or corrector; the same command again resumes an interrupted run.

    Settings come from the flags, then from the file of --config, then from the run itself if it
    exists, then from the paper. Ctrl-C finishes the current step, saves the state and ends.
    `docs/training.md` describes the files of a run.

    Example: wplus train --task inversion --data photos --validation others --out runs/faces

    Parameters
    ----------
    out
        Folder of the run, new or to be resumed.
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
        print_json(json.loads(settings.to_json()))
        return 0
    from wplus.training.loop import train as run

    keep_freed_memory()
    components = None
    if settings.network.corrector is not None:
        from wplus.training import corrector

        components = corrector.build(settings, _directions)
    with _reporting() as report:
        result = run(settings, out, components=components, on_step=report)
    if result.rank == 0:
        lines = [f"{out}: {result.reason}, {result.step} of {result.steps} steps made"]
        if result.best:
            lines.append(f"best loss {result.best['loss']:.4f} at step {result.best['step']}")
        if result.step < result.steps:
            lines.append("the same command resumes it")
        print_line("; ".join(lines))
    return 128 + result.signal if result.signal else 0


def _directions(generator: Generator) -> Tensor:
    """The ends (K, 2, L, style_dim) of the named directions of a generator, if it has any."""
    import torch

    from wplus.editing.directions import shipped

    try:
        named = shipped(generator).values()
    except ConfigError:  # it is another generator
        return torch.zeros(0)
    return torch.stack([torch.stack([d.low * d.vector, d.high * d.vector]) for d in named])


def tables(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags of a command line as the JSON form of a configuration.

    Raises:
        ConfigError: options of a network are no JSON, or --loss is not name=weight.
    """
    content: dict[str, Any] = {name: flags[name] for name in ("task",) if name in flags}
    for name, group in GROUPS.items():
        names = [option.name for option in group.options()]
        content[name] = {flag: flags[flag] for flag in names if flag in flags}
    content["losses"] |= _weights(flags.get("loss") or ())
    for name in JSON & content["network"].keys():
        text = content["network"][name]
        try:
            content["network"][name] = None if text is None else parse_json(text)
        except ValueError as error:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} {text}: is no JSON ({error})") from None
    return content


def _weights(pairs: Sequence[str]) -> dict[str, float]:
    weights = {}
    for pair in pairs:
        name, _, weight = pair.partition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise ConfigError(f"--loss {pair}: must be name=weight, such as l2=1.0") from None
    return weights


def signature() -> inspect.Signature:
    """The command's signature: `out` and the like, then a flag for every setting.

    A flag that is not given has no value, so that it does not override a saved setting; the help
    shows the settings' defaults.
    """
    names = ", ".join(tasks.TASKS)
    task = Parameter(help=f"The task: {names}.", show_default=_show("inversion"))
    parameters = [
        *list(inspect.signature(train, eval_str=True).parameters.values())[:-1],
        _flag("task", Annotated[str | None, task]),
    ]
    for place, (name, settings) in enumerate(GROUPS.items(), start=1):
        group = Group(TITLES[name], sort_key=place)
        for option in settings.options():
            about = Parameter(
                help=option.about,
                group=group,
                show_default=_default(option.default),
                consume_multiple=True,
                negative_iterable=(),
            )
            hint = str if option.name in JSON else option.hint
            parameters.append(_flag(option.name, Annotated[hint | None, about]))
        if name == "losses":
            about = Parameter(
                help="Weight of any loss, such as one that you registered: name=weight.",
                group=group,
                consume_multiple=True,
                negative_iterable=(),
            )
            parameters.append(_flag("loss", Annotated[tuple[str, ...] | None, about]))
    return inspect.Signature(parameters, return_annotation=int)


def _flag(name: str, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def _default(value: object) -> Callable[[Any], str] | bool:
    if value in (None, "", (), False):
        return False
    if value is True:
        return _show("yes")
    return _show(" ".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _show(text: str) -> Callable[[Any], str]:
    return lambda _: text


@contextmanager
def _reporting() -> Iterator[Callable[[StepReport], None]]:
    """Report on standard error: a moving line in a terminal, else a line every `QUIET` seconds."""
    handler = _Lines()
    logger = logging.getLogger("wplus")
    before = (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    moving = bar.add_task("starting", total=None)
    last = time.monotonic()

    def report(at: StepReport) -> None:
        nonlocal last
        if console.is_terminal:
            bar.update(moving, total=at.steps, completed=at.step, description=str(at))
        elif time.monotonic() - last > QUIET or at.step == at.steps:
            last = time.monotonic()
            print_progress(str(at))

    try:
        with bar:
            yield report
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Lines(logging.Handler):
    """Print log records above the moving line."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        print_progress(self.format(record))


train.__signature__ = signature()  # type: ignore[attr-defined]
app.command(train, group=MODELS)
