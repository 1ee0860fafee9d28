"""A queue in front of each device: so many inferences at once, in order of priority, each with a limit."""

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge_vision.core.errors import InferenceError


@dataclass(order=True)
class _Ticket:
    priority: int
    number: int
    called: bool = field(default=False, compare=False)
    turn: threading.Condition = field(default_factory=threading.Condition, compare=False)


class Slots:
    """Lets `count` inferences run side by side on a device.

    Who waits is served by priority (0 before 1), then first come, first served: a camera has one frame under way
    at most, so that cameras of one priority take turns. Thirty-two cameras thus share what the device serves well,
    and not thirty-two thread pools.
    """

    def __init__(self, device: str, count: int) -> None:
        self.device = device
        self.count = count
        self._free = count
        self._waiting: list[_Ticket] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, timeout_s: float, priority: int = 0) -> Iterator[None]:
        """Hold one slot. Raises InferenceError when none came free within `timeout_s`."""
        self._take(timeout_s, priority)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, timeout_s: float, priority: int) -> None:
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return
            ticket = _Ticket(priority, next(self._numbers), turn=threading.Condition(self._lock))
            heapq.heappush(self._waiting, ticket)
            if ticket.turn.wait_for(lambda: ticket.called, timeout_s):
                return
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            ahead = self.count - self._free
        msg = f"no turn on {self.device} within {timeout_s:g} s: {ahead} of {self.count} slots are taken"
        raise InferenceError(msg)

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:  # the slot passes straight on
                ticket = heapq.heappop(self._waiting)
                ticket.called = True
                ticket.turn.notify()
            else:
                self._free += 1
