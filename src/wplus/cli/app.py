"""What the commands share: the program, its errors, models and devices, progress."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from wplus import __version__
from wplus.cli.terminal import console, print_error, start_logging
from wplus.errors import WplusError
from wplus.progress import ProgressFor

if TYPE_CHECKING:  # torch takes seconds to import: help and file lists go without it
    import torch

    from wplus.psp import PSP

app = App(
    name="wplus",
    help="""Photographs to the W+ codes of a pretrained StyleGAN, and back.

    Start with: wplus invert photo.jpg --out out

    Every command has --help with examples.""",
    version=__version__,
)
app["--help"].group = app["--version"].group = Group("The program", sort_key=9)
FACES = Group("Faces and codes", sort_key=1)
EDITING = Group("Editing", sort_key=2)
MODELS = Group("Data, training, models", sort_key=3)
Model = Annotated[
    str,
    Parameter(
        help="A shipped model, such as faces, or a model file: .safetensors, a published .pt, ….",
    ),
]
Device = Annotated[
    str, Parameter(help="auto (a GPU where there is one), cpu, cuda, cuda:1, mps, ….")
]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print JSON instead, for programs.")
]
Flag = Annotated[bool, Parameter(negative=())]
Precision = Literal["float32", "bfloat16"]
DEFAULT_MODEL = "faces"


def main() -> None:
    """Entry point: errors become one line on standard error and a non-zero exit status."""
    start_logging()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have all letters of a name
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except WplusError as error:
        fail(error)
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, MemoryError) as error:
        fail(error if str(error) else "out of memory; close other programs or use --device")
    except Exception as error:
        if os.environ.get("WPLUS_DEBUG"):
            raise
        fail(f"{type(error).__name__}: {error} (set WPLUS_DEBUG=1 to see where)")


def fail(reason: object) -> None:
    """Print one line and leave with status 1."""
    print_error(reason)
    sys.exit(1)


def load_model(model: str, device: str, precision: Precision = "float32") -> PSP:
    """The model that --model, --device and --precision name. Raises WplusError."""
    import torch

    from wplus.models import load

    return load(model, device_of(device), getattr(torch, precision))


def device_of(name: str) -> torch.device:
    """The device that --device names; auto takes a GPU where there is one."""
    import torch

    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError:
            raise WplusError(f"--device {name}: use auto, cpu, cuda, cuda:1 or mps") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextmanager
def bar(quiet: bool) -> Iterator[Progress]:
    """A progress bar on standard error; hidden where nobody would see it."""
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    hidden = quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden) as progress:
        yield progress


def stages(progress: Progress) -> ProgressFor:
    """A bar for each named part of the work."""

    def begin(name: str) -> Callable[[int, int], None]:
        task = progress.add_task(name, total=None)
        return lambda done, total: progress.update(task, completed=done, total=total)

    return begin


def show(table: Table) -> None:
    """Print a table: as wide as the terminal, or wide enough for whoever reads a pipe."""
    Console(width=None if sys.stdout.isatty() else 200).print(table)
