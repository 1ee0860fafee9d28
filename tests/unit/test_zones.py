"""Checks who is in a zone, since when, and whether anybody is."""

from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.analytics.places import Areas, in_pixels, inside
from edge_vision.core.events import PresenceChanged, ZoneEntered, ZoneLeft

RIGHT = {"bay": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}
"""The right half of the picture: x from 50."""


def _walk(*places: float) -> list[list[Track]]:
    return [[(1, place, 40.0)] for place in places]


def _presence(steps: list[list[Track]], **options: Any) -> list[tuple[int, bool]]:
    events = told(stage("zones", zones=RIGHT, **options), steps)
    return [(number, event.present) for number, event in events if isinstance(event, PresenceChanged)]


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
    """Empty at the start, occupied, empty again; each told once, in the frame in which it has been so for 1.5 s.

    He is there from frame 10 to 19. That the zone is empty since 19 counts from there, not from when his leaving is
    sure; what is shorter than the patience is told with it.
    """
    steps: list[list[Track]] = [*[[] for _ in range(20)], *_walk(*[60] * 20), *[[] for _ in range(30)]]
    assert _presence(steps, presence_s=1.5) == [(15, False), (35, True), (54, False)]
    assert _presence(steps, presence_s=0.5) == [(5, False), (25, True), (50, False)]


def test_presence_does_not_flicker() -> None:
    """Unseen for half a second again and again, and outside for as long: the zone is occupied from frame 0 on."""
    steps = [*_walk(60), *[[] for _ in range(5)], *_walk(60, *[30] * 5)] * 3
    assert _presence(steps, presence_s=1.0) == [(10, True)]


def test_a_short_visit_is_no_presence_and_a_short_absence_no_absence() -> None:
    """Both shorter than what is asked for: nothing but the emptiness of the start is told."""
    steps: list[list[Track]] = [*[[] for _ in range(25)], *_walk(*[60] * 5), *[[] for _ in range(40)]]
    assert _presence(steps, presence_s=2.0) == [(20, False)]
    steps = [*_walk(*[60] * 25), *[[] for _ in range(15)], *_walk(*[60] * 25)]
    assert _presence(steps, presence_s=2.0) == [(20, True)]


def test_presence_goes_on_while_people_take_turns() -> None:
    """One goes when the next has come: occupied all the time, so the time counts from the first."""
    first, second = (1, 60, 40), (2, 70, 40)
    steps: list[list[Track]] = [[first] if at < 8 else [first, second] if at < 10 else [second] for at in range(30)]
    assert _presence(steps, presence_s=1.5) == [(15, True)]


def test_presence_across_a_clock_that_jumps() -> None:
    """Forward: an hour has passed, and so it has for who is still there. Back: time counts anew, nothing hangs."""
    one = stage("zones", zones=RIGHT, presence_s=2.0)
    found = [
        (seconds, event.present, event.occupancy)
        for seconds, tracks in [(0.0, 1), (1.0, 1), (3600.0, 1), (0.0, 0), (1.9, 0), (2.0, 0), (2.1, 0)]
        for event in one(scene([(1, 60, 40)] * tracks, seconds)).events
        if isinstance(event, PresenceChanged)
    ]
    assert found == [(3600.0, True, 1), (2.0, False, 0)]


def test_a_track_that_is_still_there_when_the_clock_begins_anew_stays() -> None:
    """Its time inside counts from then, and is never negative."""
    one = stage("zones", zones=RIGHT)
    times = [1000.0, 1005.0, 1.0, 3.0, 4.1]
    steps = [(at, event) for at in times for event in one(scene([(1, 30 if at == 4.1 else 60, 40)], at)).events]
    assert [(at, event.kind) for at, event in steps] == [(1000.0, "zone_entered"), (4.1, "zone_left")]
    assert [event.dwell_s for _, event in steps if isinstance(event, ZoneLeft)] == [2.0]


def test_zones_that_overlap_are_told_apart() -> None:
    """One walks through both; each tells of its own."""
    zones = {**RIGHT, "far": [[0.7, 0.0], [1.0, 0.0], [1.0, 1.0], [0.7, 1.0]]}
    steps = _walk(30, 60, 80, 60, *[60] * 12, *[30] * 12)
    events = told(stage("zones", zones=zones), steps)
    found = [(at, one.kind, one.zone) for at, one in events if isinstance(one, (ZoneEntered, ZoneLeft))]
    assert found == [(1, "zone_entered", "bay"), (2, "zone_entered", "far"), (13, "zone_left", "far"),
                     (26, "zone_left", "bay")]  # fmt: skip


@pytest.mark.parametrize("anchor, center", [("bottom", (50, 76)), ("right", (96, 40)), ("top", (50, 4))])
@pytest.mark.parametrize("beyond", [0.0, 3.0])
def test_whoever_is_cut_off_by_the_rim_is_in_a_zone_that_reaches_it(
    anchor: str, center: tuple[int, int], beyond: float
) -> None:
    """A box that ends at the picture's last row has its anchor at y = height; one may even reach beyond."""
    x, y = center[0] + beyond * (anchor == "right"), center[1] + beyond * {"bottom": 1, "top": -1}.get(anchor, 0)
    one = stage("zones", zones={"all": [[0, 0], [1, 0], [1, 1], [0, 1]]}, anchor=anchor)
    assert [event.kind for event in one(scene([(1, x, y)], 0.0)).events] == ["zone_entered"]


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
    assert len(one._stays.tracks) <= 12


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
    after: list[Track] = [(1, 60, 40, 0)]
    steps: list[list[Track]] = [[(1, 60, 40, 1)]]
    steps += [after] * 12
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


def test_many_polygons_at_once_equal_each_alone() -> None:
    """Of different numbers of corners, as the stages ask; also where a whole row of points lies on a shared side."""
    rng = np.random.default_rng(3)
    zones = {f"z{corners}": tuple(map(tuple, rng.uniform(0, 1, (corners, 2)))) for corners in (3, 4, 7, 12)}
    zones |= {"up": ((0, 0), (1, 0), (1, 0.5), (0, 0.5)), "down": ((0, 0.5), (1, 0.5), (1, 1), (0, 1))}
    places = np.concatenate([rng.uniform(0, [100, 80], (200, 2)), [[x, 40.0] for x in range(0, 100, 7)]]).astype(
        np.float32
    )
    boxes = np.concatenate([places, places], axis=1)
    found = Areas(zones, "center").within(boxes, (100, 80))
    alone = [inside(places, in_pixels(polygon, (100, 80))) for polygon in zones.values()]
    assert found.tolist() == np.stack(alone, axis=1).tolist()
    assert (found[:, -2:].sum(axis=1) == 1).all()


def test_zones_grow_with_the_picture() -> None:
    """The same zones over one size after another: a camera may be switched."""
    areas = Areas({"right": ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))}, "bottom")
    box = np.array([[50.0, 10, 70, 40]], np.float32)
    assert [bool(areas.within(box, wh)[0, 0]) for wh in ((100, 80), (200, 160), (100, 80))] == [True, False, True]


def test_presence_begins_when_the_first_one_came() -> None:
    """Not when he had been there for `min_s`."""
    steps: list[list[Track]] = [[]] * 20 + [[(1, 70, 40)]] * 30
    assert _presence(steps, presence_s=1.5, min_s=1.0) == [(15, False), (35, True)]
