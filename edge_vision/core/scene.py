"""A frame and everything found in it so far: what a stage receives and returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from edge_vision.core.detections import Detections
from edge_vision.core.frame import Frame


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Which model answered, and on what: part of every message, so that a reading can be traced to its engine."""

    name: str
    backend: str
    device: str
    precision: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timings:
    """How long each step took for one frame, in nanoseconds of monotonic time.

    `capture_ns` runs from the picture in hand to the start of its analysis: copying it out of the decoder, and
    waiting in the queue. The wait for the camera's next picture, and the decoding inside it, is not latency.
    """

    capture_ns: int = 0
    preprocess_ns: int = 0
    inference_ns: int = 0
    postprocess_ns: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a stage saw happen; free of pixels."""

    kind: str
    source_id: str
    timestamp: datetime
    media_ns: int
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A frame with its detections, the events of the stages, the model that looked, and the time it took."""

    frame: Frame
    detections: Detections = field(default_factory=Detections.empty)
    events: tuple[Event, ...] = ()
    timings: Timings = Timings()
    model: ServedModel | None = None
