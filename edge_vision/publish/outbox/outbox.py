"""Keeps what may not be lost: in memory for the moment until it is on disk, and on disk until it is delivered.

One thread writes. Sinks read through feeds of their own and say there how far they are; they never write.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import CorruptOutboxError, OutboxBlockedError, OutboxError
from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper
from edge_vision.publish.outbox.losses import Losses, LossLog
from edge_vision.publish.outbox.place import Place
from edge_vision.publish.outbox.pressure import Pressure
from edge_vision.publish.outbox.store import Range, Reader, Row, Store
from edge_vision.publish.outbox.tail import Tail
from edge_vision.publish.outbox.trim import Trimmer
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import POLL_S, repeat
from edge_vision.runtime.trouble import Trouble
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_GATHER_S: Final = 0.02
"""How long a message may wait for others to share its commit."""
_BATCH, _BATCH_BYTES = 2_000, 2_000_000
"""Messages in one commit, at most."""
_MEMORY_BYTES: Final = 32_000_000
"""For what is not on disk yet; the oldest make room, counted."""
_SECOND_NS, _TELL_NS = 1_000_000_000, 10_000_000_000
"""How often a disk is tried; how often gaps are told while nothing can be written."""
_LIMIT_S: Final = 300.0
"""How long a disk may take for one step."""
_BITS: Final = 20
"""Numbers in memory, while those on disk are not known, begin at the milliseconds of 1970 times 2 to this power."""


class Outbox:
    """The outbox of one site.

    `tell` is given each gap with its source, and is expected to make a message of it that comes back through `put`.
    Where the disk is full, or does not work, memory serves until it does. Raises OutboxInUseError where another process
    has `folder`, OutboxError where it can never be used.
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
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._tail = Tail(memory_bytes)
        self._feeds: list[Feed] = []
        self._keepers: list[Keeper] = []
        self._owing: dict[str, list[Feed]] = {}
        self._wanted: set[str] = set()
        self._trouble = Trouble()
        self._losses, self._loss_log = Losses(), LossLog()
        self._damage = ""
        self._failed = self._tidied = self._ending = False
        self._retry_ns = self._trimmed_ns = self._told_ns = self._committed = 0
        self._store: Store | None = None
        self._settled: dict[str, int] = {}
        self._lived_before_s = 0.0
        self._begun_ns = clock.monotonic_ns()
        self._last = self._base = int(clock.now().timestamp() * 1000) << _BITS
        self._trimmer = Trimmer(options, self._lock, self._feeds, self._keepers, self._losses)
        self._pressure = Pressure(self._place, self._trimmer)
        try:
            self._open()
        except OutboxBlockedError as error:
            self._blocked(error, self._begun_ns)
        self.worker = Worker("outbox", partial(repeat, self._step), _LIMIT_S, clock)

    def feed(self, name: str, kinds: Sequence[str], keep_s: float) -> Feed:
        """What a sink has to deliver, going on where it was; a new sink begins with what comes. Before `start`."""
        feed = Feed(self, self._lock, name, kinds, keep_s)
        begun = self._settled.get(name, 0 if self._place.damage else self._last)
        feed.restart(begun, 0 if self._store is None else self._store.count(begun, self._last, feed.kinds))
        if self._place.damage:
            self._losses.lose_unknown(feed, None, self._place.damage)
        self._feeds.append(feed)
        for kind in kinds:
            self._owing.setdefault(kind, []).append(feed)
        self._wanted.update(kinds)
        return feed

    def keep(self, keeper: Keeper) -> None:
        """Keep messages for somebody who may ask for them again. Before `start`."""
        self._keepers.append(keeper)
        self._wanted.update(keeper.kinds)

    def start(self) -> None:
        """Begin to write; what no sink owes any more is let go."""
        self.worker.start()

    def end(self) -> None:
        """No more messages: what is in memory is written, and the thread ends."""
        self._ending = True
        self._work.set()

    def close(self) -> None:
        """Let another process have it; after the thread has ended."""
        if self._store is not None:
            self._store.close()
        self._place.leave()

    def put(self, message: Message) -> None:
        """Take a message that a sink owes, or that is to be kept.

        Never waits for the disk; what memory cannot hold is lost, counted.
        """
        if message.kind not in self._wanted:
            return
        with self._lock:
            if self._tail.weight + message.weight > self._tail.most_bytes:
                self._make_room(message.weight)
            self._last += 1
            self._tail.put(Row(self._last, self._lived_s(), message))
            owing = self._owing.get(message.kind, ())
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
            return sum(not self._delivered(row) for row in self._tail)

    def facts(self) -> dict[str, Any]:
        """What the site's status says of it."""
        error = {"error": self._trouble.text} if self._trouble.text else {}
        return {"state": self.state, "set_aside": self._place.set_aside, **error}

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
            if feed.handed >= self._last and not feed.in_hand and feed.waiting > 0:
                self._losses.lose_unknown(feed, feed.waiting, "they are not to be found in the file they waited in")
                feed.waiting = 0
            if feed.handed < self._committed or feed.handed >= self._last:
                return []
            rows, seen = self._tail.after(feed.handed, feed.kinds, most)
            feed.hand_out(rows, seen)
            return rows

    def lose(self, feed: Feed, message: Message, reason: str) -> None:
        """Note that a message in hand is lost."""
        with self._lock:
            self._losses.lose(feed, reason, Range.of(message))
        self._work.set()

    def rewind(self, feed: Feed) -> None:
        """Put back what is in hand, and what was delivered a short while ago."""
        with self._lock:
            begun, waiting, held = feed.settled, self._tail.count(feed.settled, feed.kinds), feed.waiting
            if begun < self._committed or feed.keep_s > 0:
                try:
                    reader = self._place.reader()
                    begun = min(begun, reader.number_at(self._lived_s() - feed.keep_s) - 1)
                    held += reader.count(begun, min(feed.settled, self._committed), feed.kinds)
                    held += self._tail.count(begun, feed.kinds) - waiting
                    waiting = reader.count(begun, self._committed, feed.kinds) + self._tail.count(begun, feed.kinds)
                except OutboxError as error:
                    self._suspect(error)
                    waiting = held
            feed.restart(begun, waiting)
            self._losses.lose_unknown(feed, held - waiting, "they were in hand when memory or the disk let go of them")
        self._work.set()

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

    def _delivered(self, row: Row) -> bool:
        """Whether no sink owes it any more."""
        return all(feed.settled >= row.n for feed in self._owing.get(row.message.kind, ()))

    def _positions(self, last: int) -> dict[str, int]:
        return {feed.name: min(feed.settled, last) for feed in self._feeds}

    def _make_room(self, weight: int) -> None:
        """Drop the oldest of what is not on disk until so many bytes fit."""
        reason = f"the disk took nothing, and the {self._tail.most_bytes / 1e6:g} MB of memory were full"
        held = [(feed.settled + 1, feed.handed) for feed in self._feeds if feed.in_hand]
        for row in self._tail.make_room(weight, held):
            for feed in self._owing.get(row.message.kind, ()):
                if feed.handed < row.n:
                    self._losses.pass_over(feed, reason, row.message)
                    feed.waiting -= 1

    # The writer.

    def _lived_s(self) -> float:
        """How long this outbox has lived, by the time its processes ran: no step of the wall clock makes it older."""
        return self._lived_before_s + (self._clock.monotonic_ns() - self._begun_ns) / 1e9

    def _step(self) -> bool:
        self._work.wait(POLL_S)
        self._work.clear()
        if len(self._tail) < _BATCH and not self._ending:
            self._clock.sleep(_GATHER_S)
        ending, now_ns = self._ending, self._clock.monotonic_ns()
        if now_ns >= self._retry_ns or ending:
            self._save(now_ns)
        if self._losses and (not self._trouble.text or now_ns - self._told_ns >= _TELL_NS):
            self._told_ns = now_ns
            self._tell_losses()
            return False
        return ending and (not self._tail or self._failed)

    def _save(self, now_ns: int) -> None:
        """Write what is new, note how far the sinks are, and let go of what nobody needs."""
        self._failed = True
        try:
            self._save_in(self._store or self._open(), now_ns)
        except CorruptOutboxError as error:
            self._begin_anew(error, now_ns)
        except OutboxError as error:
            self._blocked(error, now_ns)
        else:
            self._failed = False
            if not self._pressure.on and self._trouble.clear():
                _log.info("outbox: writing again")
            if self._tail or not self._trimmed_ns:
                self._work.set()
        finally:
            with self._lock:
                self._tail.not_written()

    def _save_in(self, store: Store, now_ns: int) -> None:
        lived_s, due = self._lived_s(), self._ending or now_ns - self._trimmed_ns >= _SECOND_NS
        if self._damage:
            raise CorruptOutboxError(self._damage)
        if due:
            self._place.look()
        self._pressure.look(store)
        if not self._tidied:
            self._trimmer.tidy(store, self._settled, self._committed)
            with store.transaction():
                store.note(self._positions(self._committed), lived_s)
                store.note_kinds({feed.name: feed.kinds for feed in self._feeds})
            self._tidied = True
        with self._lock:
            rows = self._tail.begin_write(_BATCH, min(_BATCH_BYTES, self._place.reserve.size // 4))
            settled = self._positions(rows[-1].n if rows else self._last)
        if rows or (due and settled != self._settled):
            with store.transaction():
                store.write(rows)
                store.note(settled, lived_s)
            self._settled = settled
            with self._lock:
                self._committed = rows[-1].n if rows else self._committed
                self._tail.written()
        if self._ending and not self._tail:
            self._find_missing(store, "they were in hand, and not on disk, when the process ended", in_hand=True)
        elif due:
            more = self._trimmer.trim(store, lived_s, self._committed, full=self._pressure.on)
            more |= self._pressure.give_back(store)
            self._trimmed_ns = 0 if more else now_ns

    def _open(self) -> Store:
        """Open the file; what came meanwhile goes on from memory. Raises OutboxError."""
        store = self._place.open()
        try:
            settled, lived_s = store.read_notes()
            last = max(store.last(), 0, *settled.values())
            begun = {feed.name: settled.get(feed.name, 0 if self._place.damage else last) for feed in self._feeds}
            waiting = {feed.name: store.count(begun[feed.name], last, feed.kinds) for feed in self._feeds}
            if self._feeds and last > self._base:
                msg = "the clock was set back: numbers on disk are higher than those in memory; a new start is needed"
                raise OutboxError(msg)  # noqa: TRY301
        except OutboxError:
            store.close()
            raise
        with self._lock:
            self._store, self._settled, self._committed = store, settled, last
            if not self._feeds:
                self._last = last
            self._lived_before_s += lived_s
            self._tail.grow_older(lived_s)
            self._tail.leave_out(self._delivered, len(self._tail))
            for feed in self._feeds:
                if self._place.damage:
                    self._losses.lose_unknown(feed, None, self._place.damage)
                feed.go_back(begun[feed.name], waiting[feed.name] + self._tail.count(last, feed.kinds))
        return store

    def _blocked(self, error: OutboxError, now_ns: int) -> None:
        """Go on in memory; on a full disk, make room inside of the file."""
        self._retry_ns = now_ns + _SECOND_NS
        if self._trouble.is_news(error):
            _log.error("outbox: %s; new messages wait in memory", error)
        try:
            if self._store is None or not isinstance(error, OutboxBlockedError) or not error.full:
                return
            cut = self._tail.weight > self._tail.most_bytes / 2
            if self._pressure.begin(self._store, self._committed, cut=cut):
                self._retry_ns = 0
                self._work.set()
        except CorruptOutboxError as damage:
            self._damage = str(damage)
        except OutboxError:
            return  # nobody's room: memory serves until there is some

    def _begin_anew(self, error: CorruptOutboxError, now_ns: int) -> None:
        """Go on with a new file and what can be rescued of a damaged one; the rest is lost, and told."""
        self._damage = str(error)
        try:
            with self._lock:
                settled = self._positions(self._committed)
            store = self._place.begin_anew(self._store, settled, self._lived_s())
        except OutboxError as failure:
            self._blocked(failure, now_ns)
            return
        _log.error("outbox: %s; set aside, a new one is begun", error)
        self._store, self._damage, self._tidied, self._settled = store, "", False, settled
        self._trimmer.forget()
        try:
            self._pressure.resume(store)
            self._find_missing(store, f"the file they waited in was damaged: {error}", in_hand=False)
        except OutboxError as failure:
            self._damage, self._retry_ns = str(failure), now_ns + _SECOND_NS
        self._work.set()

    def _find_missing(self, store: Store, reason: str, *, in_hand: bool) -> None:
        def kept(feed: Feed, after: int) -> int:
            return store.count(after, self._committed, feed.kinds) + self._tail.count(after, feed.kinds)

        with self._lock:
            self._losses.find(self._feeds, kept, reason, in_hand=in_hand)

    def _tell_losses(self) -> None:
        with self._lock:
            gaps, again = list(self._losses.gaps()), self._losses.records()
        for record in again:
            self.put(record)
        self._loss_log.say([gap for _, gap in gaps], self._clock.monotonic_ns())
        for source, gap in gaps:
            self._tell(source, gap)
