"""What a site file may say about where its messages go."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import (
    Field,
)

from edge_vision.core.options import Number, Options, RelativePath
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.sink_options import SinkBase
from edge_vision.publish.zeromq.options import ZeromqOptions


class OutboxOptions(Options):
    """What waits on disk for its delivery; beyond either limit the oldest are dropped, counted and told."""

    max_mb: Number = Field(512.0, ge=1, le=1_000_000, description="Disk for messages, in MB.")
    max_age_h: Number = Field(
        168.0, gt=0, le=87_600, description="Hours that a message may wait, of those in which the daemon runs."
    )


class JsonlOptions(SinkBase):
    """JSON lines: one message per line, appended to a file. Status is not written: it is about now."""

    holds_status: ClassVar[bool] = False
    kind: Literal["jsonl"]
    path: RelativePath = Field(description='The file, or "-" for standard output.')


class TerminalOptions(SinkBase):
    """A live view in the terminal: rate, latency and the last detections of each source, and the last events."""

    holds_status: ClassVar[bool] = False
    kind: Literal["terminal"]


SinkOptions: TypeAlias = Annotated[
    JsonlOptions | ZeromqOptions | MqttOptions | HttpSinkOptions | TerminalOptions, Field(discriminator="kind")
]
