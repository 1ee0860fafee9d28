"""One sink at work: what it owes from the outbox, a bounded queue for the rest, and a thread that delivers both."""

import logging
import threading
from collections import Counter
from dataclasses import replace
from typing import Any, Final

from edge_vision.core.errors import SinkError, SinkGoneError
from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.loops import POLL_S, deliver, keep_trying
from edge_vision.runtime.trouble import Trouble, traceback_of
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 60.0
_BATCH: Final = 256
_OWED: Final = 192
"""Messages of the outbox in one batch, at most: while many wait there, the newest of the rest go out, too."""
_SUSPICIOUS: Final = 2
"""After so many failures with the same message first in line, messages go one by one, to find the one at fault."""
_HOPELESS: Final = 4
"""After so many the message is dropped, counted: the others must not wait behind it for ever."""
_HOPELESS_OWED: Final = 12
"""The same for a message that may not be lost."""


class Outlet:
    """Takes messages without ever blocking, and delivers them as the sink allows.

    What the sink owes comes through `feed`, if it owes anything; the rest through `put`. Everything here is for any
    thread. `tried` is set when the sink was opened for the first time, or could not be.
    """

    def __init__(self, name: str, options: SinkOptions, opening: SinkOpening, feed: Feed | None = None) -> None:
        self.name = name
        self.tried = threading.Event()
        self.state = "starting"
        self.delivered = 0
        self._trouble = Trouble()
        self._drop_trouble = Trouble()
        self._options = options
        self._dropped: Counter[str] = Counter()
        capacity = int(options.queue_mb * 1_000_000)
        self._queue: Channel[Message] = Channel(
            capacity, Overflow.DROP_OLDEST, weigh=lambda message: message.weight, on_drop=self._count_drop
        )
        self._feed = feed
        if feed is not None:
            feed.wake = self._queue.wake
        self._owed: dict[str, int] = {}
        self._pending: list[Message] = []
        self._refused: set[str] = set()
        self._first_in_line = ""
        self._failures = 0
        self._careful = 0
        self._settled = 0
        limit_s = _LIMIT_S + 2 * getattr(options, "timeout_s", 0.0)
        self.worker = Worker(f"publish {self.name}", self._publish, limit_s, opening.clock)
        self._dropped_last: dict[tuple[str, str], int] = {}
        self._opening = replace(
            opening,
            progress=self.worker.beat,
            on_dropped=self._refuse,
            forgotten=self._rewind,
            dropped_last=self._dropped_last.copy,
        )

    def put(self, message: Message) -> None:
        """Queue a message of a kind that goes there and is not owed; the oldest make room when it is full, counted."""
        if self._feed is not None and message.kind in self._feed.kinds:
            return
        if self._options.takes(message.kind):
            self._queue.put(message, 0.0)

    def end(self) -> None:
        """No more messages; those queued are still delivered."""
        self._queue.end()

    @property
    def gone(self) -> bool:
        """Whether nobody will ever read from this sink again."""
        return self.state == "gone"

    @property
    def away(self) -> bool:
        """Whether nothing was delivered since the connection was lost, and nothing here ends with this process."""
        return self.state in ("starting", "lost") and self.undelivered <= 0

    @property
    def undelivered(self) -> int:
        """Messages queued or under way that end with this process."""
        return len(self._queue) + len(self._pending) - len(self._owed)

    @property
    def kept(self) -> int:
        """Messages that wait in the outbox, and outlive this process."""
        return 0 if self._feed is None else self._feed.waiting

    @property
    def lost(self) -> int:
        """Messages dropped, statuses aside: they are about what was then."""
        return sum(count for name, count in self._all_dropped().items() if name != "status")

    def _all_dropped(self) -> Counter[str]:
        dropped = Counter(dict(self._dropped))  # copied in one step: other threads count there
        dropped.update({} if self._feed is None else dict(self._feed.lost))
        return dropped

    def facts(self) -> dict[str, Any]:
        """What the site's status says of this sink. `dropped` counts by "source/kind"."""
        return {
            "sink": self.name,
            "state": self.state,
            "delivered": self.delivered,
            "queued": self.undelivered + self.kept,
            "dropped": dict(self._all_dropped()),
            **({"error": self._trouble.text} if self._trouble.text else {}),
        }

    def _count_drop(self, message: Message) -> None:
        self._dropped[f"{message.source}/{message.kind}" if message.source else message.kind] += 1
        if message.boot == self._opening.will.boot:
            stream = message.source, message.kind
            self._dropped_last[stream] = max(message.seq, self._dropped_last.get(stream, 0))

    def _refuse(self, message: Message, reason: str) -> None:
        """The other side does not take this message: it is not sent again."""
        self._refused.add(message.id)
        self._drop(message, reason)

    def _drop(self, message: Message, reason: str) -> None:
        if self._feed is not None and message.id in self._owed:
            self._feed.lose(message, reason)
        else:
            self._count_drop(message)
        error = SinkError(f"{message.topic} dropped: {reason}")
        if message.kind != "status" and self._drop_trouble.is_unheard(error):
            _log.warning("%s: %s; more of the kind are counted in the status", self.name, error)

    def _publish(self, worker: Worker) -> None:
        def attempt() -> None:
            try:
                with open_sink(self._options, self._opening) as sink:
                    if not self._trouble.text:
                        self.state = "online"
                    self.tried.set()
                    deliver(self._fill, self._pending, lambda batch: self._send(sink, batch), worker)
            except SinkGoneError as error:
                self._give_up(error)

        keep_trying(attempt, worker, Backoff(most_s=5.0), progressed=self._progressed, on_failure=self._failed)

    def _fill(self) -> bool:
        """Put what is next into the empty list, waiting a little for it; whether nothing will ever come."""
        for row in () if self._feed is None else self._feed.take(_OWED):
            self._owed[row.message.id] = row.n
            self._pending.append(row.message)
        self._pending.extend(self._queue.take(_BATCH - len(self._pending), 0.0 if self._pending else POLL_S))
        return not self._pending and self._queue.exhausted and (self._feed is None or self._feed.empty)

    def _rewind(self) -> None:
        """The other side has forgotten what it had: what is still kept goes there once more."""
        if self._feed is not None:
            self._pending[:] = [message for message in self._pending if message.id not in self._owed]
            self._owed.clear()
            self._feed.rewind()

    def _progressed(self) -> bool:
        """Whether any message left the queue since the last failure."""
        settled, self._settled = self._settled, 0
        return settled > 0

    def _send(self, sink: Sink, batch: list[Message]) -> None:
        """Deliver a batch; what was delivered is taken off the list, also when the rest was not."""
        now = batch[:1] if self._careful else batch[:]  # a copy: what is delivered is taken off the batch
        done, suspect = 0, True
        try:
            sink.send(now)
            done = len(now)
        except SinkError as error:
            done, suspect = error.delivered, not error.patience_s
            raise
        finally:
            self._settle(batch, done, suspect=suspect)
        if now:
            self.state = "online"
            if self._trouble.clear():
                _log.info("%s: delivering again, %d messages wait", self.name, self.undelivered + self.kept)

    def _settle(self, batch: list[Message], done: int, *, suspect: bool) -> None:
        """Take delivered and refused messages off the list, and one that failed too often and may be at fault."""
        before = list(batch)
        self.delivered += sum(message.id not in self._refused for message in batch[:done])
        batch[:] = [message for message in batch[done:] if message.id not in self._refused]
        self._refused.clear()
        self._settled += len(before) - len(batch)
        if done:
            self._failures = 0
            self._careful = max(0, self._careful - done)
        elif batch and suspect:
            self._failures = self._failures + 1 if batch[0].id == self._first_in_line else 1
            self._first_in_line = batch[0].id
            if self._failures >= _SUSPICIOUS:
                self._careful = _BATCH
            if self._failures >= (_HOPELESS_OWED if batch[0].id in self._owed else _HOPELESS):
                self._drop(batch.pop(0), f"the connection failed {self._failures} times while it was sent")
        self._settle_owed(before, batch)

    def _settle_owed(self, before: list[Message], left: list[Message]) -> None:
        """Say to the outbox what need not be delivered any more."""
        if self._feed is None or not self._owed:
            return
        still = {message.id for message in left}
        settled = [message.id for message in before if message.id in self._owed and message.id not in still]
        for name in settled:
            del self._owed[name]
        if settled:
            self._feed.settle(len(settled), next(iter(self._owed.values()), None))

    def _give_up(self, error: SinkGoneError) -> None:
        """Nobody reads any more: say so once, and count what is left."""
        self._trouble.is_news(error)
        self.state = "gone"
        self.tried.set()
        for message in self._pending:
            self._count_drop(message)
        self._pending.clear()
        self._owed.clear()
        self._queue.cancel()
        _log.warning("%s: %s; closed for good", self.name, error)

    def _failed(self, error: Exception, delay_s: float) -> None:
        self.state = "lost"
        self.tried.set()
        if self._trouble.is_news(error):
            text = "%s: %s; trying again, next in %.1f s"
            _log.warning(text, self.name, error, delay_s, exc_info=traceback_of(error))
