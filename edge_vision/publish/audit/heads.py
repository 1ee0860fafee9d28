"""Reads of a message only what an audit needs; whatever else arrives is named, never trusted."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec

from edge_vision.publish.wire import SCHEMA

HIGHEST: Final = 2**53
"""Numbers beyond are not exact in every JSON reader."""
HEARTBEAT: Final = "heartbeat"
_Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
_Source: TypeAlias = Annotated[str, msgspec.Meta(max_length=80)]
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST)]


class MalformedError(ValueError):
    """A message that is none: counted by its reason, which is one of a few."""


class UnknownSchemaError(MalformedError):
    """A message of a schema that this version does not know: counted by its name."""


class FrameHead(msgspec.Struct, gc=False):
    """When the frame was captured."""

    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]


class LatencyHead(msgspec.Struct, gc=False):
    """How long the daemon took, in milliseconds."""

    total: float


class GapHead(msgspec.Struct, gc=False, omit_defaults=True):
    """What a sink said that it lost."""

    sink: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    count: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST)] | None = None
    boot: _Name | None = None
    lost_kind: _Name | None = None
    first: _Number | None = None
    last: _Number | None = None


class LastHead(msgspec.Struct, gc=False, omit_defaults=True):
    """How far a source and kind had come, as a heartbeat says it."""

    kind: _Name
    seq: _Number
    source: _Source = ""


class Head(msgspec.Struct, gc=False, omit_defaults=True):
    """What an audit reads of a message."""

    schema: str
    kind: _Name
    boot: _Name
    site: _Name
    id: Annotated[str, msgspec.Meta(max_length=400)] = ""
    seq: Annotated[int, msgspec.Meta(ge=0, le=HIGHEST)] = 0
    source: _Source = ""
    frame: FrameHead | None = None
    latency_ms: LatencyHead | None = None
    gap: GapHead | None = None
    state: Annotated[str, msgspec.Meta(max_length=40)] = ""
    last: list[LastHead] | None = None

    @property
    def is_will(self) -> bool:
        """Whether a broker said it in the place of a site that it lost."""
        return self.kind == "status" and self.seq == 0


class _Schema(msgspec.Struct):
    schema: Annotated[str, msgspec.Meta(max_length=80)]


_decode: Final = msgspec.json.Decoder(Head).decode
_decode_schema: Final = msgspec.json.Decoder(_Schema).decode


def read_head(body: bytes) -> Head:
    """What an audit needs of a message. Raises MalformedError with the reason, which is one of a few."""
    try:
        head = _decode(body)
    except (msgspec.ValidationError, RecursionError):
        raise MalformedError(_why_not(body)) from None
    except (msgspec.MsgspecError, ValueError):
        raise MalformedError("is not JSON") from None
    if head.schema != SCHEMA:
        raise UnknownSchemaError(head.schema[:80])
    if head.kind == HEARTBEAT or head.is_will:
        return head
    if not head.seq:
        raise MalformedError("has no number")
    if head.id != f"{head.boot}-{head.source or head.site}-{head.kind}-{head.seq}":
        raise MalformedError("has an id that is not made of its boot, source, kind and number")
    return head


def _why_not(body: bytes) -> str:
    """Why a JSON text is no message. Raises UnknownSchemaError where it is one of another schema."""
    try:
        schema = _decode_schema(body).schema
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "is not a message"
    if schema != SCHEMA:
        raise UnknownSchemaError(schema) from None
    return "has a field that is missing or not what the schema says"
