"""Checks when a place is crowded."""

from typing import Any

import pytest
from pydantic import ValidationError
from tracks import OPTIONS, Track, scene, stage, told

from edge_vision.core.events import Crowd

LEFT = {"left": [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]}
RIGHT = {"right": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}
FLAT = {"points": [[0, 0], [1, 0], [1, 1], [0, 1]], "meters": [[0, 0], [10, 0], [10, 8], [0, 8]]}
"""Seen from straight above: the picture is 10 by 8 meters, each half 40 square meters."""


def _some(*counts: int, x: float = 20.0, class_id: int = 0) -> list[list[Track]]:
    return [[(number + 1, x + number, 40.0, class_id) for number in range(count)] for count in counts]


def _crowds(steps: list[list[Track]], **options: Any) -> list[tuple[int, bool, int]]:
    events = told(stage("crowd", **{"limit": 2, "min_s": 1.0, "patience_s": 0.3, **options}), steps)
    return [(number, event.crowded, event.total) for number, event in events if isinstance(event, Crowd)]


@pytest.mark.parametrize(
    "counts, expected",
    [
        # 0.1 s per step: three for a second, and no more for a second
        ([2] * 5 + [3] * 15 + [2] * 15, [(15, True, 3), (29, False, 2)]),
        # as many as there may be
        ([2] * 30, []),
        # for less than a second
        ([3] * 10 + [0] * 30, []),
        # one is missed for a moment now and then
        (([3] * 4 + [2]) * 4, [(10, True, 3)]),
        (([3] * 4 + [2] * 2) * 4, [(12, True, 3)]),
        # and for longer than the patience: another crowd each time
        (([3] * 6 + [2] * 5) * 4, []),
        # calm for less than a second
        ([3] * 12 + [1] * 8 + [3] * 12, [(10, True, 3)]),
        # again
        ([3] * 12 + [1] * 12 + [4] * 12, [(10, True, 3), (21, False, 1), (34, True, 4)]),
    ],
)
def test_a_crowd_is_told_when_it_has_lasted_and_so_is_its_end(
    counts: list[int], expected: list[tuple[int, bool, int]]
) -> None:
    """More than two, across flickers shorter than 0.3 s."""
    assert _crowds(_some(*counts)) == expected


def test_each_zone_is_crowded_for_itself() -> None:
    """Three on the right."""
    events = told(stage("crowd", zones={**LEFT, **RIGHT}, limit=2, min_s=0), _some(3, x=70.0))
    expected = Crowd(zone="right", crowded=True, total=3, limit=2, density=None, max_density=None)
    assert events == [(0, expected)]


def test_only_the_classes_named_are_a_crowd() -> None:
    """Three cars are none."""
    assert _crowds(_some(3, class_id=1), classes=["person"], min_s=0) == []
    assert _crowds(_some(3, class_id=1), classes=["car"], min_s=0) == [(0, True, 3)]
    assert _crowds(_some(3, class_id=1), classes=["person"], min_s=0, zones=LEFT) == []


def test_density_is_people_per_square_meter_of_floor() -> None:
    """Five on 40 square meters are 0.125: more than 0.12, less than 0.13."""
    given = {"zones": LEFT, "calibration": FLAT, "min_s": 0}
    (event,) = stage("crowd", max_density=0.12, **given)(scene(_some(5)[0], 0.0)).events
    assert event == Crowd(zone="left", crowded=True, total=5, limit=None, density=0.125, max_density=0.12)
    assert stage("crowd", max_density=0.13, **given)(scene(_some(5)[0], 0.0)).events == ()


def test_without_a_limit_it_is_switched_off() -> None:
    """As in a pipeline that exposes it."""
    before = scene(_some(50)[0], 0.0)
    assert stage("crowd")(before) is before


def test_a_clock_that_jumps_back_begins_anew() -> None:
    """The crowd that is there must last again; the one that was told ends when it is calm for long enough."""
    one = stage("crowd", limit=2, min_s=1.0, patience_s=0.3)
    found = [
        (at, event.crowded)
        for at, count in [(50.0, 3), (50.9, 3), (9.0, 3), (9.9, 3), (10.0, 3), (0.0, 0), (0.5, 0), (1.0, 0)]
        for event in one(scene(_some(count)[0], at)).events
        if isinstance(event, Crowd)
    ]
    assert found == [(10.0, True), (1.0, False)]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"max_density": 1.0, "zones": LEFT}, "max_density needs a calibration"),
        ({"max_density": 1.0, "calibration": FLAT}, "max_density needs zones"),
        (
            {
                "max_density": 1.0,
                "zones": LEFT,
                "calibration": {**FLAT, "points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3], [0.4, 0.3]]},
            },
            "zone left reaches above the horizon",
        ),
        ({"limit": -1}, "greater than or equal to 0"),
    ],
)
def test_limits_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=message):
        OPTIONS.validate_python({"kind": "crowd", **given})
