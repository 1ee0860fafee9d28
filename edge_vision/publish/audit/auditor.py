"""Hears messages, from wherever they come, and knows when it has heard enough."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge_vision.publish.audit.heads import HEARTBEAT, Head, MalformedError, UnknownSchemaError, read_head
from edge_vision.publish.audit.keeping import Entry, Kept
from edge_vision.publish.audit.ledger import Ledger, count_name
from edge_vision.runtime.clock import Clock

_QUIET_S: Final = 2.0
"""After the last goodbye, what was sent before it may come for so long."""


_BESIDE: Final = frozenset({"set", "answer"})
"""Levels of topics on which people and programs talk to a site: no messages with numbers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a live audit ends, in seconds; without any, when it is told to.

    `seconds` count from its beginning, `idle_s` from the last message, `wait_s` is how long the first one may take.
    `until_offline`: two seconds after the goodbye of every site.
    """

    seconds: float | None = None
    idle_s: float | None = None
    wait_s: float | None = None
    until_offline: bool = False


class Auditor:
    """Enters what it hears into a ledger; one thread."""

    def __init__(self, ledger: Ledger, clock: Clock, limits: Limits, kept: Kept | None = None) -> None:
        self.ledger = ledger
        self.clock = clock
        self._limits = limits
        self._kept = kept
        self._began_ns = clock.monotonic_ns()
        self._heard_ns = 0
        self.wants: Callable[[str, str], bool] = lambda _source, _kind: True
        """Whether a source and kind are listened to: what heartbeats say of others is none of our business."""

    def hear(
        self, body: bytes, topic: str = "", *, retained: bool = False, redelivered: bool = False, served: bool = False
    ) -> None:
        """Enter a message. Raises SinkError: it is not kept.

        `retained`: the broker had it before we asked. `served`: a replay socket brought it.
        """
        book = self.ledger.book
        if retained:
            book.retained += 1
            return
        now_ms = self.now_ms()
        try:
            head = read_head(body)
        except UnknownSchemaError as error:
            count_name(book.unknown_schemas, str(error))
            return
        except MalformedError as error:
            if _BESIDE.isdisjoint(topic.split("/")):
                count_name(book.malformed, str(error))
            else:
                book.commands += 1
            return
        if head.last is not None:
            head.last = [said for said in head.last if self.wants(said.source, said.kind)]
        if self._kept is not None:
            self._kept.note(Entry(now_ms, redelivered, head, served))
        book.redelivered += redelivered
        self.ledger.take(head, body, now_ms, served=served)
        if head.kind != HEARTBEAT:
            self._heard_ns = self.clock.monotonic_ns()

    def secure(self) -> None:
        """Have all that was heard on the disk, where it is kept. Raises SinkError."""
        if self._kept is not None:
            self._kept.sync()

    def miss(self, lost: Head, last: int) -> None:
        """Enter that messages cannot be had, from the number of `lost` to `last`. Raises SinkError: it is not kept."""
        if self._kept is not None:
            self._kept.note(Entry(self.now_ms(), redelivered=False, head=lost, missed_to=last))
        self.ledger.miss(lost, last)

    def now_ms(self) -> float:
        """The wall clock, in milliseconds since 1970."""
        return self.clock.now().timestamp() * 1000

    def enough(self) -> bool:
        """Whether a limit is reached."""
        limits, now_ns = self._limits, self.clock.monotonic_ns()
        running_s = (now_ns - self._began_ns) / 1e9
        if limits.seconds is not None and running_s >= limits.seconds:
            return True
        if not self._heard_ns:
            return limits.wait_s is not None and running_s >= limits.wait_s
        quiet_s = (now_ns - self._heard_ns) / 1e9
        if limits.idle_s is not None and quiet_s >= limits.idle_s:
            return True
        return limits.until_offline and quiet_s >= _QUIET_S and self.ledger.all_offline
