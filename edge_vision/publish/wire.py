"""The format of messages on the wire, "edge-vision/1", and the numbers that make a loss visible."""

import secrets
from collections import Counter
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.events import Event
from edge_vision.core.frame import Frame
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.contours import polygons
from edge_vision.runtime.clock import Clock

SCHEMA: Final = "edge-vision/1"
_NS_PER_MS: Final = 1e6


_Box: TypeAlias = Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]
_Point: TypeAlias = Annotated[list[float], msgspec.Meta(min_length=2, max_length=2)]
_Keypoint: TypeAlias = Annotated[list[float], msgspec.Meta(min_length=3, max_length=3)]
_Quad: TypeAlias = Annotated[list[_Point], msgspec.Meta(min_length=4, max_length=4)]


class _Object(msgspec.Struct, rename={"label": "class"}, omit_defaults=True):
    label: str
    class_id: int
    confidence: float
    xyxy: _Box
    track_id: int | None = None
    keypoints: list[_Keypoint] | None = None
    quad: _Quad | None = None
    polygons: list[list[_Point]] | None = None
    text: str | None = None
    attributes: dict[str, str | float] | None = None


class _Frame(msgspec.Struct):
    index: int
    timestamp: str
    media_ms: float
    width: int
    height: int


class _Latency(msgspec.Struct):
    capture: float
    preprocess: float
    inference: float
    postprocess: float
    analytics: float
    total: float


class _Model(msgspec.Struct):
    name: str
    backend: str
    device: str
    precision: str


class _Head(msgspec.Struct):
    """What every numbered message of a source begins with."""

    schema: str
    kind: str
    id: str
    boot: str
    seq: int
    site: str
    source: str


class DetectionsMessage(_Head, omit_defaults=True):
    """What was seen in one frame, also when it is nothing."""

    frame: _Frame
    objects: list[_Object]
    latency_ms: _Latency
    model: _Model | None
    cascades: list[_Model] = []
    measures: dict[str, float] = {}


class EventMessage(_Head):
    """What a stage saw happen in a frame."""

    frame: _Frame
    event: Event


class Gap(msgspec.Struct, omit_defaults=True):
    """Messages that a sink will never get: of one boot, source and kind, from the first to the last number.

    Without `lost_kind` it is not known which: the file they waited in was unreadable.
    """

    sink: str
    reason: str
    count: int | None = None
    boot: str | None = None
    lost_kind: str | None = None
    first: int | None = None
    last: int | None = None


class GapMessage(_Head):
    """That messages were lost, told in their place."""

    timestamp: str
    gap: Gap


EvidenceType: TypeAlias = Literal["snapshot", "clean", "clip"]
"""A snapshot has drawn on it what was seen, a clean one has not."""


class EvidenceFile(msgspec.Struct, omit_defaults=True):
    """A picture or clip that is kept, `width` x `height` pixels; `path` is one in the folder of evidence.

    Of a clip, `first_ms` and `last_ms` are the media times of its first and last picture; `shorter` says why it does
    not reach as far as was asked for.
    """

    type: EvidenceType
    path: str
    sha256: str
    bytes: int
    width: int
    height: int
    first_ms: float | None = None
    last_ms: float | None = None
    shorter: str | None = None


class MissingEvidence(msgspec.Struct):
    """What was asked for and is not kept, and why."""

    type: EvidenceType
    reason: str


class Evidence(msgspec.Struct):
    """Everything that is kept of an event so far; what is `pending` comes with another message, which has all.

    `left_out` is how many events of the camera and kind had none since the last that had, as cooldown_s wants it.
    """

    of: str
    event_kind: str
    files: list[EvidenceFile]
    missing: list[MissingEvidence]
    pending: list[EvidenceType]
    left_out: int


class EvidenceMessage(_Head):
    """Which pictures and clips show what an event was about."""

    timestamp: str
    evidence: Evidence


def new_boot(clock: Clock) -> str:
    """A name for this run of the process: sorts by time (milliseconds in hex), and is never used twice."""
    return f"{int(clock.now().timestamp() * 1000):012x}{secrets.token_hex(3)}"


def utc(timestamp: datetime) -> str:
    """UTC as 2026-11-22T05:00:00.123456Z, always with microseconds."""
    return timestamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Wire:
    """Encodes and numbers the messages of one site.

    `seq` counts per source and kind from 1, without a gap: a gap that a consumer sees is a loss, and equals what
    the sink counted as dropped. One thread encodes for a source.
    """

    def __init__(self, site: str, boot: str, clock: Clock) -> None:
        self.site = site
        self.boot = boot
        self._clock = clock
        self._last: Counter[tuple[str, str]] = Counter()
        self._encode = msgspec.json.Encoder().encode

    def detections(self, scene: Scene) -> Message:
        """The message about one frame, also when nothing was seen."""
        frame, spent = scene.frame, scene.timings
        served = [_Model(model.name, model.backend, model.device, model.precision) for model in scene.models]
        latency = _Latency(
            _ms(spent.capture_ns),
            _ms(spent.preprocess_ns),
            _ms(spent.inference_ns),
            _ms(spent.postprocess_ns),
            _ms(spent.analytics_ns),
            _ms(self._clock.monotonic_ns() - frame.captured_ns),
        )
        name, seq = self._next(frame.source_id, "detections")
        body = DetectionsMessage(
            SCHEMA,
            "detections",
            name,
            self.boot,
            seq,
            self.site,
            frame.source_id,
            _about(frame),
            _objects(scene.detections, scene.labels),
            latency,
            served[0] if served else None,
            served[1:],
            {name: round(value, 4) for name, value in scene.measures.items() if isfinite(value)},
        )
        return self._message(name, seq, "detections", frame.source_id, self._encode(body))

    def events(self, scene: Scene) -> list[Message]:
        """A message for each event of a scene, in their order."""
        return [self._event(event, scene.frame) for event in scene.events]

    def _event(self, event: Event, frame: Frame) -> Message:
        name, seq = self._next(frame.source_id, event.kind)
        body = EventMessage(SCHEMA, event.kind, name, self.boot, seq, self.site, frame.source_id, _about(frame), event)
        return self._message(name, seq, event.kind, frame.source_id, self._encode(body))

    def gap(self, source: str, lost: Gap) -> Message:
        """That messages of a source, or of the site where it is empty, were lost. One thread calls it."""
        name, seq = self._next(source, "gap")
        now = utc(self._clock.now())
        body = GapMessage(SCHEMA, "gap", name, self.boot, seq, self.site, source, now, lost)
        return self._message(name, seq, "gap", source, self._encode(body))

    def evidence(self, source: str, kept: Evidence) -> Message:
        """What is kept of an event of a source. One thread calls it."""
        name, seq = self._next(source, "evidence")
        now = utc(self._clock.now())
        body = EvidenceMessage(SCHEMA, "evidence", name, self.boot, seq, self.site, source, now, kept)
        return self._message(name, seq, "evidence", source, self._encode(body))

    def status(self, state: str, facts: dict[str, Any]) -> Message:
        """The site's status: `state` is starting, online, degraded or offline; brokers retain it."""
        name, seq = self._next("", "status")
        return self._status(name, seq, state, facts)

    def will(self) -> Message:
        """What a broker publishes when it loses this process without a goodbye."""
        return self._status(f"{self.boot}-{self.site}-status-0", 0, "offline", {"reason": "connection lost"})

    def _status(self, name: str, seq: int, state: str, facts: dict[str, Any]) -> Message:
        body = {
            "schema": SCHEMA,
            "kind": "status",
            "id": name,
            "boot": self.boot,
            "seq": seq,
            "site": self.site,
            "timestamp": utc(self._clock.now()),
            "state": state,
            **facts,
        }
        return self._message(name, seq, "status", "", self._encode(body))

    def _next(self, source: str, kind: str) -> tuple[str, int]:
        self._last[source, kind] += 1
        seq = self._last[source, kind]
        return f"{self.boot}-{source or self.site}-{kind}-{seq}", seq

    def _message(self, name: str, seq: int, kind: str, source: str, body: bytes) -> Message:
        topic = f"edge-vision/v1/{self.site}/{source}/{kind}" if source else f"edge-vision/v1/{self.site}/{kind}"
        return Message(name, self.boot, seq, kind, source, topic, body, retain=kind == "status")


def _about(frame: Frame) -> _Frame:
    width, height = frame.wh
    return _Frame(frame.index, utc(frame.timestamp), round(frame.media_ns / _NS_PER_MS, 3), width, height)


def _objects(seen: Detections, labels: tuple[str, ...]) -> list[_Object]:
    """The rows of the detections, rounded; columns that are not there are left out."""
    objects = [
        _Object(labels[class_id], class_id, confidence, xyxy)
        for class_id, confidence, xyxy in zip(
            seen.class_id.tolist(),
            np.round(seen.confidence.astype(np.float64), 4).tolist(),
            np.round(seen.xyxy.astype(np.float64), 2).tolist(),
            strict=True,
        )
    ]
    for name in ("track_id", "keypoints", "quad"):
        column = getattr(seen, name)
        if column is not None:
            values = column.tolist() if name == "track_id" else np.round(column.astype(np.float64), 2).tolist()
            for entry, value in zip(objects, values, strict=True):
                setattr(entry, name, value or None)  # a track 0 is none
    if seen.mask is not None:
        for entry, grid, box in zip(objects, seen.mask, seen.xyxy, strict=True):
            entry.polygons = polygons(grid, box)
    if seen.text is not None:
        for entry, text in zip(objects, seen.text.tolist(), strict=True):
            entry.text = text or None
    for name, column in seen.attributes.items():
        known = column != "" if column.dtype.kind == "U" else np.isfinite(column)  # JSON has no other numbers
        rounded = column if column.dtype.kind == "U" else np.round(column.astype(np.float64), 4)
        for row in np.flatnonzero(known).tolist():
            objects[row].attributes = {**(objects[row].attributes or {}), name: rounded[row].item()}
    return objects


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / _NS_PER_MS, 3)
