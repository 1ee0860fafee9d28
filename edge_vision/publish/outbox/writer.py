"""The thread that writes the outbox: what is new, how far the sinks are, and what becomes of a disk that fails."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from edge_vision.core.errors import CorruptOutboxError, OutboxBlockedError, OutboxError
from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.losses import LossLog
from edge_vision.publish.outbox.pressure import Pressure
from edge_vision.publish.outbox.stock import Stock
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.outbox.trim import Trimmer
from edge_vision.publish.wire import Gap
from edge_vision.runtime.loops import POLL_S, repeat
from edge_vision.runtime.trouble import Trouble
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_GATHER_S: Final = 0.02
"""How long a message may wait for others to share its commit."""
_BATCH, _BATCH_BYTES = 2_000, 2_000_000
"""Messages in one commit, at most."""
_SECOND_NS: Final = 1_000_000_000
"""How often a disk is tried."""
_LIMIT_S: Final = 300.0
"""How long a disk may take for one step."""


class Writer:
    """Everything that changes the file happens here.

    `tell` is given each gap with its source; `again` is given gap records that are to come once more.
    """

    def __init__(
        self,
        stock: Stock,
        options: OutboxOptions,
        tell: Callable[[str, Gap], None],
        again: Callable[[Message], None],
    ) -> None:
        self.settled: dict[str, int] = {}
        """How far each sink is, as the file says."""
        self.trouble = Trouble()
        self._stock = stock
        self._tell, self._again = tell, again
        self._loss_log = LossLog()
        self._trimmer = Trimmer(options, stock.lock, stock.feeds, stock.keepers, stock.losses)
        self._pressure = Pressure(stock.place, self._trimmer)
        self._store: Store | None = None
        self._failed = self._tidied = self._last_words = self._ending = False
        self._retry_ns = self._trimmed_ns = 0
        self.worker = Worker("outbox", partial(repeat, self._step), _LIMIT_S, stock.clock)

    def open(self) -> None:
        """Open the file, if the disk lets it now. Raises OutboxError where it never will."""
        try:
            self._open()
        except OutboxBlockedError as error:
            self._blocked(error, self._stock.begun_ns)

    def begin(self, feed: Feed) -> None:
        """Let a feed go on where it was; a new one begins with what comes, or with all of a file that was damaged."""
        stock = self._stock
        begun = self._begun(feed, self.settled, stock.last)
        feed.restart(begun, 0 if self._store is None else self._store.count(begun, stock.last, feed.kinds))
        if stock.place.loss:
            stock.losses.lose_unknown(feed, None, stock.place.loss)

    def _begun(self, feed: Feed, settled: Mapping[str, int], last: int) -> int:
        """Where a feed goes on, by the positions in the file and the last number there."""
        feed.begun = 0 if feed.name in settled or self._stock.place.damage else last
        return settled.get(feed.name, feed.begun)

    def say_last_words(self) -> None:
        """Gather losses no more."""
        self._last_words = True
        self._stock.work.set()

    def end(self) -> None:
        """Write what is in memory, and end."""
        self._ending = True
        self.say_last_words()

    def close(self) -> None:
        """Close the file; after the thread has ended."""
        if self._store is not None:
            self._store.close()

    def _step(self) -> bool:
        stock = self._stock
        stock.work.wait(POLL_S)
        stock.work.clear()
        if len(stock.tail) < _BATCH and not self._ending:
            stock.clock.sleep(_GATHER_S)
        ending, now_ns = self._ending, stock.clock.monotonic_ns()
        if now_ns >= self._retry_ns or ending:
            self._save(now_ns)
        return not self._tell_losses(now_ns) and ending and (not stock.tail or self._failed)

    def _tell_losses(self, now_ns: int) -> bool:
        """Tell what is due; whether anything was."""
        stock, blocked = self._stock, bool(self.trouble.text)
        with stock.lock:
            gaps, again = stock.losses.take(now_ns, blocked=blocked, everything=self._last_words and not blocked)
        for record in again:
            self._again(record)
        self._loss_log.say([gap for _, gap in gaps], now_ns)
        for source, gap in gaps:
            self._tell(source, gap)
        if gaps or again:
            with stock.lock:
                stock.losses.told(stock.last)
        return bool(gaps or again)

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
            if not self._pressure.on and self.trouble.clear():
                _log.info("outbox: writing again")
            if self._stock.tail or not self._trimmed_ns:
                self._stock.work.set()
        finally:
            with self._stock.lock:
                self._stock.tail.not_written()

    def _save_in(self, store: Store, now_ns: int) -> None:
        stock = self._stock
        due = self._ending or now_ns - self._trimmed_ns >= _SECOND_NS
        if stock.damage:
            raise CorruptOutboxError(stock.damage)
        if due:
            stock.place.look()
        self._pressure.look(store)
        if not self._tidied:
            self._tidy(store)
        self._write(store, due=due)
        if self._ending and not stock.tail:
            self._find_missing(store, "they were in hand, and not on disk, when the process ended", in_hand=True)
        elif due:
            more = self._trimmer.trim(store, stock.lived_s, stock.committed, full=self._pressure.on)
            more |= self._pressure.give_back(store)
            self._trimmed_ns = 0 if more else now_ns

    def _tidy(self, store: Store) -> None:
        """Once for each file: let go of what no sink owes any more, and note what each owes now."""
        stock = self._stock
        self._trimmer.tidy(store, self.settled, stock.committed)
        with store.transaction():
            store.note(stock.positions(stock.committed), stock.lived_s)
            store.note_kinds({feed.name: feed.kinds for feed in stock.feeds})
        self._tidied = True

    def _write(self, store: Store, *, due: bool) -> None:
        """Write the oldest of what is new, and how far the sinks are."""
        stock = self._stock
        with stock.lock:
            rows = stock.tail.begin_write(_BATCH, min(_BATCH_BYTES, stock.place.reserve.size // 4))
            settled = stock.positions(rows[-1].n if rows else stock.last)
            up_to = rows[-1].n if rows else stock.committed
            untold = stock.losses.untold(up_to)
        if not rows and (not due or (settled, untold) == (self.settled, store.read_untold())):
            return
        with store.transaction():
            store.write(rows)
            store.note(settled, stock.lived_s)
            store.note_untold(untold)
        self.settled = settled
        with stock.lock:
            stock.committed = up_to
            stock.tail.written()
            stock.losses.written(up_to)

    def _open(self) -> Store:
        """Open the file; what came meanwhile goes on from memory. Raises OutboxError."""
        stock, place = self._stock, self._stock.place
        store = place.open()
        if place.damage and not place.loss:
            _log.warning("outbox: %s; everything in it could be rescued", place.damage)
        try:
            (settled, lived_s), untold = store.read_notes(), store.read_untold()
            last = max(store.last(), 0, *settled.values())
            begun = {feed.name: self._begun(feed, settled, last) for feed in stock.feeds}
            waiting = {feed.name: store.count(begun[feed.name], last, feed.kinds) for feed in stock.feeds}
            if stock.feeds and last > stock.base:
                msg = "the clock was set back: numbers on disk are higher than those in memory; a new start is needed"
                raise OutboxError(msg)  # noqa: TRY301
        except OutboxError:
            store.close()
            raise
        with stock.lock:
            self._store, self.settled, stock.committed = store, settled, last
            stock.losses.recall(untold)
            if not stock.feeds:
                stock.last = last
            stock.lived_before_s += lived_s
            stock.tail.grow_older(lived_s)
            stock.tail.leave_out(stock.delivered, len(stock.tail))
            for feed in stock.feeds:
                if place.loss:
                    stock.losses.lose_unknown(feed, None, place.loss)
                feed.go_back(begun[feed.name], waiting[feed.name] + stock.tail.count(last, feed.kinds))
        return store

    def _blocked(self, error: OutboxError, now_ns: int) -> None:
        """Go on in memory; on a full disk, make room inside of the file."""
        stock = self._stock
        self._retry_ns = now_ns + _SECOND_NS
        if self.trouble.is_news(error):
            _log.error("outbox: %s; new messages wait in memory", error)
        try:
            if self._store is None or not isinstance(error, OutboxBlockedError) or not error.full:
                return
            cut = stock.tail.weight > stock.tail.most_bytes / 2
            if self._pressure.begin(self._store, stock.committed, cut=cut):
                self._retry_ns = 0
                stock.work.set()
        except CorruptOutboxError as damage:
            stock.damage = str(damage)
        except OutboxError:
            return  # nobody's room: memory serves until there is some

    def _begin_anew(self, error: CorruptOutboxError, now_ns: int) -> None:
        """Go on with a new file and what can be rescued of a damaged one; the rest is lost, and told."""
        stock = self._stock
        stock.damage = str(error)
        try:
            with stock.lock:
                settled = stock.positions(stock.committed)
            store = stock.place.begin_anew(self._store, settled, stock.lived_s)
        except OutboxError as failure:
            self._blocked(failure, now_ns)
            return
        _log.error("outbox: %s; set aside, a new one is begun", error)
        self._store, stock.damage, self._tidied, self.settled = store, "", False, settled
        self._trimmer.forget()
        try:
            self._pressure.resume(store)
            self._find_missing(store, f"the file they waited in was damaged: {error}", in_hand=False)
        except OutboxError as failure:
            stock.damage, self._retry_ns = str(failure), now_ns + _SECOND_NS
        stock.work.set()

    def _find_missing(self, store: Store, reason: str, *, in_hand: bool) -> None:
        stock = self._stock

        def kept(feed: Feed, after: int) -> int:
            return store.count(after, stock.committed, feed.kinds) + stock.tail.count(after, feed.kinds)

        with stock.lock:
            stock.losses.find(stock.feeds, kept, reason, in_hand=in_hand)
