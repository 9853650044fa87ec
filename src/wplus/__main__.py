"""The command `wplus`, as a script and as `python -m wplus`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command. While it is still being imported, a signal ends it at once, in one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    from wplus.cli import main as command

    command()


def _end(number: int, frame: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
