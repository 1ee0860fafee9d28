"""What waits, and for whom: what those who put and take share with the thread that writes."""

import threading
from typing import Final

from edge_vision.core.errors import CorruptOutboxError, OutboxError
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper
from edge_vision.publish.outbox.losses import Losses
from edge_vision.publish.outbox.place import Place
from edge_vision.publish.outbox.rows import Row
from edge_vision.publish.outbox.tail import Tail
from edge_vision.runtime.clock import Clock

_BITS: Final = 20
"""Numbers in memory, while those on disk are not known, begin at the milliseconds of 1970 times 2 to this power."""


class Stock:
    """Positions are numbers that are given in `put`: up to `last` they are given, up to `committed` they are on disk.

    All of it is used under `lock`, but for `place`, which is each thread's own, and `work`, which wakes the writer.
    """

    def __init__(self, place: Place, clock: Clock, memory_bytes: int) -> None:
        self.place = place
        self.clock = clock
        self.lock = threading.Lock()
        self.work = threading.Event()
        self.tail = Tail(memory_bytes)
        self.feeds: list[Feed] = []
        self.keepers: list[Keeper] = []
        self.owing: dict[str, list[Feed]] = {}
        self.losses = Losses()
        self.damage = ""
        """What a reader found wrong with the file; the writer looks after it."""
        self.base = self.last = int(clock.now().timestamp() * 1000) << _BITS
        self.committed = 0
        self.lived_before_s = 0.0
        self.begun_ns = clock.monotonic_ns()

    @property
    def lived_s(self) -> float:
        """How long this outbox has lived, by the time its processes ran: no step of the wall clock makes it older."""
        return self.lived_before_s + (self.clock.monotonic_ns() - self.begun_ns) / 1e9

    def delivered(self, row: Row) -> bool:
        """Whether no sink owes it any more."""
        return all(feed.settled >= row.n for feed in self.owing.get(row.message.kind, ()))

    def positions(self, last: int) -> dict[str, int]:
        """How far each sink is, up to a number."""
        return {feed.name: min(feed.settled, last) for feed in self.feeds}

    def make_room(self, weight: int) -> None:
        """Drop the oldest of what is not on disk until so many bytes fit."""
        reason = f"the disk took nothing, and the {self.tail.most_bytes / 1e6:g} MB of memory were full"
        held = [(feed.settled + 1, feed.handed) for feed in self.feeds if feed.in_hand]
        for row in self.tail.make_room(weight, held):
            for feed in self.owing.get(row.message.kind, ()):
                if feed.handed < row.n:
                    self.losses.pass_over(feed, reason, row.message)
                    feed.waiting -= 1

    def kept(self, feed: Feed, after: int) -> int:
        """How many messages for a feed are kept after a number. Raises OutboxError where the disk must be asked."""
        on_disk = 0
        if after < self.committed:
            on_disk = self.place.reader().count(after, self.committed, feed.kinds)
        return on_disk + self.tail.count(after, feed.kinds)

    def suspect(self, error: OutboxError) -> None:
        """A reader met something: the writer looks after it. Without the lock, too."""
        if isinstance(error, CorruptOutboxError):
            self.damage = self.damage or str(error)
            self.work.set()
