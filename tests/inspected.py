"""Parts with defects before a stage that inspects them, and what it tells."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.events import Verdict
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("part", "scratch", "hole", "stain")
PART, SCRATCH, HOLE, STAIN = range(4)
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)
WH = (200, 100)
Seen = tuple[float, ...]
"""Class, left, top, right, bottom, and the track's number where it is a part."""
GOOD: Seen = (PART, 50, 20, 90, 60, 7)
FLAW: Seen = (SCRATCH, 60, 30, 68, 35)
"""40 of 1600 square pixels: 2.5 %."""


def inspecting(**options: Any) -> Stage:
    """The stage, with these rules."""
    options = {"parts": ["part"], **options}
    return build_stage(OPTIONS.validate_python({"kind": "inspect", **options}), StageContext(LABELS))


def scene_of(
    seen: list[Seen],
    seconds: float,
    image: NDArray[np.uint8] | None = None,
    attributes: dict[str, NDArray[Any]] | None = None,
    texts: list[str] | None = None,
    measures: dict[str, float] | None = None,
) -> Scene:
    """A frame at a time, with what is seen in it."""
    found = Detections(
        np.array([one[1:5] for one in seen], np.float32).reshape(-1, 4),
        np.full(len(seen), 0.9, np.float32),
        np.array([one[0] for one in seen], np.int32),
        track_id=np.array([one[5] if len(one) > 5 else 100 + row for row, one in enumerate(seen)], np.int32),
        text=None if texts is None else np.array(texts, str),
        attributes=attributes or {},
    )
    picture = np.full((WH[1], WH[0], 3), 90, np.uint8) if image is None else image
    frame = make_frame(picture, media_ns=round(seconds * 1e9))
    return Scene(frame, found, labels=LABELS, measures=measures or {})


def told_of(stage: Stage, steps: list[list[Seen]], **given: Any) -> list[Verdict]:
    """What is told of frames a tenth of a second apart, and two seconds of nothing after them."""
    scenes = [scene_of(seen, 0.1 * number, **given) for number, seen in enumerate(steps)]
    scenes += [scene_of([], 0.1 * len(steps) + number) for number in range(3)]
    events = [event for scene in scenes for event in stage(scene).events]
    return [event for event in events if isinstance(event, Verdict)]
