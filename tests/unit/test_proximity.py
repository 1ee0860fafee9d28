"""Checks how far objects are from each other, and that who comes too near is told."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.core.detections import Detections
from edge_vision.core.events import Proximity

FLAT = {"points": [[0, 0], [1, 0], [1, 1], [0, 1]], "meters": [[0, 0], [10, 0], [10, 8], [0, 8]]}
"""Seen from straight above: 0.1 m per pixel of the picture of 100x80."""
AWAY = {"points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3], [0.4, 0.3]], "meters": [[0, 0], [4, 0], [4, 12], [0, 12]]}
"""A floor of 4 by 12 meters that runs away from the camera."""
PRESS = {"press": [[0.8, 0.0], [1.0, 0.0], [1.0, 1.0], [0.8, 1.0]]}
"""The right fifth of the picture: x from 80."""


def _apart(tracks: list[Track], kind: str = "distance", **options: Any) -> list[float]:
    found = stage(kind, **{"calibration": FLAT, **options})(scene(tracks, 0.0)).detections
    column = found.attributes["distance_m"]
    assert column.dtype == np.float32
    return [float(value) for value in column]


def test_the_nearest_other_counts() -> None:
    """From the middle of one's lower side to the other's lower side, which reaches four pixels nearer."""
    assert _apart([(1, 20, 40), (2, 50, 40), (3, 90, 40)]) == pytest.approx([2.6, 2.6, 3.6])
    assert _apart([(1, 20, 10), (2, 24, 40)]) == pytest.approx([3.0, 3.0])


def test_alone_there_is_no_distance() -> None:
    """NaN, and an empty column of an empty picture."""
    assert _apart([(1, 20, 40)]) == pytest.approx([np.nan], nan_ok=True)
    assert _apart([]) == []


def test_classes_say_who_is_measured_and_to_what() -> None:
    """People to cars: not to other people, and cars not at all."""
    tracks: list[Track] = [(1, 20, 40), (2, 30, 40), (3, 80, 40, 1)]
    found = _apart(tracks, classes=["person"], to=["car"])
    assert found == pytest.approx([5.6, 4.6, np.nan], nan_ok=True)


def test_meters_are_those_of_the_floor() -> None:
    """The corners of the calibrated floor: 4 m across near the camera, 4 m far from it, 12 m along."""
    near: list[Track] = [(1, 10, 68), (2, 90, 68)]
    far: list[Track] = [(1, 40, 20), (2, 60, 20)]
    assert _apart(near, calibration=AWAY) == pytest.approx([3.8, 3.8], abs=1e-4)  # 4 px of 80 are 0.2 m there
    assert _apart(far, calibration=AWAY) == pytest.approx([3.2, 3.2], abs=1e-4)  # and 4 px of 20 are 0.8 m
    above = _apart([(1, 50, 1), (2, 50, 68)], calibration=AWAY)
    assert np.isnan(above).all()


@pytest.mark.parametrize(
    "tracks, expected",
    [
        # both persons of 8 px = 1.7 m: 26 px are 5.525 m
        ([(1, 20, 40), (2, 50, 40)], [5.525, 5.525]),
        # a car of unknown height is measured to by the person's ruler
        ([(1, 20, 40), (2, 50, 40, 1)], [5.525, 5.525]),
        # two cars: nobody knows
        ([(1, 20, 40, 1), (2, 50, 40, 1)], [np.nan, np.nan]),
        # cut off by the lower rim, taken for 2.4 times as tall as wide: 19.2 px are 1.7 m, the other's 8 px are
        ([(1, 20, 76), (2, 50, 76)], [26 * 1.7 / 19.2] * 2),
        # by the upper rim
        ([(1, 20, 4), (2, 50, 4)], [26 * 1.7 / 19.2] * 2),
    ],
)
def test_without_calibration_a_person_is_the_ruler(tracks: list[Track], expected: list[float]) -> None:
    """A person of 1.7 m measures what lies beside him."""
    assert _apart(tracks, calibration=None) == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_the_ruler_errs_as_the_page_says() -> None:
    """A camera that looks down by 30 degrees: two meters beside come out 1.15 times, two meters behind 0.58 times."""
    turn = np.radians(30.0)
    down, ahead = np.array([0, -np.sin(turn), -np.cos(turn)]), np.array([0, np.cos(turn), -np.sin(turn)])

    def seen(x: float, y: float, z: float) -> np.ndarray:
        """From 100 m away through a long lens, so that perspective itself plays no part."""
        point = np.array([x, y, z]) + 100 * ahead
        return np.asarray(np.array([x, point @ down]) / (point @ ahead) * 4000)

    height = seen(0, 0, 0)[1] - seen(0, 0, 1.7)[1]
    beside, behind = np.linalg.norm(seen(2, 0, 0) - seen(0, 0, 0)), np.linalg.norm(seen(0, 2, 0) - seen(0, 0, 0))
    assert beside * 1.7 / height / 2 == pytest.approx(1 / np.cos(turn), abs=0.02)
    assert behind * 1.7 / height / 2 == pytest.approx(np.tan(turn), abs=0.02)


def _near(steps: list[list[Track]], **options: Any) -> list[tuple[int, bool]]:
    one = stage("proximity", **{"calibration": FLAT, "machines": PRESS, "proximity_m": 1.0, "min_s": 0, **options})
    return [(number, event.near) for number, event in told(one, steps) if isinstance(event, Proximity)]


def _walk(*places: float) -> list[list[Track]]:
    return [[(1, place, 40.0)] for place in places]


@pytest.mark.parametrize(
    "steps, options, expected",
    [
        # 0.1 s per step; 1 m is x = 70, inside the press it is 0 m
        (_walk(60, 69, 70.1, 75, 90), {}, [(2, True)]),
        (_walk(60, 69), {}, []),
        # away for a second: told in the first frame that is later than that
        (_walk(75, *[50] * 12), {}, [(0, True), (11, False)]),
        (_walk(75, *[50] * 10, 75, 75), {}, [(0, True)]),
        # not seen for as long
        ([*_walk(75), *[[] for _ in range(12)]], {}, [(0, True), (11, False)]),
        # between 1 and 1.2 m it is still near, and not near yet
        (_walk(75, *[68.5] * 30), {}, [(0, True)]),
        (_walk(*[68.5] * 30), {}, []),
        (_walk(75, *[68.5] * 30), {"clear_m": 1.0}, [(0, True), (11, False)]),
        # trembles around the limit
        (_walk(*[69, 71] * 20), {}, [(1, True)]),
        # near for half a second
        (_walk(60, *[75] * 4, *[60] * 20), {"min_s": 0.5}, []),
        (_walk(60, *[75] * 10), {"min_s": 0.5}, [(6, True)]),
        (_walk(*[68.5] * 10, *[75] * 10), {"min_s": 0.5}, [(15, True)]),
        # away and back: two approaches
        (_walk(75, *[50] * 12, 75, *[50] * 12), {}, [(0, True), (11, False), (13, True), (24, False)]),
    ],
)
def test_an_approach_is_told_once_and_so_is_its_end(
    steps: list[list[Track]], options: dict[str, Any], expected: list[tuple[int, bool]]
) -> None:
    """Near below the limit, apart above `clear_m` for as long as the patience."""
    assert _near(steps, **options) == expected


def test_the_events_say_who_came_near_what_and_how_near() -> None:
    """To a machine: at the start the distance then, at the end the smallest and how long it took."""
    one = stage("proximity", calibration=FLAT, machines=PRESS, proximity_m=1.0, min_s=0)
    steps = _walk(75, 78, 74, *[50] * 12)
    machine: dict[str, Any] = {"other_class": None, "other_track_id": None, "machine": "press"}
    machine |= {"class_name": "person", "track_id": 1}
    assert [event for _, event in told(one, steps)] == [
        Proximity(near=True, distance_m=0.5, least_m=0.5, limit_m=1.0, lasted_s=0.0, **machine),
        Proximity(near=False, distance_m=0.6, least_m=0.2, limit_m=1.2, lasted_s=0.2, **machine),
    ]


def test_a_person_near_a_vehicle_is_told_with_both_tracks() -> None:
    """The car's box is 8 px wide: its side is 0.6 m away."""
    one = stage("proximity", calibration=FLAT, classes=["person"], to=["car"], proximity_m=1.0, min_s=0)
    (event,) = one(scene([(3, 60, 40, 1), (9, 50, 40), (4, 52, 40, 2)], 0.0)).events
    assert event == Proximity(
        near=True,
        class_name="person",
        track_id=9,
        other_class="car",
        other_track_id=3,
        machine=None,
        distance_m=0.6,
        least_m=0.6,
        limit_m=1.0,
        lasted_s=0.0,
    )


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"classes": ["person"]}, {(1, 3), (2, 3), (1, 4), (2, 4)}),
        ({"classes": ["person"], "to": ["dog"]}, {(1, 4), (2, 4)}),
        ({"classes": ["person"], "to": ["person"]}, {(1, 2)}),
        ({}, {(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)}),
        ({"machines": PRESS}, set()),
        ({"machines": PRESS, "to": ["dog"]}, {(1, 4), (2, 4), (3, 4)}),
    ],
)
def test_who_is_kept_away_from_whom(options: dict[str, Any], expected: set[tuple[int, int]]) -> None:
    """Two persons, a car and a dog close together; each pair once."""
    tracks: list[Track] = [(1, 40, 40), (2, 41, 40), (3, 43, 40, 1), (4, 45, 40, 2)]
    one = stage("proximity", calibration=FLAT, proximity_m=1.0, min_s=0, **options)
    events = [event for event in one(scene(tracks, 0.0)).events if isinstance(event, Proximity)]
    assert {(event.track_id, event.other_track_id) for event in events} == expected
    assert len(events) == len(expected)


def test_what_is_worn_or_carried_is_no_machine() -> None:
    """A bag within the person's box; one beside it is near, and so is another person in the same place."""
    person, bag, beside = [40.0, 20, 60, 70], [45.0, 30, 55, 45], [61.0, 60, 68, 70]

    def tracks(*boxes: list[float], classes: tuple[int, ...]) -> int:
        seen = Detections(
            np.array(boxes, np.float32),
            np.full(len(boxes), 0.9, np.float32),
            np.array(classes, np.int32),
            track_id=np.arange(1, len(boxes) + 1, dtype=np.int32),
        )
        one = stage("proximity", calibration=FLAT, classes=["person"], to=["person", "dog"], proximity_m=5.0, min_s=0)
        return len(one(replace(scene([], 0.0), detections=seen)).events)

    assert tracks(person, bag, classes=(0, 2)) == 0
    assert tracks(person, beside, classes=(0, 2)) == 1
    assert tracks(person, bag, classes=(0, 0)) == 1


def test_the_order_of_rows_does_not_matter() -> None:
    """A pair of persons is told of the older track, whichever comes first."""
    one = stage("proximity", calibration=FLAT, proximity_m=1.0, min_s=0)
    assert len(one(scene([(1, 40, 40), (2, 41, 40)], 0.0)).events) == 1
    assert one(scene([(2, 41, 40), (1, 40, 40)], 0.1)).events == ()


def test_objects_carry_the_distance_to_the_nearest() -> None:
    """Those that are protected, to machines and others alike; 0 inside a machine."""
    tracks: list[Track] = [(1, 60, 40), (2, 90, 40), (3, 50, 40, 1)]
    found = _apart(tracks, "proximity", classes=["person"], to=["car"], machines=PRESS, proximity_m=0.1)
    assert found == pytest.approx([0.6, 0.0, np.nan], nan_ok=True)


def test_machines_are_measured_on_the_floor() -> None:
    """A stop line 12 m away on a floor that is 4 m wide there: from near the camera it is 12 m."""
    wall = {"wall": [[0.4, 0.3], [0.6, 0.3], [0.58, 0.25], [0.42, 0.25]]}
    found = _apart([(1, 50, 68)], "proximity", calibration=AWAY, machines=wall, proximity_m=1.0)
    assert found == pytest.approx([12.0], abs=1e-3)


def test_without_a_distance_it_is_switched_off() -> None:
    """As in a pipeline that exposes `proximity_m`."""
    before = scene([(1, 90, 40)], 0.0)
    assert stage("proximity", machines=PRESS)(before) is before


def test_without_calibration_the_person_is_the_ruler() -> None:
    """8 px are 1.7 m: the press at x = 80 is 10 px or 2.125 m away."""
    assert _near(_walk(70), calibration=None, proximity_m=2.0) == []
    assert _near(_walk(70), calibration=None, proximity_m=2.2) == [(0, True)]


def test_a_clock_that_jumps_back_begins_anew() -> None:
    """Who is still near stays near, not for a negative time; who is gone is gone."""
    one = stage("proximity", calibration=FLAT, machines=PRESS, proximity_m=1.0, min_s=0)
    one(scene([(1, 75, 40), (2, 75, 40)], 1000.0))
    events = [
        (at, event.track_id, event.near, event.lasted_s)
        for at, places in [(0.0, 75), (1.0, 75), (2.5, 40), (3.0, 40)]
        for event in one(scene([(1, places, 40)], at)).events
        if isinstance(event, Proximity)
    ]
    assert events == [(0.0, 2, False, 0.0), (2.5, 1, False, 1.0)]


def test_pairs_that_parted_are_forgotten() -> None:
    """A thousand that pass leave nothing behind."""
    one: Any = stage("proximity", calibration=FLAT, machines=PRESS, proximity_m=1.0)
    for number in range(1000):
        one(scene([(number + 1, 75, 40)], number * 0.1))
    assert len(one._pairs) <= 12


def test_all_at_once_equal_pair_by_pair() -> None:
    """Random crowds, against a loop that measures every pair by the corners of their boxes."""
    rng = np.random.default_rng(11)
    for _ in range(20):
        places = rng.uniform(10, 70, (12, 2))
        classes = rng.integers(0, 3, 12)
        tracks: list[Track] = [(n + 1, x, y, int(c)) for n, ((x, y), c) in enumerate(zip(places, classes, strict=True))]
        one = stage("proximity", calibration=FLAT, classes=["person"], to=["car", "dog"], proximity_m=1.5, min_s=0)
        found = {
            (event.track_id, event.other_track_id): event.distance_m
            for event in one(scene(tracks, 0.0)).events
            if isinstance(event, Proximity)
        }
        expected = {}
        for track, x, y, c in tracks:
            for other, x2, y2, c2 in tracks:
                away = np.hypot(max(abs(x - x2) - 4, 0), y - y2) / 10
                if c == 0 and c2 > 0 and away <= 1.5 and max(abs(x - x2), abs(y - y2)) > 0.8:  # else it is carried
                    expected[track, other] = away
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        {"classes": ["worker"]},
        {"proximity_m": 2, "classes": ["worker"], "heights_m": {"worker": 1.7}},
        {"proximity_m": 2, "classes": ["worker"], "calibration": AWAY},
        {"proximity_m": 2, "classes": ["worker"], "to": ["truck"], "heights_m": {"truck": 3}},
        {"proximity_m": 2, "classes": ["worker"], "heights_m": {"truck": 3}},
    ],
)
def test_who_can_be_measured_by_himself_or_by_what_he_nears_is_watched(given: dict[str, Any]) -> None:
    """And where nothing is to be told nothing has to be known."""
    assert stage("proximity", **given) is not None


@pytest.mark.parametrize(
    "given, message",
    [
        ({"proximity_m": 2.0, "clear_m": 1.0}, "clear_m 1 is less than proximity_m 2"),
        (
            {"calibration": AWAY, "machines": {"crane": [[0, 0], [1, 0], [1, 1]]}},
            "machine crane reaches above",
        ),
        ({"proximity_m": 0}, "greater than 0"),
        ({"proximity_m": 2, "classes": ["worker"]}, "proximity_m needs to know how far worker is: give a calibration"),
        ({"proximity_m": 2, "classes": ["worker"], "to": ["truck", "person"]}, "how far worker is"),
        (
            {
                "proximity_m": 2,
                "classes": ["person", "worker"],
                "machines": {"press": [[0, 0], [1, 0], [1, 1]]},
                "to": ["truck"],
                "heights_m": {"person": 1.7, "truck": 3},
            },
            "how far worker is",
        ),
        ({"heights_m": {"person": True}}, "must be a number"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=message):
        OPTIONS.validate_python({"kind": "proximity", **given})
