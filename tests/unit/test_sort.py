"""The class of the picture is told when it has changed and stays."""

from collections.abc import Sequence

import numpy as np
import pytest

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.sort import SortOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.events import ClassChanged
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("green", "ripe", "rotten")

Scores = dict[str, float]


def _stage(**options: float) -> Stage:
    return build_stage(SortOptions.model_validate({"kind": "sort", **options}), StageContext(LABELS))


def _scene(scores: Scores, seconds: float) -> Scene:
    rows = sorted(scores.items(), key=lambda one: -one[1])
    seen = Detections(
        np.tile(np.array([0, 0, 64, 48], np.float32), (len(rows), 1)),
        np.array([score for _, score in rows], np.float32),
        np.array([LABELS.index(name) for name, _ in rows], np.int32),
    )
    return Scene(make_frame(media_ns=round(seconds * 1e9)), seen, labels=LABELS)


def _told(stage: Stage, frames: Sequence[Scores], start: float = 0.0) -> list[tuple[int, ClassChanged]]:
    """The number of the frame, ten in a second, and the event."""
    scenes = [stage(_scene(scores, start + number / 10)) for number, scores in enumerate(frames)]
    return [
        (number, event)
        for number, scene in enumerate(scenes)
        for event in scene.events
        if isinstance(event, ClassChanged)
    ]


GREEN, RIPE, WEAK = {"green": 0.9, "ripe": 0.1}, {"ripe": 0.8, "green": 0.2}, {"green": 0.4, "ripe": 0.3}


def test_a_class_is_told_when_it_has_stood() -> None:
    """Once, with what was before it and for how long; then nothing until it changes."""
    found = _told(_stage(stable_s=0.3), [GREEN] * 10 + [RIPE] * 10)
    assert [(number, event.class_name, event.previous, event.previous_s) for number, event in found] == [
        (3, "green", None, 0.0),
        (13, "ripe", "green", 1.0),
    ]
    assert found[1][1].scores == {"ripe": pytest.approx(0.8)}


def test_a_class_that_flickers_is_not_told() -> None:
    """Two frames of another one start the clock anew for both."""
    assert _told(_stage(stable_s=0.3), [GREEN] * 4 + [RIPE] * 2 + [GREEN] * 9)[1:] == []


def test_below_the_confidence_no_class_is_known() -> None:
    """That is told like a class, as null; a scene without any counts the same."""
    for nothing in (WEAK, {}):
        found = _told(_stage(stable_s=0.2, confidence=0.5), [GREEN] * 5 + [nothing] * 5 + [GREEN] * 5)
        told = [(number, event.class_name, event.previous) for number, event in found]
        assert told == [(2, "green", None), (7, None, "green"), (12, "green", None)]


def test_a_picture_that_never_shows_anything_tells_nothing() -> None:
    """Unknown is what was to be expected."""
    assert _told(_stage(stable_s=0), [WEAK] * 5) == []


def test_only_the_best_classes_are_kept() -> None:
    """In the scene and in the event, best first."""
    scores = {"rotten": 0.6, "ripe": 0.3, "green": 0.1}
    for top_k in (1, 2, 3):
        after = _stage(top_k=top_k, stable_s=0)(_scene(scores, 1.0))
        assert len(after.detections) == top_k
        (event,) = after.events
        assert isinstance(event, ClassChanged)
        assert list(event.scores) == list(scores)[:top_k]


def test_a_media_clock_that_begins_anew_is_waited_for_again() -> None:
    """After a reconnection the class has to stand from the new beginning."""
    stage = _stage(stable_s=0.5)
    assert _told(stage, [GREEN] * 3, start=1000.0) == []
    found = _told(stage, [GREEN] * 10)
    assert [(number, event.class_name, event.previous_s) for number, event in found] == [(5, "green", 0.0)]
