"""Stopping in order: a signal or a time limit ends the run after the current step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """In its `with` block, the first Ctrl-C or SIGTERM is only noted; a second one acts as usual.

    Args:
        minutes: time after which a stop is requested; None for no limit.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.signal: int | None = None
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def requested(self) -> bool:
        """Whether the run should end."""
        return self._late or self.signal is not None

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    @property
    def reason(self) -> str:
        """Why the run should end, in words."""
        if self.signal is not None:
            return f"stopped by {signal.Signals(self.signal).name}"
        return "the time is up" if self._late else "another process was stopped"
