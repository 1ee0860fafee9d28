"""Checks who is in a zone, since when, and whether anybody is."""

from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.analytics.places import inside
from edge_vision.core.events import PresenceChanged, ZoneEntered, ZoneLeft

RIGHT = {"bay": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}
"""The right half of the picture: x from 50."""


def _walk(*places: float) -> list[list[Track]]:
    return [[(1, place, 40.0)] for place in places]


def _short(steps: list[list[Track]], **options: Any) -> list[tuple[int, str]]:
    return [(number, event.kind) for number, event in told(stage("zones", zones=RIGHT, **options), steps)]


@pytest.mark.parametrize(
    "steps, expected",
    [
        (_walk(30, 60, 60), [(1, "zone_entered")]),
        (_walk(60, *[30] * 12), [(0, "zone_entered"), (11, "zone_left")]),
        ([*_walk(60), *[[] for _ in range(12)]], [(0, "zone_entered"), (11, "zone_left")]),
        (_walk(60, *[30] * 9, 60, 60), [(0, "zone_entered")]),
        ([*_walk(60), *[[] for _ in range(9)], *_walk(60)], [(0, "zone_entered")]),
        (_walk(30, 49, 30), []),
    ],
)
def test_who_comes_in_is_told_at_once_and_who_is_away_for_a_while_has_left(
    steps: list[list[Track]], expected: list[tuple[int, str]]
) -> None:
    """0.1 s per step, patience 1 s: a step outside or a moment unseen is no leaving."""
    assert _short(steps) == expected


def test_the_time_inside_is_from_the_first_to_the_last_frame_in_it() -> None:
    """Not to when its leaving was told."""
    events = told(stage("zones", zones=RIGHT), _walk(30, *[60] * 21, *[30] * 12))
    assert [event.dwell_s for _, event in events if isinstance(event, ZoneLeft)] == [2.0]


def test_a_moment_inside_is_not_entering_where_a_while_is_asked_for() -> None:
    """`min_s`."""
    assert _short(_walk(30, 60, 60, 60, *[30] * 15), min_s=0.5) == []
    assert _short(_walk(30, *[60] * 10), min_s=0.5) == [(6, "zone_entered")]


def test_occupancy_is_how_many_are_inside() -> None:
    """Two come, one goes."""
    steps: list[list[Track]] = [[(1, 60, 40), (2, 30, 40)], [(1, 60, 40), (2, 70, 40)]]
    steps += [[(2, 70, 40)]] * 12
    events = [event for _, event in told(stage("zones", zones=RIGHT), steps)]
    found = [
        (type(event), event.track_id, event.occupancy) for event in events if isinstance(event, (ZoneEntered, ZoneLeft))
    ]
    assert found == [(ZoneEntered, 1, 1), (ZoneEntered, 2, 2), (ZoneLeft, 1, 1)]


def test_other_classes_are_not_watched() -> None:
    """Only those that are named."""
    steps: list[list[Track]] = [[(1, 60, 40, 1), (2, 60, 40, 0)]]
    events = told(stage("zones", zones=RIGHT, classes=["car"]), steps)
    assert [event.class_name for _, event in events if isinstance(event, ZoneEntered)] == ["car"]


@pytest.mark.parametrize("anchor, inside_it", [("center", False), ("right", True), ("left", False), ("bottom", False)])
def test_the_anchor_is_what_has_to_be_inside(anchor: str, inside_it: bool) -> None:
    """A box from 42 to 50 touches the zone with its right side."""
    assert bool(_short([[(1, 46.5, 40.0)]], anchor=anchor)) == inside_it


def test_presence_is_told_when_it_has_lasted() -> None:
    """Empty at the start, occupied, empty again; each told once, 0.5 s after it began, as media time goes."""
    steps: list[list[Track]] = [*[[] for _ in range(10)], *_walk(*[60] * 10), *[[] for _ in range(30)]]
    events = told(stage("zones", zones=RIGHT, presence_s=0.5), steps)
    found = [(number, event.present) for number, event in events if isinstance(event, PresenceChanged)]
    assert found == [(5, False), (15, True), (35, False)]


def test_a_media_clock_that_begins_anew_lets_all_leave_and_come_again() -> None:
    """A camera that reconnects: nobody stays inside for ever."""
    one = stage("zones", zones=RIGHT)
    assert [event.kind for event in one(scene([(1, 60, 40)], 1000.0)).events] == ["zone_entered"]
    assert [event.kind for event in one(scene([], 0.0)).events] == ["zone_left"]


def test_those_outside_are_forgotten() -> None:
    """A thousand tracks that pass leave nothing behind."""
    one: Any = stage("zones", zones=RIGHT)
    for number in range(1000):
        one(scene([(number + 1, 30 if number % 2 else 60, 40)], number * 0.1))
    assert len(one._tracks) <= 12


@pytest.mark.parametrize("zone", [[[0, 0], [1, 1]], [[0, 0], [0.5, 0.5], [1, 1]], [[0, 0], [1, 0], [1, -0.1]]])
def test_zones_that_cannot_be_are_refused(zone: Any) -> None:
    """Two points, no area, outside the picture."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "zones", "zones": {"bay": zone}})


def test_who_is_cut_off_by_the_picture_is_in_a_zone_that_reaches_its_edge() -> None:
    """Somebody near the camera, whose feet are below the picture: his box ends at its very edge."""
    assert _short([[(1, 60.0, 76.0)]]) == [(0, "zone_entered")]
    assert _short([[(1, 96.0, 40.0)]], anchor="right") == [(0, "zone_entered")]


def test_zones_side_by_side_share_nobody_and_lose_nobody() -> None:
    """A point on their common side is in exactly one of them."""
    halves = {"left": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "right": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}
    for place in (49.99, 50.0, 50.01):
        assert len(told(stage("zones", zones=halves, anchor="center"), _walk(place))) == 1


def test_as_many_zones_as_there_may_be_with_as_many_corners() -> None:
    """Sixty-four stars of 256 corners around one another, two hundred tracks: everybody is in all of them."""
    turns = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    star = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.where(np.arange(256) % 2, 0.45, 0.4)[:, None] + 0.5
    one = stage("zones", zones={f"zone{number}": star.tolist() for number in range(64)}, anchor="center")
    events = one(scene([(number, 40.0 + number % 20, 40.0) for number in range(1, 201)], 0.0)).events
    assert len(events) == 64 * 200


def test_a_track_that_changes_its_class_to_one_that_is_not_watched_has_left() -> None:
    """After the patience, as the class it was."""
    steps: list[list[Track]] = [[(1, 60, 40, 1)]]
    steps += [[(1, 60, 40, 0)]] * 12
    events = told(stage("zones", zones=RIGHT, classes=["car"]), steps)
    assert [(event.kind, getattr(event, "class_name", "")) for _, event in events] == [
        ("zone_entered", "car"),
        ("zone_left", "car"),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_inside_equals_opencv(seed: int) -> None:
    """Random polygons of three to twelve corners, against `pointPolygonTest`; stars are concave."""
    rng = np.random.default_rng(seed)
    turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 13)))
    reach = rng.uniform(10, 50, len(turns))
    polygon = np.stack([50 + reach * np.cos(turns), 50 + reach * np.sin(turns)], axis=1).astype(np.float32)
    points = rng.uniform(0, 100, (300, 2)).astype(np.float32)
    expected = [cv2.pointPolygonTest(polygon, (float(x), float(y)), measureDist=True) for x, y in points]
    for yes, distance in zip(inside(points, polygon), expected, strict=True):
        assert yes == (distance > 0) or abs(distance) < 1e-3
