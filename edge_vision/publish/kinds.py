"""The kinds of messages that there are."""

from typing import Annotated, Final, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
)

from edge_vision.core.events import KINDS
from edge_vision.core.schema_errors import did_you_mean, shown

MESSAGE_KINDS: Final = ("detections", "status", "gap", "evidence", *KINDS)
"""Every kind of message there is."""


def _known_kind(kind: str) -> str:
    if kind not in MESSAGE_KINDS:
        msg = f"unknown kind of message {shown(kind)}{did_you_mean(kind, MESSAGE_KINDS)}"
        raise ValueError(msg)
    return kind


MessageKind: TypeAlias = Annotated[
    str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": [*MESSAGE_KINDS]})
]
"""Detections, status, gap, evidence, or a kind of event."""
