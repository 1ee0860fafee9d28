"""The one clock: wall time for people, monotonic time for latency."""

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Tells the time; tests and replays bring their own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never step back; comparable only within this process."""

    def now(self) -> datetime:
        """UTC wall-clock time; it may step, so it is never subtracted."""

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""


class SystemClock:
    """The machine's clock."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def now(self) -> datetime:
        """UTC wall-clock time."""
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)
