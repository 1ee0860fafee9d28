"""Keeps what may not be lost: in memory for the moment until it is on disk, and on disk until it is delivered.

One thread writes. Sinks read through feeds of their own and say there how far they are; they never write.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import CorruptOutboxError, OutboxError
from edge_vision.core.message import Message
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper
from edge_vision.publish.outbox.losses import Losses
from edge_vision.publish.outbox.place import Place
from edge_vision.publish.outbox.store import Range, Reader, Row
from edge_vision.publish.outbox.trim import Trimmer
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import POLL_S, repeat
from edge_vision.runtime.trouble import Trouble
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_GATHER_S: Final = 0.02
"""How long a message may wait for others to share its commit."""
_BATCH: Final = 2_000
"""Messages in one commit, at most."""
_MEMORY_BYTES: Final = 32_000_000
"""For what is not on disk yet; the oldest make room, counted."""
_TRIM_NS: Final = 1_000_000_000
_RETRY_NS: Final = 1_000_000_000
_TELL_NS: Final = 10_000_000_000
"""While nothing can be written, gaps are told this often."""
_LIMIT_S: Final = 300.0
"""How long a disk may take for one step."""


class Outbox:
    """The outbox of one site.

    `tell` is given each gap with its source, and is expected to make a message of it that comes back through `put`.
    Raises OutboxError where `folder` cannot be used, OutboxInUseError where another process does.
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
        self._clock = clock
        self._tell = tell
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._tail: deque[Row] = deque()
        self._tail_bytes = 0
        self._feeds: list[Feed] = []
        self._keepers: list[Keeper] = []
        self._trouble = Trouble()
        self._losses = Losses()
        self._damage = ""
        self._ending = False
        self._retry_ns = self._trimmed_ns = self._told_ns = 0
        self._store, self._settled, self._lived_before_s = self._place.open()
        self._begun_ns = clock.monotonic_ns()
        self._committed = self._last = max(self._store.last(), 0, *self._settled.values())
        self._trimmer = Trimmer(options, self._lock, self._feeds, self._keepers, self._lose)
        self.worker = Worker("outbox", self._run, _LIMIT_S, clock)

    def feed(self, name: str, kinds: Sequence[str], keep_s: float) -> Feed:
        """What a sink has to deliver, going on where it was; a new sink begins with what comes. Before `start`."""
        feed = Feed(self, self._lock, name, kinds, keep_s)
        begun = self._settled.get(name, self._last)
        feed.settled = feed.handed = begun
        feed.waiting = self._store.count(begun, self._last, feed.kinds)
        if self._place.damage:
            self._losses.add_unknown(name, self._place.damage, None)
        self._feeds.append(feed)
        return feed

    def keep(self, keeper: Keeper) -> None:
        """Keep messages for somebody who may ask for them again. Before `start`."""
        self._keepers.append(keeper)

    def start(self) -> None:
        """Begin to write; what no sink owes any more is let go."""
        names = {feed.name for feed in self._feeds}
        wanted = {kind for feed in self._feeds for kind in feed.kinds}
        wanted |= {kind for keeper in self._keepers for kind in keeper.kinds}
        with self._store.transaction():
            self._store.forget([name for name in self._settled if name not in names])
            self._store.delete_others([kind for kind in MESSAGE_KINDS if kind in wanted])
        self.worker.start()

    def end(self) -> None:
        """No more messages: what is in memory is written, and the thread ends."""
        self._ending = True
        self._work.set()

    def close(self) -> None:
        """Let another process have it; after the thread has ended."""
        self._store.close()
        self._place.leave()

    def put(self, message: Message) -> None:
        """Take a message that a sink owes, or that is to be kept.

        Never waits for the disk; what memory cannot hold is lost, counted.
        """
        with self._lock:
            owing = self._owing(message.kind)
            if not owing and not any(message.kind in keeper.kinds for keeper in self._keepers):
                return
            self._make_room(message.weight)
            self._last += 1
            self._tail.append(Row(self._last, self._lived_s(), message))
            self._tail_bytes += message.weight
            for feed in owing:
                feed.waiting += 1
        self._work.set()
        for feed in owing:
            feed.wake()

    def reader(self) -> Reader:
        """The reading side of the file, for the calling thread. Raises OutboxError."""
        return self._place.reader()

    def in_memory(self) -> list[Message]:
        """What is not on disk yet, in order."""
        with self._lock:
            return [row.message for row in self._tail]

    @property
    def last(self) -> int:
        """The highest number that was given to a message."""
        return self._last

    @property
    def state(self) -> str:
        """Whether it can be written: online, or lost."""
        return "lost" if self._trouble.text else "online"

    @property
    def unsaved(self) -> int:
        """Messages that are neither on disk nor delivered."""
        with self._lock:
            return sum(any(feed.settled < row.n for feed in self._owing(row.message.kind)) for row in self._tail)

    def facts(self) -> dict[str, Any]:
        """What the site's status says of it."""
        return {
            "state": self.state,
            "set_aside": self._place.set_aside,
            **({"error": self._trouble.text} if self._trouble.text else {}),
        }

    # What the feeds ask; each on the thread of its sink.

    def take(self, feed: Feed, most: int) -> list[Row]:
        """The next messages of a feed."""
        with self._lock:
            after, committed = feed.handed, self._committed
        if after < committed:
            rows, seen = self._read(after, committed, feed.kinds, most)
            with self._lock:
                rows = [row for row in rows if row.n > feed.handed]  # fewer, when some were cut meanwhile
                feed.hand_out(rows, seen)
            if rows:
                return rows
        with self._lock:
            if feed.handed < self._committed or not self._tail:
                return []
            rows, seen = [], feed.handed
            for row in islice(self._tail, max(0, feed.handed + 1 - self._tail[0].n), None):
                seen = row.n
                if row.message.kind in feed.kinds:
                    rows.append(row)
                    if len(rows) >= most:
                        break
            feed.hand_out(rows, seen)
            return rows

    def lose(self, feed: Feed, message: Message, reason: str) -> None:
        """Note that a message in hand is lost."""
        with self._lock:
            self._lose(feed, reason, _alone(message))
        self._work.set()

    def rewind(self, feed: Feed) -> None:
        """Put back what is in hand, and what was delivered a short while ago."""
        since_s = self._lived_s() - feed.keep_s
        try:
            reader = self._place.reader()
            begun = min(feed.settled, reader.number_at(since_s) - 1)
            kept = reader.count(begun, feed.settled, feed.kinds)
        except OutboxError as error:
            self._suspect(error)
            begun, kept = feed.settled, 0
        with self._lock:
            feed.waiting += kept
            feed.handed = feed.settled = begun
            feed.in_hand = 0

    def _read(self, after: int, last: int, kinds: Sequence[str], most: int) -> tuple[list[Row], int]:
        try:
            return self._place.reader().read(after, last, kinds, most)
        except OutboxError as error:
            self._suspect(error)
            return [], after

    def _suspect(self, error: OutboxError) -> None:
        """A reader met something: the writer looks after it."""
        if isinstance(error, CorruptOutboxError):
            self._damage = self._damage or str(error)
            self._work.set()

    # Under the lock.

    def _owing(self, kind: str) -> list[Feed]:
        return [feed for feed in self._feeds if kind in feed.kinds]

    def _make_room(self, weight: int) -> None:
        """Drop the oldest of what is not on disk until so many bytes fit."""
        reason = f"the disk took nothing, and the {self._memory_bytes / 1e6:g} MB of memory were full"
        for _ in range(len(self._tail)):
            if self._tail_bytes + weight <= self._memory_bytes:
                return
            row = self._tail.popleft()
            self._tail_bytes -= row.message.weight
            for feed in self._owing(row.message.kind):
                if feed.handed < row.n:
                    self._lose(feed, reason, _alone(row.message))
                    feed.waiting -= 1

    def _lose(self, feed: Feed, reason: str, lost: Range) -> None:
        feed.lost[f"{lost.source}/{lost.kind}" if lost.source else lost.kind] += lost.count
        if lost.kind != "gap":  # of a lost gap record no other would arrive either
            self._losses.add(feed.name, reason, lost)

    # The writer.

    def _run(self, worker: Worker) -> None:
        repeat(self._step, worker)

    def _lived_s(self) -> float:
        """How long this outbox has lived, by the time its processes ran: no step of the wall clock makes it older."""
        return self._lived_before_s + (self._clock.monotonic_ns() - self._begun_ns) / 1e9

    def _step(self) -> bool:
        self._work.wait(POLL_S)
        self._work.clear()
        if len(self._tail) < _BATCH and not self._ending:
            self._clock.sleep(_GATHER_S)
        ending = self._ending
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._retry_ns or ending:
            self._save(now_ns)
        if self._losses and (not self._trouble.text or now_ns - self._told_ns >= _TELL_NS):
            self._told_ns = now_ns
            self._tell_losses()
            return False
        return ending and (not self._tail or bool(self._trouble.text))

    def _save(self, now_ns: int) -> None:
        """Write what is new, note how far the sinks are, and let go of what nobody needs."""
        try:
            self._look_for_damage()
            with self._lock:
                rows = list(islice(self._tail, _BATCH))
                settled = {feed.name: min(feed.settled, rows[-1].n if rows else self._last) for feed in self._feeds}
            lived_s, due = self._lived_s(), self._ending or now_ns - self._trimmed_ns >= _TRIM_NS
            if rows or (due and settled != self._settled):
                with self._store.transaction():
                    self._store.write(rows)
                    self._store.note(settled, lived_s)
                self._settled = settled
                self._confirm(rows)
            if due:
                more = self._trimmer.trim(self._store, lived_s, self._committed)
                self._trimmed_ns = 0 if more else now_ns
        except CorruptOutboxError as error:
            self._begin_anew(error)
        except OutboxError as error:
            self._retry_ns = now_ns + _RETRY_NS
            if self._trouble.is_news(error):
                _log.error("outbox: %s; new messages wait in memory", error)
            return
        if self._trouble.clear():
            _log.info("outbox: writing again")
        if self._tail or not self._trimmed_ns:
            self._work.set()

    def _look_for_damage(self) -> None:
        if self._damage:
            raise CorruptOutboxError(self._damage)

    def _confirm(self, rows: Sequence[Row]) -> None:
        """What was written need not be in memory any more."""
        with self._lock:
            self._committed = rows[-1].n if rows else self._committed
            for row in rows:
                if self._tail and self._tail[0] is row:  # else it was dropped meanwhile
                    self._tail.popleft()
                    self._tail_bytes -= row.message.weight

    def _begin_anew(self, error: CorruptOutboxError) -> None:
        """Set a damaged file aside and begin another; what was kept there and not delivered is lost, and told."""
        _log.error("outbox: %s; set aside, a new one is begun", error)
        self._damage = ""
        with suppress(OutboxError):
            self._store.close()
        self._store = self._place.begin_anew()
        self._trimmer.forget()
        with self._lock:
            for feed in self._feeds:
                ahead = sum(row.n > feed.handed and row.message.kind in feed.kinds for row in self._tail)
                count = feed.waiting - feed.in_hand - ahead
                if count > 0:
                    feed.lost["unknown"] += count
                    self._losses.add_unknown(feed.name, f"the file they waited in was damaged: {error}", count)
                feed.skip(min(self._committed, self._last), max(0, count))

    def _tell_losses(self) -> None:
        with self._lock:
            gaps = list(self._losses.gaps())
        for source, gap in gaps:
            _log.error("outbox: %s: %s messages lost: %s", gap.sink, gap.count or "an unknown number of", gap.reason)
            self._tell(source, gap)


def _alone(message: Message) -> Range:
    return Range(message.boot, message.source, message.kind, message.seq, message.seq, 1)
