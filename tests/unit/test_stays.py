"""Whatever tracks and clocks do, what is told of them adds up: of zones, stays, crowds and approaches."""

from collections import Counter
from typing import Any, TypeAlias

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tracks import Track, scene, stage

from edge_vision.core.events import (
    Crowd,
    DwellExceeded,
    Event,
    Heatmap,
    PresenceChanged,
    Proximity,
    ZoneEntered,
    ZoneLeft,
)

ZONES = {"left": [[0.0, 0.0], [0.6, 0.0], [0.6, 1.0], [0.0, 1.0]], "right": [[0.4, 0], [1, 0], [1, 1], [0.4, 1]]}
"""They overlap in the middle."""
FLAT = {"points": [[0, 0], [1, 0], [1, 1], [0, 1]], "meters": [[0, 0], [10, 0], [10, 8], [0, 8]]}
Story: TypeAlias = list[tuple[float, dict[int, float]]]
"""Frames: the time since the last one, which may be negative, and the place of each track that is seen."""

STORIES: st.SearchStrategy[Story] = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.04, 0.1, 0.5, 1.0, 1.5, 60.0, -0.3, -30.0]),
        st.dictionaries(st.integers(1, 4), st.sampled_from([5.0, 30.0, 50.0, 70.0, 99.0]), max_size=4),
    ),
    max_size=40,
)


def _told(one: Any, story: Story) -> list[tuple[float, Event]]:
    """Every event with its time; in the end nobody is seen for ten minutes."""
    told, now = [], 100.0
    for passed, places in [*story, *[(60.0, {})] * 10]:
        now += passed
        tracks: list[Track] = [(track, place, 40.0) for track, place in places.items()]
        told += [(now, event) for event in one(scene(tracks, now)).events]
    return told


@settings(deadline=None, max_examples=50)
@given(story=STORIES, min_s=st.sampled_from([0.0, 0.3]), patience_s=st.sampled_from([0.0, 1.0]))
def test_who_comes_in_goes_out(story: Story, min_s: float, patience_s: float) -> None:
    """In turns for each track and zone; the occupancy is who came and has not gone; no time is negative."""
    inside: Counter[str] = Counter()
    seen: dict[tuple[str, int], type[Event]] = {}
    present: dict[str, bool] = {}
    one = stage("zones", zones=ZONES, min_s=min_s, patience_s=patience_s, presence_s=1.0)
    for _, event in _told(one, story):
        if isinstance(event, (ZoneEntered, ZoneLeft)):
            came = isinstance(event, ZoneEntered)
            assert seen.get((event.zone, event.track_id), ZoneLeft) is (ZoneLeft if came else ZoneEntered)
            seen[event.zone, event.track_id] = type(event)
            inside[event.zone] += 1 if came else -1
            assert event.occupancy == inside[event.zone]
        if isinstance(event, ZoneLeft):
            assert event.dwell_s >= 0
        if isinstance(event, PresenceChanged):
            assert event.present is not present.get(event.zone)
            assert event.present is (event.occupancy > 0)
            present[event.zone] = event.present
    assert all(kind is ZoneLeft for kind in seen.values())
    assert present == {"left": False, "right": False}


@settings(deadline=None, max_examples=50)
@given(story=STORIES)
def test_a_stay_is_told_once_between_two_leavings(story: Story) -> None:
    """Side by side with the stage that tells who comes and goes: who was in for long enough has been told of."""
    dwell, zones = stage("dwell", zones=ZONES, limit_s=1.0), stage("zones", zones=ZONES)
    late: set[tuple[str, int]] = set()
    now = 100.0
    for passed, places in story:
        now += passed
        here = scene([(track, place, 40.0) for track, place in places.items()], now)
        after = dwell(here)
        for event in after.events:
            assert isinstance(event, DwellExceeded)
            assert event.dwell_s >= event.limit_s
            assert (event.zone, event.track_id) not in late
            late.add((event.zone, event.track_id))
        for left in zones(here).events:
            if isinstance(left, ZoneLeft):
                assert left.dwell_s < 1.0 or (left.zone, left.track_id) in late
                late.discard((left.zone, left.track_id))
        times = after.detections.attributes["dwell_s"]
        assert all(time >= 0 for time in times.tolist() if time == time)  # noqa: PLR0124 - NaN is not itself


@settings(deadline=None, max_examples=50)
@given(story=STORIES, min_s=st.sampled_from([0.0, 0.3]))
def test_who_comes_near_goes_away(story: Story, min_s: float) -> None:
    """In turns for each pair; the least distance is no more than the last, and no time is negative."""
    near: dict[tuple[int, int | None, str | None], bool] = {}
    press = {"press": [[0.9, 0.0], [1.0, 0.0], [1.0, 1.0], [0.9, 1.0]]}
    given: dict[str, Any] = {"to": ["person"], "machines": press, "proximity_m": 1.7, "min_s": min_s}
    for _, event in _told(stage("proximity", calibration=FLAT, **given), story):
        assert isinstance(event, Proximity)
        pair = (event.track_id, event.other_track_id, event.machine)
        assert event.near is not near.get(pair, False)
        near[pair] = event.near
        assert 0 <= event.least_m <= event.distance_m
        assert event.lasted_s >= (min_s if event.near else 0)
    assert not any(near.values())


@settings(deadline=None, max_examples=50)
@given(story=STORIES, limit=st.integers(0, 3))
def test_a_crowd_gathers_and_scatters(story: Story, limit: int) -> None:
    """In turns for each zone; when it is told there are more than the limit, and not when it is over."""
    crowded: dict[str | None, bool] = {}
    for _, event in _told(stage("crowd", zones=ZONES, limit=limit, min_s=0.5, patience_s=0.2), story):
        assert isinstance(event, Crowd)
        assert event.crowded is not crowded.get(event.zone, False)
        assert event.crowded is (event.total > limit)
        crowded[event.zone] = event.crowded
    assert not any(crowded.values())


@settings(deadline=None, max_examples=50)
@given(story=STORIES, calibrated=st.booleans())
def test_what_is_measured_is_never_less_than_nothing(story: Story, calibrated: bool) -> None:
    """Speeds, distances and seconds of a heatmap: a number from 0 up, or not known."""
    floor: dict[str, Any] = {"calibration": FLAT} if calibrated else {}
    measuring = [stage("speed", window_s=0.1, **floor), stage("distance", **floor), stage("smooth")]
    grid, now = stage("heatmap", period_s=1, half_life_s=10), 100.0
    for passed, places in story:
        now += passed
        here = scene([(track, place, 40.0) for track, place in places.items()], now)
        (event,) = grid(here).events or [None]
        assert event is None or (isinstance(event, Heatmap) and min(event.seconds) >= 0)
        for one in measuring:
            here = one(here)
        columns = here.detections.attributes
        assert set(columns) == {"speed_mps", "distance_m"}
        for column in columns.values():
            assert len(column) == len(places)
            assert not (column < 0).any()
            assert not np.isinf(column).any()
