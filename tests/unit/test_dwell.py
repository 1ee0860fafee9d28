"""Checks who has been in a zone for too long, and that it is told once."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.core.events import DwellExceeded

RIGHT = {"bay": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}
"""The right half of the picture: x from 50."""


def _walk(*places: float, track: int = 1) -> list[list[Track]]:
    return [[(track, place, 40.0)] for place in places]


def _late(steps: list[list[Track]], **options: Any) -> list[tuple[int, int, float]]:
    events = told(stage("dwell", **{"zones": RIGHT, "limit_s": 2.0, **options}), steps)
    return [(number, event.track_id, event.dwell_s) for number, event in events if isinstance(event, DwellExceeded)]


@pytest.mark.parametrize(
    "steps, expected",
    [
        # 0.1 s per step; inside from step 1, so for 2 s at step 21, and not told again
        (_walk(30, *[60] * 50), [(21, 1, 2.0)]),
        # a little less
        (_walk(30, *[60] * 20, *[30] * 20), []),
        # outside, or not seen, for a moment: the same stay
        (_walk(*[60] * 10, *[30] * 8, *[60] * 10), [(20, 1, 2.0)]),
        ([*_walk(*[60] * 10), *[[] for _ in range(10)], *_walk(*[60] * 5)], [(20, 1, 2.0)]),
        # outside when it would be due: told as soon as it is known to be inside
        (_walk(*[60] * 18, *[30] * 6, *[60] * 10), [(24, 1, 2.4)]),
        # away for more than a second: a new stay
        (_walk(*[60] * 10, *[30] * 12, *[60] * 25), [(42, 1, 2.0)]),
        # too long, away, and too long again
        (_walk(*[60] * 25, *[30] * 12, *[60] * 25), [(20, 1, 2.0), (57, 1, 2.0)]),
        # lost for good before it was too long
        ([*_walk(*[60] * 19), *[[] for _ in range(30)]], []),
    ],
)
def test_a_stay_that_is_too_long_is_told_once(steps: list[list[Track]], expected: list[tuple[int, int, float]]) -> None:
    """In the frame in which it is; a flicker neither ends a stay nor begins a new one."""
    assert _late(steps) == expected


def test_each_has_a_stay_of_his_own() -> None:
    """The second comes a second later."""
    steps: list[list[Track]] = [[(1, 60, 40)] if at < 10 else [(2, 70, 40), (1, 60, 40)] for at in range(40)]
    assert _late(steps) == [(20, 1, 2.0), (30, 2, 2.0)]


def test_each_zone_has_a_stay_of_its_own() -> None:
    """From the right half into its right half: the inner zone is left and counted apart."""
    zones = {**RIGHT, "far": [[0.7, 0.0], [1.0, 0.0], [1.0, 1.0], [0.7, 1.0]]}
    events = told(stage("dwell", zones=zones, limit_s=2.0), _walk(*[60] * 10, *[80] * 30))
    assert [(at, one.zone) for at, one in events if isinstance(one, DwellExceeded)] == [(20, "bay"), (30, "far")]


def test_the_event_says_who_where_and_how_long() -> None:
    """With the limit it went over."""
    steps: list[list[Track]] = [[(7, 60, 40, 1)]] * 21
    events = [event for _, event in told(stage("dwell", zones=RIGHT, limit_s=2.0), steps)]
    assert events == [DwellExceeded(zone="bay", class_name="car", track_id=7, dwell_s=2.0, limit_s=2.0)]


def test_those_inside_carry_the_time() -> None:
    """Of the longest stay where zones overlap; NaN outside and for classes that are not watched."""
    zones = {"far": [[0.7, 0.0], [1.0, 0.0], [1.0, 1.0], [0.7, 1.0]], **RIGHT}
    one = stage("dwell", zones=zones, classes=["person"])
    one(scene([(1, 60, 40), (2, 30, 40), (3, 60, 40, 1)], 0.0))
    after = one(scene([(3, 60, 40, 1), (2, 60, 40), (1, 80, 40), (4, 30, 40)], 1.5)).detections.attributes["dwell_s"]
    assert after.dtype == np.float32
    assert after.tolist() == pytest.approx([np.nan, 0.0, 1.5, np.nan], nan_ok=True)
    assert len(one(scene([], 1.6)).detections.attributes["dwell_s"]) == 0


def test_without_a_limit_nothing_is_told() -> None:
    """Only measured."""
    assert _late(_walk(*[60] * 100), limit_s=None) == []


def test_a_clock_that_jumps_back_begins_the_stay_anew() -> None:
    """A camera that reconnects: no stay is negative, and none lasts for ever."""
    one = stage("dwell", zones=RIGHT, limit_s=2.0)
    for at in (1000.0, 1001.0):
        assert one(scene([(1, 60, 40)], at)).events == ()
    found = [
        (at, event.track_id, event.dwell_s, after.detections.attributes["dwell_s"].tolist())
        for at in (0.0, 1.0, 2.0, 3.0)
        for after in [one(scene([(1, 60, 40), (2, 70, 40)], at))]
        for event in after.events
        if isinstance(event, DwellExceeded)
    ]
    assert found == [(2.0, 1, 2.0, [2.0, 2.0]), (2.0, 2, 2.0, [2.0, 2.0])]


def test_those_who_left_are_forgotten() -> None:
    """A thousand tracks that pass leave nothing behind."""
    one: Any = stage("dwell", zones=RIGHT, limit_s=0.5)
    for number in range(1000):
        one(scene([(number + 1, 30 if number % 2 else 60, 40)], number * 0.1))
    assert len(one._stays.tracks) <= 12


@pytest.mark.parametrize("given", [{"limit_s": 0}, {"limit_s": True}, {"patience_s": -1}, {"anchor": "foot"}])
def test_limits_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """No time, no number, a time that runs back, a point that no box has."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "dwell", "zones": RIGHT, **given})
