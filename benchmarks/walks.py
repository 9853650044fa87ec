"""Follow a photograph, an option and a setting through the code: files entered and depth of calls.

    python benchmarks/walks.py invert PHOTO
    python benchmarks/walks.py layers SKETCH
    python benchmarks/walks.py weight PHOTO_FOLDER

Runs the command in this process with a tracer, and prints the functions of wplus that the walk
enters in their order (only those that hold the value, where a value is followed), how many files
they stand in, and how deep the calls of wplus are nested in each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import tempfile
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

import wplus

PACKAGE = str(Path(wplus.__file__).parent) + "/"


def holds(value: Any, marker: object, depth: int = 3) -> bool:
    """Whether a value is the marker, or a table, list, dataclass or namespace that has it."""
    if type(value) is type(marker) and value == marker:
        return True
    if depth == 0:
        return False
    inner: list[Any] = []
    if type(value) is dict:
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, item.name, None) for item in dataclasses.fields(value)]
    elif type(value).__module__.startswith("wplus"):
        inner = list(getattr(value, "__dict__", {}).values())
    return any(holds(each, marker, depth - 1) for each in inner[:200])


class Walk:
    """A tracer of calls inside wplus."""

    def __init__(self, marker: object = None) -> None:
        self.marker = marker
        self.depth = self.deepest = 0
        self.entered: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Called by the interpreter at every call and return."""
        name = frame.f_code.co_filename
        if event not in ("call", "return") or not name.startswith(PACKAGE):
            return
        if frame.f_code.co_name.startswith("<") or not frame.f_code.co_flags & CO_OPTIMIZED:
            return  # comprehensions, modules, and bodies of classes are no calls of the walk
        if event == "return":
            self.depth = max(0, self.depth - 1)
            return
        self.depth += 1
        if self.marker is not None:
            count = frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount
            values = [frame.f_locals.get(each) for each in frame.f_code.co_varnames[:count]]
            if not any(holds(value, self.marker) for value in values):
                return
        self.deepest = max(self.deepest, self.depth)
        self.entered.setdefault(f"{name.removeprefix(PACKAGE)}:{frame.f_code.co_name}")


def main() -> None:
    """Run one walk."""
    what, file = sys.argv[1:3]
    out = tempfile.mkdtemp()
    sketch = ["--task", "sketch", "--outputs", "2", "--layers", "64-512px"]
    short = ["--l2", "0.765", "--steps", "2", "--batch", "2"]
    command, marker = {
        "invert": (["invert", file, "--out", out], None),
        "layers": (["translate", file, *sketch, "--out", out], "64-512px"),
        "weight": (["train", "--data", file, *short, "--out", f"{out}/run"], 0.765),
    }[what]
    from wplus.cli import main as program

    walk = Walk(marker)
    sys.argv = ["wplus", *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        sys.setprofile(walk)
        try:
            program()
        finally:
            sys.setprofile(None)
    files: dict[str, list[str]] = {}
    for place in walk.entered:
        path, _, function = place.partition(":")
        files.setdefault(path, []).append(function)
    for path, functions in files.items():
        print(f"  {path}: {', '.join(functions)}")
    print(f"{what}: {len(files)} files, {len(walk.entered)} functions, depth {walk.deepest}")


if __name__ == "__main__":
    main()
