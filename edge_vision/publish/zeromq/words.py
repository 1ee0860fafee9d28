"""What ZeroMQ sockets say beside messages: heartbeats, and the questions and answers of the replay socket."""

from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from edge_vision.publish.wire import SCHEMA, utc

LARGEST_REQUEST: Final = 4096
"""Bytes that a request for a replay may have."""

_Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
_Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**62)]


class Last(msgspec.Struct, frozen=True):
    """The highest number of a source and kind that went out or was dropped; messages of the site have no source."""

    source: str
    kind: str
    seq: int


class HeartbeatMessage(msgspec.Struct, frozen=True):
    """How far each source and kind has come in this boot: whoever has less has lost something, or not got it yet."""

    schema: str
    kind: str
    boot: str
    site: str
    timestamp: str
    every_s: float
    last: list[Last]


def heartbeat(site: str, boot: str, now: datetime, every_s: float, last: dict[tuple[str, str], int]) -> list[bytes]:
    """The two frames, topic and body."""
    numbers = [Last(source, kind, seq) for (source, kind), seq in sorted(last.items())]
    body = HeartbeatMessage(SCHEMA, "heartbeat", boot, site, utc(now), every_s, numbers)
    return [f"edge-vision/v1/{site}/heartbeat".encode(), msgspec.json.encode(body)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True,
              rename={"first": "from", "last": "to"}):  # fmt: skip
    """What a subscriber asks: the ranges that are kept, or the messages of one from `first` to `last` or the newest.

    `id` is of the client's choosing; the end of the answer has it, too.
    """

    id: _Name = ""
    ranges: bool = False
    boot: _Name = ""
    source: _Name = ""
    kind: _Name = ""
    first: _Seq = 1
    last: _Seq | None = None


class Range(msgspec.Struct, frozen=True):
    """Messages that are kept; numbers between may be gone all the same."""

    boot: str
    source: str
    kind: str
    first: int
    last: int


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last frame of an answer.

    To a request for messages: the first and last number sent, and how many of those asked for are not kept. To one for
    ranges: what is kept, of which kinds, for how long, and how many further ranges were left out. Or what was wrong.
    """

    id: str = ""
    done: bool = False
    error: str = ""
    first: int | None = None
    last: int | None = None
    missing: int | msgspec.UnsetType = msgspec.UNSET
    ranges: list[Range] | msgspec.UnsetType = msgspec.UNSET
    kinds: list[str] | msgspec.UnsetType = msgspec.UNSET
    keep_s: float | msgspec.UnsetType = msgspec.UNSET
    left_out: int = 0


_read_request = msgspec.json.Decoder(Request).decode


def read_request(frames: list[bytes]) -> Request:
    """The request in the frames behind the client's name. Raises ValueError that says what is wrong with it."""
    if len(frames) != 1:
        msg = f"a request is one frame of JSON, not {len(frames)}"
        raise ValueError(msg)
    try:
        request = _read_request(frames[0])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        msg = f"not a request: {error}"
        raise ValueError(msg) from None
    if not request.ranges and not (request.boot and request.kind):
        msg = 'a request has "ranges": true, or "boot", "kind" and "from"'
        raise ValueError(msg)
    if request.last is not None and request.last < request.first:
        msg = f"from {request.first} to {request.last}: the end lies before the beginning"
        raise ValueError(msg)
    return request


def encode(value: Any) -> bytes:
    """A request or an answer as JSON."""
    return msgspec.json.encode(value)
