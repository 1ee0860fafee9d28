"""What each stage of a pipeline costs per frame, in microseconds, with 1, 20 and 200 objects that move about.

usage: python benchmarks/stages.py [STAGE ...]
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import STAGES, build_stage
from edge_vision.core.detections import Detections, masks
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.testing.fakes import make_frame

OBJECTS: Final = (1, 20, 200)
FRAMES: Final = 200
ROUNDS: Final = 5
FPS: Final = 25
WH: Final = (1920, 1080)
LABELS: Final = ("person", "car", "dog")
WHOLE: Final = [[0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]]
FLOOR: Final = {
    "points": [[0.1, 0.4], [0.9, 0.4], [1.0, 1.0], [0.0, 1.0]],
    "meters": [[0, 0], [10, 0], [10, 20], [0, 20]],
}
LINES: Final = {"a": [[0.0, 0.5], [1.0, 0.5]], "b": [[0.5, 0.0], [0.5, 1.0]]}
_OPTIONS: Final[TypeAdapter[AnalyticsOptions]] = TypeAdapter(AnalyticsOptions)


class Answer:
    """A network that costs nothing and says "dog" of every picture: what is measured is the stage around it."""

    model = ServedModel("answer", "none", "CPU", "f32", LABELS)

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """One row over the whole picture for each."""
        return [
            Detections(
                np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32),
                np.ones(1, np.float32),
                np.full(1, 2, np.int32),
                text=np.array(["A12345"]),
            )
            for image in images
        ]


_READING: Final[dict[str, Any]] = {"labels": LABELS, "network": Answer(), "gives": frozenset({"text"})}


@dataclass(frozen=True, slots=True)
class Case:
    """A stage with the options of a usual site; `context` has what its model gives, where it has one."""

    options: dict[str, Any] = field(default_factory=dict)
    context: Callable[[], StageContext] = lambda: StageContext(LABELS)


CASES: Final[dict[str, Case]] = {
    "filter": Case({"classes": ["person", "car"], "min_confidence": 0.2, "min_area_px": 100}),
    "tracker": Case({"high": 0.3}),
    "lines": Case({"lines": LINES}),
    "zones": Case({"zones": {"bay": WHOLE, "door": [[0, 0], [0.3, 0], [0.3, 1]]}, "presence_s": 2}),
    "count": Case({"zones": {"bay": WHOLE}}),
    "cascade": Case(
        {"name": "reading", "model": "answer", "region": "quad", "size": [188, 48], "reads": 3},
        lambda: StageContext(**_READING),
    ),
    "barcode": Case({"kinds": ["qr"], "effort": "low"}),
    "blur": Case({"classes": ["person"]}),
    "motion": Case({}),
    "dwell": Case({"zones": {"bay": WHOLE}, "limit_s": 3}),
    "speed": Case({"calibration": FLOOR, "limit_mps": 2}),
    "distance": Case({"calibration": FLOOR}),
    "proximity": Case({"calibration": FLOOR, "proximity_m": 1.0, "classes": ["person"], "to": ["car"]}),
    "crowd": Case({"zones": {"bay": WHOLE}, "limit": 5, "min_s": 0.2}),
    "smooth": Case({}),
    "heatmap": Case({"period_s": 1}),
    "measure": Case({"measures": {"light": {"kind": "brightness"}, "sharp": {"kind": "sharpness"}}}),
    "inspect": Case({"parts": ["car"], "texts": {"text": {"equals": "A12345"}}, "line": [[0.5, 0], [0.5, 1]]}),
    "sort": Case({}),
}
"""A line for every kind of stage: a test fails where one is missing."""


def scenes(count: int, frames: int = FRAMES) -> list[Scene]:
    """Frames in which `count` objects go round, each on a circle of its own, with every column there is."""
    random = np.random.default_rng(count)
    middle = random.uniform(0.1, 0.9, (count, 2)) * WH
    radius = random.uniform(20, 200, (count, 1))
    start = random.uniform(0, 2 * np.pi, count)
    side = random.uniform(20, 80, (count, 2))
    image = np.asarray(cv2.resize(random.integers(0, 255, (18, 32, 3)).astype(np.uint8), WH), np.uint8)
    grid = masks([np.ones((28, 28), bool)] * count)
    made = []
    for number in range(frames):
        angle = start + number / FPS
        center = middle + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        boxes = np.concatenate([center - side / 2, center + side / 2], axis=1)
        boxes = np.clip(boxes, 0, [*WH, *WH]).astype(np.float32)
        corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
        seen = Detections(
            boxes,
            np.linspace(0.95, 0.4, count, dtype=np.float32),
            np.arange(count, dtype=np.int32) % len(LABELS),
            track_id=np.arange(1, count + 1, dtype=np.int32),
            keypoints=np.concatenate([corners, np.ones((count, 4, 1), np.float32)], axis=2),
            quad=corners,
            mask=grid,
            text=np.full(count, "A12345"),
            embedding=np.full((count, 8), 8**-0.5, np.float32),
        )
        frame = make_frame(image, index=number, media_ns=number * 1_000_000_000 // FPS)
        made.append(Scene(frame, seen, labels=LABELS))
    return made


def build(kind: str) -> Stage:
    """A fresh stage of a kind."""
    case = CASES[kind]
    return build_stage(_OPTIONS.validate_python({"kind": kind, **case.options}), case.context())


def microseconds(kind: str, over: Sequence[Scene]) -> float:
    """Processor time per frame: the best of a few rounds, each with a fresh stage over all frames."""
    rounds = []
    for _ in range(ROUNDS):
        stage = build(kind)
        started = time.process_time_ns()
        for scene in over:
            stage(scene)
        rounds.append((time.process_time_ns() - started) / len(over) / 1e3)
    return min(rounds)


def main(kinds: Sequence[str]) -> None:
    """A table in Markdown."""
    cv2.setNumThreads(1)
    given = {count: scenes(count) for count in OBJECTS}
    print("| Stage | " + " | ".join(f"{count} objects, us" for count in OBJECTS) + " |")
    print("|---|" + "---|" * len(OBJECTS))
    for kind in kinds or STAGES:
        figures = (f"{microseconds(kind, given[count]):.0f}" for count in OBJECTS)
        print(f"| `{kind}` | " + " | ".join(figures) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
