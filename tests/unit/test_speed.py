"""Checks how fast tracks are said to be, and that being too fast is told."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tracks import OPTIONS, WH, Track, scene, stage

from edge_vision.core.events import SpeedExceeded

FLAT = {"points": [[0, 0], [1, 0], [1, 1], [0, 1]], "meters": [[0, 0], [10, 0], [10, 8], [0, 8]]}
"""Seen from straight above: 0.1 m per pixel of the picture of 100x80."""
AWAY = {"points": [[0.1, 0.9], [0.9, 0.9], [0.6, 0.3], [0.4, 0.3]], "meters": [[0, 0], [4, 0], [4, 12], [0, 12]]}
"""A floor of 4 by 12 meters that runs away from the camera."""


def _speeds(one: Any, steps: list[list[Track]], times: list[float]) -> list[list[float]]:
    """The attribute in each frame."""
    return [
        one(scene(tracks, at)).detections.attributes["speed_mps"].tolist()
        for tracks, at in zip(steps, times, strict=True)
    ]


@pytest.mark.parametrize("fps", [5.0, 25.0, 120.0])
@pytest.mark.parametrize("way", [(10.0, 0.0), (0.0, -10.0), (6.0, 8.0)])
def test_a_steady_walk_has_its_speed_at_any_frame_rate(fps: float, way: tuple[float, float]) -> None:
    """Ten pixels a second are a meter a second, in every direction; known after half the window."""
    times = [number / fps for number in range(int(2 * fps))]
    steps: list[list[Track]] = [[(1, 40 + way[0] * at, 50 + way[1] * at)] for at in times]
    found = [one[0] for one in _speeds(stage("speed", calibration=FLAT), steps, times)]
    assert [np.isnan(speed) for speed in found] == [at < 0.5 for at in times]
    known = [speed for speed in found if not np.isnan(speed)]
    assert known == pytest.approx([1.0] * len(known), abs=1e-4)


def test_frames_that_are_missing_do_not_change_it() -> None:
    """Media time counts, not frames: every other one dropped, then a second of them."""
    times = [at / 25 for at in range(100) if at % 3 and not 40 < at < 65]
    steps: list[list[Track]] = [[(1, 10 + 15 * at, 40)] for at in times]
    found = _speeds(stage("speed", calibration=FLAT), steps, times)
    assert found[-1] == pytest.approx([1.5], abs=1e-4)


def test_meters_are_those_of_the_floor() -> None:
    """Two steps of a meter each, one near and one far: as fast on the floor, not in the picture."""
    from edge_vision.analytics.calibration import CalibrationOptions, fit_homography

    options = CalibrationOptions.model_validate(AWAY)
    to_picture = fit_homography(np.array(options.meters), np.array(options.points))
    times = [number / 25 for number in range(100)]
    floor = np.array([[2.0, 1.0 + 2.5 * at, 1.0] for at in times]) @ to_picture.T
    picture = floor[:, :2] / floor[:, 2:] * WH
    steps: list[list[Track]] = [[(1, x, y - 4)] for x, y in picture]
    found = _speeds(stage("speed", calibration=AWAY), steps, times)
    assert found[-1] == pytest.approx([2.5], rel=1e-3)
    assert abs(picture[1, 1] - picture[0, 1]) > 4 * abs(picture[-1, 1] - picture[-2, 1])


def test_a_longer_window_is_steadier() -> None:
    """Boxes that tremble by a pixel: who stands still is nearly still."""
    rng = np.random.default_rng(2)
    times = [number / 25 for number in range(250)]
    steps: list[list[Track]] = [[(1, 50 + x, 40 + y)] for x, y in rng.normal(0, 1, (250, 2))]
    short, long = (
        np.nanmean(_speeds(stage("speed", calibration=FLAT, window_s=window), steps, times)) for window in (0.5, 2.0)
    )
    assert long < 0.2 * short  # the error of a slope falls with the window to the power of 1.5: to an eighth
    assert long < 0.06


def test_it_follows_who_stops() -> None:
    """With the time constant T of half a window, (1 + t/T) exp(-t/T) of 2 m/s are left at most: 0.41 after 1 s."""
    times = [number / 25 for number in range(100)]
    steps: list[list[Track]] = [[(1, 10 + 20 * min(at, 2.0), 40)] for at in times]
    found = [one[0] for one in _speeds(stage("speed", calibration=FLAT), steps, times)]
    assert found[50] == pytest.approx(2.0, abs=0.01)
    assert 0.2 < found[75] < 0.82
    assert found[99] < 0.2


def test_without_calibration_a_person_is_the_ruler() -> None:
    """A box 8 px tall is 1.7 m: 8 px a second are 1.7 m/s. What nobody knows the height of has no speed."""
    times = [number / 25 for number in range(50)]
    steps: list[list[Track]] = [[(1, 20 + 8 * at, 40), (2, 20 + 8 * at, 60, 1)] for at in times]
    found = _speeds(stage("speed"), steps, times)
    assert found[-1] == pytest.approx([1.7, np.nan], abs=1e-3, nan_ok=True)
    found = _speeds(stage("speed", heights_m={"car": 1.5}), steps, times)
    assert found[-1] == pytest.approx([np.nan, 1.5], abs=1e-3, nan_ok=True)


def test_only_what_is_asked_for_is_measured() -> None:
    """`classes`; and nothing above the horizon."""
    times = [number / 25 for number in range(50)]
    steps: list[list[Track]] = [[(1, 40, 50), (2, 60, 50, 1), (3, 50, 1, 1)] for _ in times]
    found = _speeds(stage("speed", calibration=AWAY, classes=["car"]), steps, times)
    assert found[-1] == pytest.approx([np.nan, 0.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("start, way", [((10, 60), (0, 10)), ((80, 40), (10, 0)), ((20, 40), (-10, 0))])
def test_what_is_cut_off_by_the_rim_has_no_speed(start: tuple[int, int], way: tuple[int, int]) -> None:
    """Its box ends where the picture does, and not where it stands: it reaches the rim after 1.5 s or so."""
    times = [number / 25 for number in range(60)]
    steps: list[list[Track]] = [[(1, start[0] + way[0] * at, start[1] + way[1] * at)] for at in times]
    found = [one[0] for one in _speeds(stage("speed", calibration=FLAT), steps, times)]
    assert found[20] == pytest.approx(1.0, abs=1e-3)
    assert np.isnan(found[43:]).all()


def _fast(steps: list[list[Track]], **options: Any) -> list[tuple[int, int]]:
    one = stage("speed", **{"calibration": FLAT, "limit_mps": 1.5, "window_s": 0.4, **options})
    return [
        (number, event.track_id)
        for number, tracks in enumerate(steps)
        for event in one(scene(tracks, number / 25)).events
        if isinstance(event, SpeedExceeded)
    ]


def _drive(*speeds: float) -> list[list[Track]]:
    """A second of each speed, in pixels per second."""
    places = np.cumsum([6.0, *[speed / 25 for speed in speeds for _ in range(25)]])
    return [[(7, x, 40, 1)] for x in places]


def test_too_fast_is_told_once_and_again_after_it_was_slower() -> None:
    """1 m/s, 2 m/s for two seconds, 1 m/s, 2 m/s: two tellings, each soon after it became so."""
    found = _fast(_drive(10, 20, 20, 10, 20))
    assert [track for _, track in found] == [7, 7]
    assert 25 < found[0][0] < 35
    assert 100 < found[1][0] < 110


def test_a_speed_that_trembles_around_the_limit_is_told_once() -> None:
    """Between 0.7 and 0.8 m/s, above nine tenths of the limit."""
    assert len(_fast(_drive(10, *[7, 8] * 5), limit_mps=0.75)) == 1


def test_the_event_says_who_and_how_fast() -> None:
    """In meters per second, with the limit."""
    one = stage("speed", calibration=FLAT, limit_mps=1.5)
    found: list[Any] = []
    for number in range(25):
        found += one(scene([(7, 20 + 0.8 * number, 40, 1)], number / 25)).events
    assert found == [SpeedExceeded(class_name="car", track_id=7, speed_mps=2.0, limit_mps=1.5)]


def test_without_a_limit_nothing_is_told() -> None:
    """Only measured."""
    assert _fast(_drive(100, 500), limit_mps=None) == []


def test_a_clock_that_jumps_begins_anew() -> None:
    """Back, or far ahead: no speed across the gap, and the right one half a window later."""
    for jump in (-500.0, 3600.0):
        one = stage("speed", calibration=FLAT)
        times = [1000 + number / 25 for number in range(50)] + [1000 + jump + number / 25 for number in range(50)]
        steps: list[list[Track]] = [[(1, 10 + 10 * (at % 50), 40)] for at in times]
        found = [one[0] for one in _speeds(one, steps, times)]
        assert np.isnan(found[50:62]).all()
        assert found[70] == pytest.approx(1.0, abs=1e-3)


def test_old_tracks_are_forgotten() -> None:
    """Memory is bounded by ten seconds of tracks."""
    one: Any = stage("speed")
    for number in range(200):
        one(scene([(number + 1, 50, 38)], number * 1.0))
    assert len(one._tracks) <= 12


@pytest.mark.parametrize(
    "given",
    [
        {"limit_mps": 0},
        {"window_s": 0},
        {"calibration": {**FLAT, "meters": [[0, 0]] * 4}},
        {"classes": ["car"]},
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """No limit, no time, no floor, and nobody of known height."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "speed", **given})
