"""What signals ask of the process: to stop, to end at once, to read the site file again."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Runs(Protocol):
    """A run that can be asked to end, or to begin anew; `asked_to_reload` until it has begun to read the file."""

    asked_to_reload: bool

    def stop(self) -> None:
        """Ask it to end in order."""

    def reload(self) -> None:
        """Ask it to read its file again."""


class Signals:
    """Passes signals on to whichever daemon runs now."""

    def __init__(self) -> None:
        self.asked_to_stop = False
        self._daemon: Runs | None = None

    def listen(self, daemon: Runs) -> None:
        """Pass signals on to this one from now on, and what the one before had no time for."""
        before, self._daemon = self._daemon, daemon
        if before is not None and before.asked_to_reload:
            daemon.reload()
        if self.asked_to_stop:
            daemon.stop()

    def stop(self, number: int, _frame: Any) -> None:
        """SIGTERM or SIGINT: a request to stop; a second one ends the process at once."""
        if self.asked_to_stop:
            os._exit(128 + number)
        self.asked_to_stop = True
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self, _number: int, _frame: Any) -> None:
        """SIGHUP: a request to read the site file again."""
        if self._daemon is not None:
            self._daemon.reload()


@contextmanager
def taken_signals() -> Iterator[Signals]:
    """Take signals as requests to the daemon, and pass none on after that. For the main thread only."""
    signals = Signals()
    handlers = {signal.SIGTERM: signals.stop, signal.SIGINT: signals.stop, signal.SIGHUP: signals.reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
