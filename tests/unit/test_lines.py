"""Checks what counts as going across a line."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.analytics.lines import crossings
from edge_vision.core.events import LineCrossed, LineTotals

GATE = {"gate": [[0.0, 0.5], [1.0, 0.5]]}
"""From left to right at y = 40: its left is above, its right below."""


def _walk(*heights: float, track: int = 1, class_id: int = 0) -> list[list[Track]]:
    return [[(track, 50.0, height, class_id)] for height in heights]


def _ways(steps: list[list[Track]], **options: Any) -> list[tuple[int, str]]:
    events = told(stage("lines", lines=GATE, **options), steps)
    return [(number, event.direction) for number, event in events if isinstance(event, LineCrossed)]


@pytest.mark.parametrize(
    "heights, expected",
    [
        ((20, 30, 39, 41, 60), [(3, "in")]),
        ((60, 41, 39, 20), [(2, "out")]),
        ((20, 30, 39), []),
        ((60, 50, 41), []),
        ((10, 79), [(1, "in")]),
        ((39, 40, 60), [(1, "in")]),
        ((60, 40, 41, 40), []),
        ((60, 40, 39), [(2, "out")]),
    ],
)
def test_from_its_left_to_its_right_is_in_and_back_is_out(
    heights: tuple[float, ...], expected: list[tuple[int, str]]
) -> None:
    """Told in the frame of the crossing, also of a leap; a point on the line is on its right."""
    assert _ways(_walk(*heights)) == expected


@pytest.mark.parametrize(
    "line, way",
    [
        ([[0, 0.5], [1, 0.5]], "in"),
        ([[1, 0.5], [0, 0.5]], "out"),
        ([[0.2, 0.4], [0.9, 0.6]], "in"),
        ([[0.6, 0.5], [1, 0.5]], None),
        ([[0, 0.5], [0.45, 0.5]], None),
    ],
)
def test_only_the_way_across_the_segment_counts(line: list[list[float]], way: str | None) -> None:
    """Down at x = 50: against lines that run back, slant, or end before they are met."""
    events = told(stage("lines", lines={"gate": line}), _walk(10, 70))
    assert [event.direction for _, event in events if isinstance(event, LineCrossed)] == ([way] if way else [])


@pytest.mark.parametrize(
    "heights, expected",
    [
        # 0.1 s per step: across at step 1; back at step 3, within the second, and for good
        ((38, 42, 42, 38, *[38] * 12), [(1, "in"), (11, "out")]),
        # trembles, and is across in the end
        ((38, 42, 38, 42, 38, 42, *[42] * 12), [(1, "in")]),
        # trembles, and is back in the end
        ((38, 42, 38, 42, 38, *[38] * 12), [(1, "in"), (11, "out")]),
        # comes back after the second
        ((38, *[42] * 12, 38), [(1, "in"), (13, "out")]),
    ],
)
def test_a_track_that_trembles_on_the_line_is_counted_once(
    heights: tuple[float, ...], expected: list[tuple[int, str]]
) -> None:
    """The first crossing at once, the way back when it has lasted; the sum is always where the track is."""
    assert _ways(_walk(*heights)) == expected


def test_without_debounce_every_crossing_is_told() -> None:
    """`debounce_s: 0`."""
    assert _ways(_walk(38, 42, 38, 42), debounce_s=0) == [(1, "in"), (2, "out"), (3, "in")]


def test_a_way_back_is_told_even_when_the_track_is_gone_by_then() -> None:
    """What is across and lost stays across."""
    steps = [*_walk(38, 42, 38), *[[] for _ in range(12)]]
    assert _ways(steps) == [(1, "in"), (11, "out")]


def test_a_track_that_was_lost_on_its_way_has_crossed() -> None:
    """Seen before the line, then behind it."""
    assert _ways([*_walk(38), [], [], [], *_walk(45)]) == [(4, "in")]


def test_two_tracks_do_not_mix() -> None:
    """One above and one below, whose rows change places."""
    steps: list[list[Track]] = [[(1, 20, 10), (2, 80, 70)], [(2, 80, 70), (1, 20, 10)], [(2, 80, 60), (1, 20, 50)]]
    events = told(stage("lines", lines=GATE), steps)
    assert [(event.track_id, event.direction) for _, event in events if isinstance(event, LineCrossed)] == [(1, "in")]


def test_counts_are_kept_by_line_direction_and_class() -> None:
    """Each event carries the sums so far, of the line and of the class on it."""
    steps: list[list[Track]] = [
        [(1, 10, 38), (2, 30, 38, 1), (3, 60, 42)],
        [(1, 10, 42), (2, 30, 42, 1), (3, 60, 38)],
    ]
    events = [event for _, event in told(stage("lines", lines={**GATE, "top": [[0, 0.1], [1, 0.1]]}), steps)]
    assert [
        (event.class_name, event.counts, event.class_counts) for event in events if isinstance(event, LineCrossed)
    ] == [
        ("person", {"in": 1, "out": 0}, {"in": 1, "out": 0}),
        ("car", {"in": 2, "out": 0}, {"in": 1, "out": 0}),
        ("person", {"in": 2, "out": 1}, {"in": 1, "out": 1}),
    ]


def test_other_classes_are_not_counted() -> None:
    """Neither told nor summed up."""
    steps: list[list[Track]] = [[(1, 10, 38, 1), (2, 30, 38)], [(1, 10, 42, 1), (2, 30, 42)]]
    events = told(stage("lines", lines=GATE, classes=["person"]), steps)
    assert [event.counts for _, event in events if isinstance(event, LineCrossed)] == [{"in": 1, "out": 0}]


@pytest.mark.parametrize("anchor, expected", [("center", []), ("bottom", [(1, "in")]), ("top", [])])
def test_the_anchor_is_what_crosses(anchor: str, expected: list[tuple[int, str]]) -> None:
    """A box of 8x8: its lower side crosses first."""
    assert _ways(_walk(35, 38), anchor=anchor) == expected


def test_another_size_of_picture_keeps_the_line_in_its_place() -> None:
    """Lines lie in 0..1 of the picture, and tracks are remembered in pixels."""
    one = stage("lines", lines=GATE)
    one(scene([(1, 50, 38)], 0.0))
    assert len(one(scene([(1, 50, 42)], 0.1)).events) == 1


def test_a_camera_that_changes_its_resolution_moves_nobody_across() -> None:
    """Half the size and back: who stood above the line still does, also where his pixel would be below it by then."""
    one = stage("lines", lines=GATE, debounce_s=0)
    assert one(scene([(1, 50, 30)], 0.0)).events == ()
    assert one(scene([(1, 25, 15)], 0.1, wh=(50, 40))).events == ()
    assert len(one(scene([(1, 25, 21)], 0.2, wh=(50, 40))).events) == 1
    assert one(scene([(1, 50, 42)], 0.3)).events == ()


def test_totals_are_told_after_every_period() -> None:
    """In, out and by class, of the period and so far; also of a period in which nobody came."""
    steps = [*_walk(38, 42), *_walk(38, 42, track=2, class_id=1), *_walk(42, 38, track=3), *[[]] * 30]
    found = [event for _, event in told(stage("lines", lines=GATE, period_s=1.0), steps) if event.kind == "line_totals"]
    assert [event for event in found[:2] if isinstance(event, LineTotals)] == [
        LineTotals(
            line="gate",
            period_s=1.0,
            period={"in": 2, "out": 1},
            counts={"in": 2, "out": 1},
            by_class={"car": {"in": 1, "out": 0}, "person": {"in": 1, "out": 1}},
        ),
        LineTotals(
            line="gate",
            period_s=1.0,
            period={"in": 0, "out": 0},
            counts={"in": 2, "out": 1},
            by_class={"car": {"in": 1, "out": 0}, "person": {"in": 1, "out": 1}},
        ),
    ]
    assert len(found) == 3


def test_a_pause_of_several_periods_is_told_as_one_and_a_clock_that_jumps_back_begins_anew() -> None:
    """Periods end when they would have; none is told of time that nobody saw pass."""
    one = stage("lines", lines=GATE, period_s=1.0)
    times = [0.0, 0.5, 3.25, 3.9, 4.0, 0.2, 1.1, 1.2]
    found = [[event.period_s for event in one(scene([], seconds)).events] for seconds in times]  # type: ignore[attr-defined]
    assert found == [[], [], [3.0], [], [1.0], [], [], [1.0]]


def test_totals_of_no_line_are_a_mistake() -> None:
    """A pipeline that tells totals needs a line: else it would tell nothing for ever."""
    with pytest.raises(ValidationError, match="there are no lines to tell the totals of every 60 s"):
        OPTIONS.validate_python({"kind": "lines", "period_s": 60})


def test_two_lines_that_meet_are_crossed_once_where_they_meet() -> None:
    """Straight through the common point of two halves: one of them counts, never both or none."""
    halves = {"left": [[0, 0.5], [0.5, 0.5]], "right": [[0.5, 0.5], [1, 0.5]]}
    for steps in (_walk(30, 50), _walk(30, 40, 50), _walk(50, 30), _walk(50, 40, 30)):
        assert len(told(stage("lines", lines=halves), steps)) == 1


@pytest.mark.parametrize(
    "way, expected",
    [
        ([(20, 40), (80, 40)], []),  # along the line
        ([(20, 30), (20, 40), (80, 40), (80, 30)], ["in", "out"]),  # onto it, along it, and back
        ([(20, 30), (20, 40), (80, 40), (80, 50)], ["in"]),  # onto it, along it, and on
        ([(20, 30), (20, 40)], ["in"]),  # ends on it
        ([(20, 50), (20, 40)], []),  # ends on it, from its right
        ([(20, 40), (20, 30)], ["out"]),  # begins on it
        ([(20, 40), (20, 50)], []),  # begins on it, and leaves to its right
        ([(20, 40), (20, 40), (20, 40)], []),  # stands on it
    ],
)
def test_a_point_on_the_line_is_on_its_right(way: list[tuple[float, float]], expected: list[str]) -> None:
    """Whatever a track does on the line, the sum of its crossings is the side where it ends."""
    steps: list[list[Track]] = [[(1, x, y)] for x, y in way]
    events = told(stage("lines", lines=GATE, debounce_s=0), steps)
    assert [event.direction for _, event in events if isinstance(event, LineCrossed)] == expected


def test_a_track_that_changes_its_class_is_counted_as_what_it_is_when_it_crosses() -> None:
    """A van that is taken for a car at first."""
    steps = [*_walk(30, class_id=0), *_walk(38, class_id=1), *_walk(42, class_id=1), *_walk(50, class_id=2)]
    events = told(stage("lines", lines=GATE), steps)
    assert [event.class_name for _, event in events if isinstance(event, LineCrossed)] == ["car"]


def test_a_number_that_is_there_twice_harms_nobody() -> None:
    """No tracker gives one; another stage might: it is one track, and the others are counted."""
    steps: list[list[Track]] = [[(1, 20, 30), (1, 60, 30), (2, 80, 30)], [(1, 20, 50), (1, 60, 50), (2, 80, 50)]]
    events = told(stage("lines", lines=GATE), steps)
    assert sorted(event.track_id for _, event in events if isinstance(event, LineCrossed)) == [1, 2]


def test_thousands_of_crossings_in_one_frame_are_all_told() -> None:
    """Sixteen lines, five hundred tracks that leap across all of them."""
    lines = {f"line{number}": [[0, 0.3 + number / 50], [1, 0.3 + number / 50]] for number in range(16)}
    one = stage("lines", lines=lines)
    tracks = [(number, 10.0 + number % 80) for number in range(1, 501)]
    one(scene([(number, x, 10.0) for number, x in tracks], 0.0))
    events = one(scene([(number, x, 70.0) for number, x in tracks], 0.1)).events
    assert len(events) == 16 * 500
    last = events[-1]
    assert isinstance(last, LineCrossed)
    assert last.counts == {"in": 500, "out": 0}


def test_a_place_that_is_no_number_is_no_crossing() -> None:
    """NaN for a frame: the track goes on from where it was seen last."""
    steps: list[list[Track]] = [*_walk(30), [(1, float("nan"), float("nan"))], *_walk(50)]
    events = told(stage("lines", lines=GATE), steps)
    assert [event.direction for _, event in events if isinstance(event, LineCrossed)] == ["in"]


def _begins(steps: list[tuple[int, float, float]]) -> list[tuple[int, str]]:
    """One track a frame: its number, where its track began, and where it is."""
    one = stage("lines", lines=GATE)
    found: list[tuple[int, str]] = []
    for number, (track, began, height) in enumerate(steps):
        now, then = scene([(track, 50, height)], number * 0.1), scene([(track, 50, began)], 0.0)
        events = one(replace(now, detections=replace(now.detections, began=then.detections.xyxy))).events
        found += [(number, event.direction) for event in events if isinstance(event, LineCrossed)]
    return found


def test_the_way_of_a_track_begins_where_it_was_seen_first() -> None:
    """A car that is across by the time the tracker is sure of it; one that is not; one that has always been below."""
    assert _begins([(1, 20, 60), (1, 20, 70)]) == [(0, "in")]
    assert _begins([(1, 20, 30), (1, 20, 35), (1, 20, 45)]) == [(2, "in")]
    assert _begins([(1, 60, 70), (1, 60, 65)]) == []


def test_a_track_that_was_forgotten_does_not_cross_twice() -> None:
    """Its first way was looked at long ago, as the higher number that came since shows."""
    one: Any = stage("lines", lines=GATE)
    first, later = scene([(1, 50, 60)], 0.0), scene([(2, 50, 70)], 100.0)
    began = scene([(1, 50, 20)], 0.0).detections.xyxy
    assert len(one(replace(first, detections=replace(first.detections, began=began))).events) == 1
    one(later)
    again = scene([(1, 50, 60)], 101.0)
    assert one(replace(again, detections=replace(again.detections, began=began))).events == ()


def test_old_tracks_are_forgotten() -> None:
    """Memory is bounded by a minute of tracks."""
    one: Any = stage("lines", lines=GATE)
    for number in range(200):
        one(scene([(number + 1, 50, 38)], number * 1.0))
    assert len(one._tracks) <= 62


@pytest.mark.parametrize(
    "lines", [{"gate": [[0, 0.5], [0, 0.5]]}, {"gate": [[0, 0.5], [1.5, 0.5]]}, {"a b": [[0, 0], [1, 1]]}]
)
def test_lines_that_cannot_be_are_refused(lines: Any) -> None:
    """Without length, outside the picture, with a name that fits no topic."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "lines", "lines": lines})


def test_crossings_of_all_pairs_equal_those_one_by_one() -> None:
    """Random ways and lines, against the sign of the side before and after and the meeting of two segments."""
    rng = np.random.default_rng(7)
    before, now, lines = rng.uniform(0, 1, (40, 2)), rng.uniform(0, 1, (40, 2)), rng.uniform(0, 1, (9, 2, 2))
    found = crossings(before, now, lines)
    met = 0
    for row in range(40):
        for column, (start, end) in enumerate(lines):
            system = np.stack([now[row] - before[row], start - end], axis=1)
            along, across = np.linalg.solve(system, start - before[row])
            meets = 0 <= along <= 1 and 0 <= across <= 1
            turn = float(np.cross(np.append(end - start, 0), np.append(now[row] - before[row], 0))[2])
            assert found[row, column] == (np.sign(turn) if meets else 0)
            met += meets
    assert 20 < met < 340
