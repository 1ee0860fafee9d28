"""What every sink may be told."""

from typing import ClassVar

from pydantic import (
    Field,
    field_validator,
)

from edge_vision.core.options import Number, Options
from edge_vision.publish.kinds import MessageKind


class SinkBase(Options):
    """What every sink may be told."""

    holds_status: ClassVar[bool] = True
    kinds: tuple[MessageKind, ...] | None = Field(
        None, min_length=1, description="Kinds of messages that go there, such as line_crossed; all if not given."
    )

    @field_validator("kinds")
    @classmethod
    def _kinds_that_it_takes(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        double = next((kind for kind in kinds or () if (kinds or ()).count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        if kinds is not None and "status" in kinds and not cls.holds_status:
            msg = "status is about now: it goes to MQTT, ZeroMQ and HTTP only"
            raise ValueError(msg)
        return kinds

    def takes(self, kind: str) -> bool:
        """Whether messages of a kind go there."""
        return self.kinds is None or kind in self.kinds

    queue_mb: Number = Field(
        32.0, gt=0, le=4096, description="Memory for messages that wait, in MB; when full, the oldest are dropped."
    )


class DurableBase(SinkBase):
    """A sink that acknowledges: what it must not lose waits on disk until it has."""

    durable: tuple[MessageKind, ...] | None = Field(
        None, description="Kinds that wait on disk until they are delivered; all but detections if not given."
    )

    @field_validator("durable")
    @classmethod
    def _each_once(cls, durable: tuple[str, ...] | None) -> tuple[str, ...] | None:
        double = next((kind for kind in durable or () if (durable or ()).count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        return durable

    def owes(self, kind: str) -> bool:
        """Whether messages of a kind may not be lost on their way there. A gap may not where anything may not."""
        if kind == "gap":
            return self.durable != () and (self.kinds is None or "gap" in self.kinds)
        return self.takes(kind) and (kind != "detections" if self.durable is None else kind in self.durable)
