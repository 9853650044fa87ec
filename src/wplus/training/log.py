"""The log of a run: a line of JSON per event, TensorBoard, and a report of every step."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wplus.errors import ConfigError
from wplus.files import atomic, parse_json

FILE = "metrics.jsonl"


class Means:
    """Means of named numbers since the last line of the log; part of the state of a run."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._sums: dict[str, list[float]] = {k: list(v) for k, v in (state or {}).items()}

    def add(self, values: Mapping[str, float], count: float = 1.0) -> None:
        """Add values that are each a mean over `count` items."""
        for name, value in values.items():
            entry = self._sums.setdefault(name, [0.0, 0.0])
            entry[0] += value * count
            entry[1] += count

    def take(self) -> dict[str, float]:
        """Return the means, and start again."""
        means = {name: total / count for name, (total, count) in self._sums.items() if count}
        self._sums = {}
        return means

    def state(self) -> dict[str, list[float]]:
        """For `Means(state)`; JSON keeps every bit of it."""
        return {name: list(entry) for name, entry in self._sums.items()}


class Log:
    """`metrics.jsonl` of a run, and TensorBoard files in `tensorboard/` where it is installed.

    Lines after `step` are dropped: a killed run is resumed from its last state and writes them
    again.

    Args:
        folder: of the run.
        step: of the state that the run is resumed from.

    Raises:
        ConfigError: the log is there and cannot be read.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / FILE
        kept = [line for line in read(self.path) if line["step"] <= step]
        with atomic(self.path) as temporary:
            temporary.write_text("".join(_line(entry) for entry in kept), encoding="utf-8")
        self._file = self.path.open("ab", buffering=0)  # nothing is left to fail when it is closed
        self._board = _tensorboard(folder / "tensorboard", step)

    def write(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """Write one line.

        Args:
            event: "train" or "validation".
            step: steps made.
            values: numbers by name.

        Raises:
            OSError: the disk is full.
        """
        line = _line({"step": step, "event": event, **values}).encode()
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, "")
        except OSError as error:
            number = error.errno or errno.EIO
            raise OSError(number, os.strerror(number), str(self.path)) from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{event}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none if there is no file. A truncated last line is dropped.

    Raises:
        ConfigError: it cannot be read, or another line is no JSON table with a step.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            entry = parse_json(line)
            entry["step"], entry["event"]
        except (ValueError, KeyError, TypeError):
            if number == len(lines):  # no end of line: the process was killed while writing
                break
            raise ConfigError(f"{path}, line {number}: is no line of a training log") from None
        entries.append(entry)
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


@dataclass(frozen=True)
class StepReport:
    """What the last step of a run did.

    Attributes:
        step: steps made.
        steps: steps in all.
        terms: of the last step.
        images_per_second: over the last minute, waiting for data included.
        seconds_left: at that speed.
    """

    step: int
    steps: int
    terms: Mapping[str, float]
    images_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        shown = ("loss", *(name for name in self.terms if name not in ("loss", "gradient")))
        terms = "  ".join(f"{name} {self.terms[name]:.4f}" for name in shown if name in self.terms)
        speed, left = self.images_per_second, duration(self.seconds_left)
        return f"step {self.step}/{self.steps}  {terms}  {speed:.1f} images/s  {left} left"


def duration(seconds: float) -> str:
    """In words: 42 s, 5 min, 3 h 20 min, 2 d 5 h."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


class Speed:
    """Images per second, over the last minute or so."""

    def __init__(self, window: float = 60.0) -> None:
        self._window = window
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def add(self, images: int) -> float:
        """Count images of a finished step, and return the images per second."""
        now, done = time.monotonic(), self._marks[-1][1] + images
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._window:
            self._marks.pop(0)
        then, before = self._marks[0]
        return (done - before) / max(now - then, 1e-9)

    def pause(self, seconds: float) -> None:
        """Leave out seconds that were spent on validation or on saving."""
        self._marks = [(mark + seconds, done) for mark, done in self._marks]
