"""At the end of a recording nothing is lost: what waits for a track to have left is told, and only that."""

from typing import Any

import numpy as np
import pytest
from crops import SayingNetwork
from tracks import LABELS, OPTIONS, WH, Track, scene

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.table import build_stage
from edge_vision.app.pipeline import Road
from edge_vision.core.events import Event, Heatmap, LineCrossed, LineTotals, Proximity, Reading, Verdict, ZoneLeft
from edge_vision.core.protocols import Finisher, Stage
from edge_vision.core.scene import Scene
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_frame

ZONES = {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}
HERE: Track = (1, 20, 40)


def _stage(kind: str, **options: Any) -> Stage:
    context = StageContext(LABELS, SayingNetwork(lambda image: (f"w{image.shape[1]}", 0.5)), frozenset({"text"}))
    return build_stage(OPTIONS.validate_python({"kind": kind, **options}), context)


def _end(stage: Stage, *steps: list[Track]) -> tuple[list[Event], tuple[Event, ...]]:
    """What is told of frames 0.1 s apart, and what at their end; asked again, nothing more."""
    told = [event for number, tracks in enumerate(steps) for event in stage(scene(tracks, number / 10)).events]
    assert isinstance(stage, Finisher)
    last = Scene(make_frame(np.zeros((WH[1], WH[0], 3), np.uint8), media_ns=(len(steps) - 1) * 100_000_000))
    at_end = stage.finish(last)
    assert stage.finish(last).events == ()
    return told, at_end.events


def test_a_track_is_told_with_the_readings_it_has() -> None:
    """Two of five that were wanted: the plate at the end of the clip is read, too."""
    told, (reading,) = _end(_stage("cascade", model="m", every_s=0), [HERE], [HERE])
    assert told == []
    assert isinstance(reading, Reading)
    assert (reading.text, reading.votes, reading.track_id) == ("w8", 2, 1)


def test_a_track_that_was_told_is_not_told_again() -> None:
    """Its readings had decided."""
    told, at_end = _end(_stage("cascade", model="m", every_s=0, reads=1), [HERE], [HERE])
    assert [event.kind for event in told] == ["reading"]
    assert at_end == ()


def test_parts_are_judged_that_have_not_left() -> None:
    """Each that was seen, unless it was told when it crossed a line; one that never crosses is not judged."""
    told, at_end = _end(_stage("inspect", parts=["person"]), [HERE, (2, 60, 40)], [HERE])
    assert told == []
    assert [(one.verdict, one.part.track_id) for one in at_end if isinstance(one, Verdict)] == [("OK", 1), ("OK", 2)]
    line = {"line": [[0.5, 0], [0.5, 1]]}
    told, at_end = _end(_stage("inspect", parts=["person"], **line), [(1, 40, 40)], [(1, 60, 40), (2, 60, 40)])
    assert [event.kind for event in told] == ["verdict"]
    assert at_end == ()


def test_a_crossing_that_waits_is_told() -> None:
    """Across and back within a second: at the end it is on the side it came from, and both ways are counted."""
    stage = _stage("lines", lines={"gate": [[0.5, 0], [0.5, 1]]})
    (first,), (last,) = _end(stage, [(1, 40, 40)], [(1, 60, 40)], [(1, 40, 40)])
    assert isinstance(first, LineCrossed)
    assert isinstance(last, LineCrossed)
    assert first.direction != last.direction
    assert last.counts == {"in": 1, "out": 1}


def test_the_totals_of_a_period_that_is_not_over_are_told() -> None:
    """With the length that it has."""
    stage = _stage("lines", lines={"gate": [[0.5, 0], [0.5, 1]]}, period_s=60)
    _, (totals,) = _end(stage, [(1, 40, 40)], [(1, 60, 40)], [(1, 70, 40)])
    assert isinstance(totals, LineTotals)
    assert totals.period_s == pytest.approx(0.2)
    assert sum(totals.period.values()) == 1


def test_who_is_out_of_a_zone_has_left_and_who_is_inside_has_not() -> None:
    """Whatever the patience."""
    steps = [[HERE, (2, 20, 20)], [HERE, (2, 20, 20)], [HERE]]
    told, at_end = _end(_stage("zones", zones=ZONES, patience_s=9), *steps)
    assert [event.kind for event in told] == ["zone_entered"] * 2
    assert [(one.track_id, one.dwell_s, one.occupancy) for one in at_end if isinstance(one, ZoneLeft)] == [(2, 0.1, 1)]


def test_who_is_gone_is_apart_and_who_is_near_is_not() -> None:
    """Whatever the patience."""
    near: list[Track] = [(1, 20, 40), (2, 24, 40), (3, 22, 40)]
    stage = _stage("proximity", proximity_m=3.0, min_s=0, patience_s=9)
    told, at_end = _end(stage, near, near, near[:2])
    assert len(told) == 3
    pairs = [(one.track_id, one.other_track_id, one.near) for one in at_end if isinstance(one, Proximity)]
    assert pairs == [(1, 3, False), (2, 3, False)]


def test_the_heatmap_of_a_short_clip_is_told() -> None:
    """A period that is not over is shown as it is."""
    told, (heatmap,) = _end(_stage("heatmap", columns=1, rows=1), [HERE], [HERE], [HERE])
    assert told == []
    assert isinstance(heatmap, Heatmap)
    assert heatmap.seconds == [0.2]


def test_a_road_ends_once_and_holds_no_picture() -> None:
    """The last frame comes again with its time and size, without objects; then there is nothing more."""
    stage = _stage("heatmap", columns=1, rows=1)
    road = Road([lambda given: Scene(given.frame, scene([HERE], 0).detections, labels=LABELS), stage], SystemClock())
    assert road.finish() is None
    for number in range(2):
        road(make_frame(index=number))
    last = road.finish()
    assert last is not None
    assert (last.frame.index, last.frame.media_ns, last.frame.wh) == (1, 40_000_000, (64, 48))
    assert last.frame.image.strides == (0, 0, 0)
    assert len(last.detections) == 0
    assert [event.kind for event in last.events] == ["heatmap"]
    assert road.finish() is None


def test_a_road_that_has_nothing_to_tell_ends_without_a_word() -> None:
    """No event, no scene."""
    road = Road([_stage("zones", zones=ZONES)], SystemClock())
    road(make_frame())
    assert road.finish() is None
