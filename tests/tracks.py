"""Scenes with tracks at places that a test names, and what a stage says of them."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.events import Event
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("person", "car", "dog")
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)
WH = (100, 80)

Track: TypeAlias = tuple[float, ...]
"""Number, center x and y in pixels, and the class, 0 if not given."""


def stage(kind: str, **options: Any) -> Stage:
    """A stage for detections with the labels above."""
    return build_stage(OPTIONS.validate_python({"kind": kind, **options}), StageContext(LABELS))


def scene(tracks: Sequence[Track], seconds: float, half: float = 4.0, wh: tuple[int, int] = WH) -> Scene:
    """A frame of 100x80, or of `wh`, at a media time, with boxes of 8x8 around the tracks' centers."""
    centers = np.array([track[1:3] for track in tracks], np.float32).reshape(-1, 2)
    seen = Detections(
        np.concatenate([centers - half, centers + half], axis=1),
        np.full(len(tracks), 0.9, np.float32),
        np.array([track[3] if len(track) > 3 else 0 for track in tracks], np.int32),
        track_id=np.array([track[0] for track in tracks], np.int32),
    )
    frame = make_frame(np.zeros((wh[1], wh[0], 3), np.uint8), media_ns=round(seconds * 1e9))
    return Scene(frame, seen, labels=LABELS)


def told(one: Stage, steps: Sequence[Sequence[Track]], period_s: float = 0.1) -> list[tuple[int, Event]]:
    """What a stage tells of a sequence of frames: the number of the frame, and the event."""
    return [
        (number, event) for number, tracks in enumerate(steps) for event in one(scene(tracks, number * period_s)).events
    ]
