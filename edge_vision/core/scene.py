"""A frame and everything found in it so far: what a stage receives and returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_vision.core.detections import Detections
from edge_vision.core.events import Event
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
    `analytics_ns` is what the stages behind the detector took, cascades with their inference included.
    """

    capture_ns: int = 0
    preprocess_ns: int = 0
    inference_ns: int = 0
    postprocess_ns: int = 0
    analytics_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A frame with its detections, the events of the stages, the models that looked, and the time it took.

    `labels` name the classes of the detections, by `class_id`. `models` are in the order in which they looked: the
    detector first, then those of cascades. `measures` are figures about the whole picture, by name.
    """

    frame: Frame
    detections: Detections = field(default_factory=Detections.empty)
    events: tuple[Event, ...] = ()
    timings: Timings = Timings()
    labels: tuple[str, ...] = ()
    models: tuple[ServedModel, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)
