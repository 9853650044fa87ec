"""Ctrl-C and SIGTERM end every command alike: what is done is kept, the status is 128 + signal."""

from __future__ import annotations

import signal

_received: list[int] = []


def catch() -> None:
    """Let both raise KeyboardInterrupt, but where the caller has them ignored (nohup)."""
    _received.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(number: int, frame: object) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def received() -> bool:
    """Whether a signal came: what fails afterwards, such as a half-done import, is its doing."""
    return bool(_received)


def status() -> int:
    """The exit status of a command that a signal has ended."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


def ignore() -> None:
    """Take no further ones: the command is ending."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
