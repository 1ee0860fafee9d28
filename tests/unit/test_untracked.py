"""What a stage behind the tracker found has no number: stages that follow tracks leave it alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from crops import SayingNetwork
from tracks import LABELS, OPTIONS, Track, scene

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.table import build_stage
from edge_vision.core.events import Event
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene

GATE = {"gate": [[0.5, 0.0], [0.5, 1.0]]}
LEFT = {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
FOLLOWING: dict[str, dict[str, Any]] = {
    "lines": {"lines": GATE, "debounce_s": 0},
    "zones": {"zones": LEFT, "patience_s": 0, "presence_s": 0.1},
    "dwell": {"zones": LEFT, "limit_s": 0.1, "patience_s": 0},
    "speed": {"limit_mps": 0.1},
    "proximity": {"proximity_m": 50.0, "min_s": 0, "patience_s": 0},
    "cascade": {"model": "m", "reads": 2, "every_s": 0, "patience_s": 0},
    "inspect": {"parts": ["person"], "patience_s": 0.05},
    "smooth": {},
}


def _stage(kind: str) -> Stage:
    context = StageContext(LABELS, SayingNetwork(lambda image: (f"w{image.shape[1]}", 0.9)), frozenset({"text"}))
    return build_stage(OPTIONS.validate_python({"kind": kind, **FOLLOWING[kind]}), context)


def _frames(others: int) -> Iterator[Scene]:
    """A track that walks across the picture, and so many without a number that jump from side to side."""
    for number in range(30):
        walker: list[Track] = [(1, 10 + 2.5 * number, 40)]
        yield scene(walker + [(0, 20 + 60 * (number % 2), 20 + 5 * place) for place in range(others)], number / 10)
    for number in range(30, 40):
        yield scene([(0, 20 + 60 * (number % 2), 20 + 5 * place) for place in range(others)], number / 10)


def _told(stage: Stage, others: int) -> tuple[list[Event], list[Scene]]:
    after = [stage(one) for one in _frames(others)]
    return [event for one in after for event in one.events], after


@pytest.mark.parametrize("kind", FOLLOWING)
def test_what_has_no_number_is_no_track(kind: str) -> None:
    """The same is told of the track with and without them, and nothing is known of them."""
    alone, seen_alone = _told(_stage(kind), 0)
    events, seen = _told(_stage(kind), 2)
    assert events == alone
    for one, other in zip(seen, seen_alone, strict=True):
        count = len(other.detections)
        assert one.detections.xyxy[:count].tolist() == other.detections.xyxy.tolist()
        for column in one.detections.attributes.values():
            unknown = column[count:] == "" if column.dtype.kind == "U" else np.isnan(column[count:])
            assert unknown.all()


def test_smooth_leaves_what_has_no_number_where_it_is() -> None:
    """It is another object in each frame, for all anybody knows."""
    given = list(_frames(2))
    for before, after in zip(given, _told(_stage("smooth"), 2)[1], strict=True):
        untracked = ~before.detections.tracked
        assert after.detections.xyxy[untracked].tolist() == before.detections.xyxy[untracked].tolist()
