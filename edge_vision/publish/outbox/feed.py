"""What one sink has to deliver, in order."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edge_vision.core.message import Message
from edge_vision.publish.outbox.rows import Row

_MARKS: Final = 200
"""How finely it is remembered when what was settled, over `keep_s`."""


class Shelf(Protocol):
    """What a feed asks of its outbox."""

    @property
    def last(self) -> int:
        """The highest number that was given to a message."""

    def take(self, feed: "Feed", most: int) -> list[Row]:
        """The next messages of a feed."""

    def lose(self, feed: "Feed", message: Message, reason: str) -> None:
        """Note that a message in hand is lost."""

    def rewind(self, feed: "Feed") -> None:
        """Put back what is in hand, and what was delivered a short while ago."""


class Feed:
    """What one sink has to deliver; used by the thread of the sink.

    `kinds` are those it owes; `keep_s` is how long a message is kept for it after it was delivered. Positions are
    numbers of the outbox: up to `settled` everything is delivered or lost, up to `handed` it was handed out, and
    `in_hand` of that is neither. `waiting` counts what is not delivered, `lost` what will never be, by "source/kind".
    """

    def __init__(self, outbox: Shelf, lock: threading.Lock, name: str, kinds: Sequence[str], keep_s: float) -> None:
        self.name = name
        self.kinds = tuple(kinds)
        self.keep_s = keep_s
        self.settled = self.handed = self.in_hand = self.waiting = 0
        self.begun = 0
        """Up to here nothing was ever for it; 0 where that is not known, as of one that an earlier process began."""
        self.lost: Counter[str] = Counter()
        self._marks: deque[tuple[float, int]] = deque()
        self.wake: Callable[[], None] = lambda: None
        self._stale = 0
        self._outbox = outbox
        self._lock = lock

    def take(self, most: int) -> list[Row]:
        """The next messages, at most so many; empty when there are none for now. Never waits for new ones."""
        return self._outbox.take(self, most)

    def settle(self, count: int, oldest: int | None) -> None:
        """Put so many messages out of hand, delivered or lost; `oldest` is the lowest number still in hand, if any."""
        with self._lock:
            if self._stale:
                self._stale = max(0, self._stale - count)
                return
            self.in_hand -= count
            self.waiting -= count
            self.settled = self.handed if oldest is None else oldest - 1

    def lose(self, message: Message, reason: str) -> None:
        """Count a message in hand that can never be delivered; a gap record will tell. It is settled like others."""
        self._outbox.lose(self, message, reason)

    def rewind(self) -> None:
        """Hand out again what is in hand, and what was delivered in the last `keep_s` seconds."""
        self._outbox.rewind(self)

    def mark(self, lived_s: float) -> None:
        """Remember how far it is at a time of the outbox's life, in seconds. The outbox's lock is held."""
        step_s = self.keep_s / _MARKS
        if self.keep_s > 0 and (not self._marks or lived_s - self._marks[-1][0] >= step_s):
            self._marks.append((lived_s, self.settled))
        for _ in range(len(self._marks) - 1):
            if self._marks[1][0] > lived_s - self.keep_s:
                break
            self._marks.popleft()

    def settled_long(self, lived_s: float) -> int:
        """The number up to which all was settled `keep_s` seconds before a time of the outbox's life, or earlier.

        What an earlier process settled counts as settled at the first mark of this one. The outbox's lock is held.
        """
        if self.keep_s <= 0:
            return self.settled
        return max((settled for at_s, settled in self._marks if at_s <= lived_s - self.keep_s), default=0)

    @property
    def empty(self) -> bool:
        """Whether everything was handed out."""
        return self.handed >= self._outbox.last

    def hand_out(self, rows: Sequence[Row], up_to: int) -> None:
        """Note that these are in hand, and that up to a number there are no others. The outbox's lock is held."""
        self.in_hand += len(rows)
        self.handed = max(self.handed, up_to)
        if not self.in_hand:
            self.settled = self.handed

    def skip(self, up_to: int, count: int) -> None:
        """Leave out what was lost before it was handed out. The outbox's lock is held."""
        self.waiting -= count
        self.hand_out((), up_to)

    def go_back(self, to: int, waiting: int) -> None:
        """Hand out again what comes after a number. The outbox's lock is held.

        What is in hand is among that: that it is settled means nothing any more.
        """
        self._stale, self.in_hand = self.in_hand, 0
        self.settled = self.handed = to
        self.waiting = waiting
        self._marks = deque((at_s, min(settled, to)) for at_s, settled in self._marks)

    def restart(self, at: int, waiting: int) -> None:
        """The same, and nothing is in hand any more. The outbox's lock is held."""
        self.go_back(at, waiting)
        self._stale = 0
