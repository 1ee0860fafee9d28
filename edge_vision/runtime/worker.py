"""A named thread that reports its progress, its end and its error."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable

from edge_vision.core.errors import EdgeVisionError
from edge_vision.runtime.clock import Clock

_log = logging.getLogger(__name__)


class Worker:
    """Runs `work(self)` on a daemon thread of its own.

    `work` calls `beat()` whenever it makes progress, idle turns included, at least every `limit_s` seconds; a
    worker silent for longer is stuck. It ends when `work` returns, or soon after `stop()` was called.
    """

    def __init__(self, name: str, work: Callable[["Worker"], None], limit_s: float, clock: Clock) -> None:
        self.name = name
        self.limit_s = limit_s
        self.error: BaseException | None = None
        self.stopping = threading.Event()
        self._work = work
        self.clock = clock
        self._beat_ns = clock.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Say that progress was made."""
        self._beat_ns = self.clock.monotonic_ns()

    def stop(self) -> None:
        """Ask it to end; it looks at `stopping` between two steps of its work."""
        self.stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; False when it did not come in time."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def silent_s(self) -> float:
        """Seconds since its last sign of progress."""
        return (self.clock.monotonic_ns() - self._beat_ns) / 1e9

    @property
    def stuck(self) -> bool:
        """Whether it runs, and has been silent past its limit."""
        return self.alive and self.silent_s > self.limit_s

    def stack(self) -> str:
        """Where the thread is now, as a traceback."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - the documented way
        return "".join(traceback.format_stack(frame)) if frame else "(no stack: the thread has ended)\n"

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as error:  # noqa: BLE001 - kept for the supervisor, who decides
            self.error = error
            bug = None if isinstance(error, EdgeVisionError) else error
            _log.error("%s ended: %s: %s", self.name, type(error).__name__, error, exc_info=bug)
