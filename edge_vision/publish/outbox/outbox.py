"""Keeps what may not be lost: in memory for the moment until it is on disk, and on disk until it is delivered.

One thread writes (`writer.py`). Sinks read through feeds of their own and say there how far they are; they never write.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import OutboxError
from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper
from edge_vision.publish.outbox.place import Place
from edge_vision.publish.outbox.rows import Range, Row
from edge_vision.publish.outbox.stock import Stock
from edge_vision.publish.outbox.store import Reader
from edge_vision.publish.outbox.writer import Writer
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import Clock

_MEMORY_BYTES: Final = 32_000_000
"""For what is not on disk yet; the oldest make room, counted."""


class Outbox:
    """The outbox of one site.

    `tell` is given each gap with its source, and is expected to make a message of it that comes back through `put`.
    Where the disk is full, or does not work, memory serves until it does. Raises OutboxInUseError where another process
    has `folder`, OutboxError where it can never be used.

    `put`, `reader`, `in_memory` and what it says of itself are for any thread, a feed is for that of its sink, the rest
    is for one thread.
    """

    def __init__(
        self,
        folder: Path,
        options: OutboxOptions,
        clock: Clock,
        tell: Callable[[str, Gap], None],
        memory_bytes: int = _MEMORY_BYTES,
    ) -> None:
        self._place = Place(folder)
        self._stock = Stock(self._place, clock, memory_bytes)
        self._lock, self._work = self._stock.lock, self._stock.work
        self._wanted: set[str] = set()
        self._writer = Writer(self._stock, options, tell, self.put)
        self.worker = self._writer.worker
        self._writer.open()

    def feed(self, name: str, kinds: Sequence[str], keep_s: float) -> Feed:
        """What a sink has to deliver, going on where it was; a new sink begins with what comes. Before `start`."""
        feed = Feed(self, self._lock, name, kinds, keep_s)
        self._writer.begin(feed)
        self._stock.feeds.append(feed)
        for kind in kinds:
            self._stock.owing.setdefault(kind, []).append(feed)
        self._wanted.update(kinds)
        return feed

    def keep(self, keeper: Keeper) -> None:
        """Keep messages for somebody who may ask for them again. Before `start`."""
        self._stock.keepers.append(keeper)
        self._wanted.update(keeper.kinds)

    def start(self) -> None:
        """Begin to write; what no sink owes any more is let go."""
        self.worker.start()

    def say_last_words(self) -> None:
        """The end is near: from now on losses are told at once, while sinks can still deliver that."""
        self._writer.say_last_words()

    def end(self) -> None:
        """No more messages: what is in memory is written, and the thread ends."""
        self._writer.end()

    def close(self) -> None:
        """Let another process have it; after the thread has ended."""
        self._writer.close()
        self._place.leave()

    def put(self, message: Message) -> None:
        """Take a message that a sink owes, or that is to be kept.

        Never waits for the disk; what memory cannot hold is lost, counted.
        """
        if message.kind not in self._wanted:
            return
        stock = self._stock
        with self._lock:
            if stock.tail.weight + message.weight > stock.tail.most_bytes:
                stock.make_room(message.weight)
            stock.last += 1
            stock.tail.put(Row(stock.last, stock.lived_s, message))
            owing = stock.owing.get(message.kind, ())
            for feed in owing:
                feed.waiting += 1
        if not self._work.is_set():
            self._work.set()
        for feed in owing:
            feed.wake()

    def reader(self) -> Reader:
        """The reading side of the file, for the calling thread. Raises OutboxError."""
        return self._place.reader()

    def in_memory(self) -> list[Message]:
        """What is not on disk yet, in order."""
        with self._lock:
            return [row.message for row in self._stock.tail]

    @property
    def last(self) -> int:
        """The highest number that was given to a message."""
        return self._stock.last

    @property
    def state(self) -> str:
        """Whether it can be written: online, or lost."""
        return "lost" if self._writer.trouble.text else "online"

    @property
    def unsaved(self) -> int:
        """Messages that are neither on disk nor delivered."""
        with self._lock:
            return sum(not self._stock.delivered(row) for row in self._stock.tail)

    @property
    def untold(self) -> bool:
        """Whether anything was lost of which no gap record is on disk or delivered."""
        with self._lock:
            return self._stock.losses.noted

    def give_up_unsaved(self) -> int:
        """How many messages are neither on disk nor delivered; no sink waits for them any more. After the thread."""
        unsaved = self.unsaved
        with self._lock:
            for feed in self._stock.feeds if unsaved else ():
                feed.waiting = max(0, feed.waiting - self._stock.tail.count(feed.settled, feed.kinds))
        return unsaved

    def facts(self) -> dict[str, Any]:
        """What the site's status says of it."""
        text = self._writer.trouble.text
        return {"state": self.state, "set_aside": self._place.set_aside, **({"error": text} if text else {})}

    # What the feeds ask; each on the thread of its sink.

    def take(self, feed: Feed, most: int) -> list[Row]:
        """The next messages of a feed."""
        stock = self._stock
        with self._lock:
            after, committed = feed.handed, stock.committed
        if after < committed:
            rows, seen = self._read(after, committed, feed.kinds, most)
            with self._lock:
                rows = [row for row in rows if row.n > feed.handed]  # fewer, when some were cut meanwhile
                feed.hand_out(rows, seen)
            if rows:
                return rows
        with self._lock:
            if feed.handed >= stock.last and not feed.in_hand and feed.waiting > 0:
                reason = "they are not to be found in the file they waited in"
                stock.losses.lose_unknown(feed, feed.waiting, reason)
                feed.waiting = 0
            if feed.handed < stock.committed or feed.handed >= stock.last:
                return []
            rows, seen = stock.tail.after(feed.handed, feed.kinds, most)
            feed.hand_out(rows, seen)
            return rows

    def _read(self, after: int, last: int, kinds: Sequence[str], most: int) -> tuple[list[Row], int]:
        files = self._place.set_aside
        try:
            return self._place.reader().read(after, last, kinds, most)
        except OutboxError as error:
            if files == self._place.set_aside:  # else the damaged file is gone already
                self._stock.suspect(error)
        return [], after

    def lose(self, feed: Feed, message: Message, reason: str) -> None:
        """Note that a message in hand is lost."""
        with self._lock:
            self._stock.losses.lose(feed, reason, Range.of(message))
        self._work.set()

    def rewind(self, feed: Feed) -> None:
        """Put back what is in hand, and what was delivered a short while ago."""
        stock = self._stock
        with self._lock:
            begun, waiting, missing = feed.settled, feed.waiting, 0
            try:
                begun = max(feed.begun, min(begun, feed.settled_long(stock.lived_s)))
                waiting = stock.kept(feed, begun)
                missing = feed.waiting - stock.kept(feed, feed.settled)
            except OutboxError as error:  # then without what was delivered
                stock.suspect(error)
                begun, waiting = feed.settled, feed.waiting
            feed.restart(begun, waiting)
            stock.losses.lose_unknown(feed, missing, "they were in hand when memory or the disk let go of them")
        self._work.set()
