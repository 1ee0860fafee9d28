"""A message as it is kept, with its number and a checksum."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from edge_vision.core.message import Message


class Row(NamedTuple):
    """A message with its number in the outbox, and how long the outbox had lived when it came, in seconds."""

    n: int
    lived_s: float
    message: Message


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of messages of one boot, source and kind: the first, the last, and how many there are."""

    boot: str
    source: str
    kind: str
    first: int
    last: int
    count: int

    @classmethod
    def of(cls, message: Message) -> "Range":
        """That of one message."""
        return cls(message.boot, message.source, message.kind, message.seq, message.seq, 1)


def fields_of(row: Row) -> tuple[Any, ...]:
    """What is kept of a message, without its checksum."""
    n, lived_s, one = row
    return (n, lived_s, one.id, one.boot, one.seq, one.kind, one.source, one.topic, one.body, int(one.retain))


def crc_of(fields: Sequence[Any]) -> int:
    """A checksum of a message as it is kept: SQLite has none."""
    return zlib.crc32(fields[8], zlib.crc32(repr((*fields[:8], fields[9])).encode("utf-8", "surrogatepass")))


def row_of(columns: Sequence[Any]) -> Row:
    """A message as it was written. Raises ValueError or TypeError when it is not that any more."""
    *fields, crc = columns
    if crc_of(fields) != crc:
        msg = f"message {fields[0]} is not as it was written"
        raise ValueError(msg)
    n, lived_s, name, boot, seq, kind, source, topic, body, retain = fields
    return Row(n, lived_s, Message(name, boot, seq, kind, source, topic, body, bool(retain)))
