"""What the commands share: the program, its errors, models and devices, progress."""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, get_args

from cyclopts import App, ArgumentCollection, CycloptsError, Group, Parameter

from wplus import __version__
from wplus.cli import signals
from wplus.cli.terminal import print_error, print_stopped, start_logging
from wplus.errors import WplusError

if TYPE_CHECKING:  # torch takes seconds to import: help and file lists go without it
    import torch

    from wplus.psp import PSP

app = App(
    name="wplus",
    help="""Photographs to the W+ codes of a pretrained StyleGAN, and back.

    Start with: wplus invert photo.jpg --out out

    Every command has --help with examples.""",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `main` knows which signal it was
    config=lambda _app, _commands, arguments: check_values(arguments),
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
USAGE = 2  # exit status of a command line that is none


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors become one line on standard error and a non-zero exit status.

    Args:
        arguments: of the command; by default those of the process.
    """
    tokens = [_path(token) for token in (sys.argv[1:] if arguments is None else arguments)]
    signals.catch()
    start_logging()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have all letters of a name
            stream.reconfigure(errors="backslashreplace")
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        stop()
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if signals.received():
            stop()
        if isinstance(error, CycloptsError):
            command = " ".join(["wplus", *(error.command_chain or ())])
            fail(f"{str(error).strip()} See {command} --help", USAGE)
        if isinstance(error, OSError) and error.filename is not None:
            fail(f"{error.filename}: {error.strerror}")
        if isinstance(error, MemoryError) and not str(error):
            fail("out of memory; close other programs or use --device")
        if not isinstance(error, WplusError | OSError | MemoryError):
            if os.environ.get("WPLUS_DEBUG"):
                raise
            fail(f"{type(error).__name__}: {error} (set WPLUS_DEBUG=1 to see where)")
        fail(error)


def _path(token: str) -> str:
    """A file named like an option, such as -dash.jpg of *.jpg, is written ./-dash.jpg."""
    like_option = re.match(r"-[^-\d.]", token) and token != "-h"
    return f"./{token}" if like_option and os.path.lexists(token) else token


def check_values(arguments: ArgumentCollection) -> None:
    """Refuse values that would be taken for others: 0.5 for 0, an empty path for this folder."""
    for argument in arguments:
        types = {argument.hint, *get_args(argument.hint)}
        types |= {each for hint in types for each in get_args(hint)}
        for token in argument.tokens:
            name, value = token.keyword or argument.name, token.value
            if not value and (Path in types or token.keyword is None):
                raise WplusError(f"{name} '': is empty; name a file or folder")
            with suppress(ValueError):  # what is no number at all is refused with its type
                number = float(value)
                if int in types and not number.is_integer():
                    raise WplusError(f"{name} {value}: must be a whole number")
                if float in types and not math.isfinite(number):
                    raise WplusError(f"{name} {value}: must be a finite number")


def stop() -> NoReturn:
    """Leave as a signal wants it; further ones, of the impatient, change nothing."""
    signals.ignore()
    print_stopped()
    sys.exit(signals.status())


def fail(reason: object, status: int = 1) -> NoReturn:
    """Print one line and leave."""
    print_error(reason)
    sys.exit(status)


def load_model(model: str, device: str, precision: Precision = "float32") -> PSP:
    """The model that --model, --device and --precision name. Raises WplusError."""
    import torch

    from wplus.models import load

    return load(model, device_of(device), getattr(torch, precision))


def device_of(name: str) -> torch.device:
    """The device that --device names; auto takes a GPU where there is one."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # not on meta, nor on a device that is not there
    except (RuntimeError, NotImplementedError, AssertionError, ImportError):
        raise WplusError(
            f"--device {name}: this machine has none; use auto, cpu, cuda, cuda:1 or mps"
        ) from None
    return device
