"""One sink at work: a bounded queue, and a thread that delivers from it."""

import logging
import threading
from collections import Counter
from typing import Any, Final

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.table import SinkOpening, name_of, open_sink
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.loops import deliver, keep_trying
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_LIMIT_S: Final = 120.0
_BATCH: Final = 256


class Outlet:
    """Takes messages without ever blocking, and delivers them as the sink allows."""

    def __init__(self, options: SinkOptions, opening: SinkOpening) -> None:
        self.name = name_of(options)
        self.tried = threading.Event()
        self.state = "starting"
        self.error = ""
        self.delivered = 0
        self._options = options
        self._opening = opening
        self._dropped: Counter[str] = Counter()
        capacity = int(options.queue_mb * 1_000_000)
        self._queue: Channel[Message] = Channel(
            capacity, Overflow.DROP_OLDEST, weigh=lambda message: message.weight, on_drop=self._count_drop
        )
        self._pending: list[Message] = []
        self.worker = Worker(f"publish {self.name}", self._publish, _LIMIT_S, opening.clock)

    def put(self, message: Message) -> None:
        """Queue a message; the oldest make room when the queue is full, counted by source and kind."""
        self._queue.put(message, 0.0)

    def end(self) -> None:
        """No more messages; those queued are still delivered."""
        self._queue.end()

    @property
    def undelivered(self) -> int:
        """Messages queued or under way."""
        return len(self._queue) + len(self._pending)

    def facts(self) -> dict[str, Any]:
        """What the site's status says of this sink. `dropped` counts by "source/kind"."""
        return {
            "sink": self.name,
            "state": self.state,
            "delivered": self.delivered,
            "queued": self.undelivered,
            "dropped": dict(self._dropped),
            **({"error": self.error} if self.error else {}),
        }

    def _count_drop(self, message: Message) -> None:
        self._dropped[f"{message.source}/{message.kind}" if message.source else message.kind] += 1

    def _publish(self, worker: Worker) -> None:
        def attempt() -> None:
            with open_sink(self._options, self._opening) as sink:
                if self.error:
                    _log.info("%s: delivering again, %d messages wait", self.name, self.undelivered)
                self.state, self.error = "online", ""
                self.tried.set()
                deliver(self._queue, self._pending, lambda batch: self._send(sink, batch), worker, most=_BATCH)

        keep_trying(attempt, worker, Backoff(most_s=5.0), on_failure=self._failed)

    def _send(self, sink: Sink, batch: list[Message]) -> None:
        """Deliver a batch; what was delivered is taken off the list, also when the rest was not."""
        done = len(batch)
        try:
            sink.send(batch)
        except SinkError as error:
            done = error.delivered
            raise
        except Exception:
            done = 0
            raise
        finally:
            self.delivered += done
            del batch[:done]

    def _failed(self, error: Exception, delay_s: float) -> None:
        self.state = "lost"
        self.tried.set()
        if self.error != str(error):  # the same trouble again is not news
            _log.warning("%s: %s; trying again, next in %.1f s", self.name, error, delay_s)
        self.error = str(error)
