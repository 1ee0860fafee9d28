"""What is kept of what was published, for whoever missed some."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from edge_vision.core.errors import OutboxError, SinkError
from edge_vision.core.message import Message
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.outbox.store import Reader

Found = TypeVar("Found")

_ALL: Final = 2**62
"""More than any number."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Somebody who asks for messages of some kinds again, up to so many seconds after they were published."""

    name: str
    kinds: tuple[str, ...]
    keep_s: float


class Shelf(Protocol):
    """What a history asks of its outbox."""

    def reader(self) -> Reader:
        """The reading side of the file, for the calling thread."""

    def in_memory(self) -> list[Message]:
        """What is not on disk yet, in order."""


class OutboxHistory:
    """Messages on disk, and those on their way there. For any thread."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def since(self, boot: str, source: str, kind: str, first: int, last: int | None, most: int) -> list[Message]:
        """Messages numbered from `first` to `last`, or to the newest, in order; the first `most` of those kept.

        Raises SinkError when the disk cannot be read.
        """
        until = _ALL if last is None else min(last, _ALL)
        begin = max(0, min(first, _ALL))
        recent = [
            message
            for message in self._shelf.in_memory()  # before the disk: what moves there meanwhile is found there
            if (message.boot, message.source, message.kind) == (boot, source, kind) and begin <= message.seq <= until
        ]
        kept = self._read(lambda reader: reader.since(boot, source, kind, begin, until, most))
        known = kept[-1].seq if kept else 0
        return (kept + [message for message in recent if message.seq > known])[:most]

    def ranges(self) -> list[tuple[str, str, str, int, int]]:
        """Boot, source, kind, and the first and last number kept, oldest boot first. Raises SinkError."""
        found = {
            (one.boot, one.source, one.kind): (one.first, one.last)
            for one in self._read(lambda reader: reader.ranges(MESSAGE_KINDS, 0, _ALL))
        }
        for message in self._shelf.in_memory():
            key = (message.boot, message.source, message.kind)
            first, last = found.get(key, (message.seq, message.seq))
            found[key] = (min(first, message.seq), max(last, message.seq))
        return [(*key, *span) for key, span in sorted(found.items(), key=lambda one: one[0][0])]

    def _read(self, ask: Callable[[Reader], list[Found]]) -> list[Found]:
        try:
            return ask(self._shelf.reader())
        except OutboxError as error:
            raise SinkError(str(error)) from error
