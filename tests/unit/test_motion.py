"""What moves is found and told; what stands, flickers in the noise or changes with the light is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.motion import Motion, MotionOptions
from edge_vision.core.detections import Detections
from edge_vision.core.events import MotionChanged
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

WH = (640, 360)
BOTH = pytest.mark.parametrize("method", ["background", "difference"])
RANDOM = np.random.default_rng(9)
GRAIN = [RANDOM.normal(0, 4, (WH[1], WH[0], 1)) for _ in range(4)]


def _stage(**options: Any) -> Motion:
    return Motion(MotionOptions(kind="motion", **options), StageContext())


def _picture(*squares: tuple[int, int], light: float = 1.0, number: int = 0) -> NDArray[np.uint8]:
    """A gray room with noise, and dark squares of 60 pixels at x, y."""
    room = np.full((WH[1], WH[0], 3), 150.0)
    for left, top in squares:
        room[max(0, top) : top + 60, max(0, left) : left + 60] = 40
    return np.clip(room * light + GRAIN[number % 4], 0, 255).astype(np.uint8)


def _run(stage: Motion, pictures: Sequence[NDArray[np.uint8]], start_s: float = 0.0) -> list[Scene]:
    """Ten frames a second."""
    return [
        stage(Scene(make_frame(picture, index=number, media_ns=round((start_s + number / 10) * 1e9))))
        for number, picture in enumerate(pictures)
    ]


def _told(scenes: Sequence[Scene]) -> list[tuple[int, bool]]:
    return [
        (number, event.moving)
        for number, scene in enumerate(scenes)
        for event in scene.events
        if isinstance(event, MotionChanged)
    ]


def _passing(empty_before: int = 10, empty_after: int = 40) -> list[NDArray[np.uint8]]:
    """Nothing, then a square from the left to the right in two seconds, then nothing."""
    there = [_picture((-60 + 35 * step, 150), number=step) for step in range(1, 20)]
    return [
        *(_picture(number=n) for n in range(empty_before)),
        *there,
        *(_picture(number=n) for n in range(empty_after)),
    ]


@BOTH
def test_what_passes_is_motion_and_an_empty_room_is_not(method: str) -> None:
    """From the frame in which it comes to the one in which it is gone; nothing before and, soon, after."""
    scenes = _run(_stage(method=method), _passing())
    moving = [len(scene.detections) > 0 for scene in scenes]
    assert not any(moving[:10])
    assert all(moving[11:29])
    assert not any(moving[34:])
    (begun, moves), (ended, still_moves) = _told(scenes)
    assert (moves, still_moves) == (True, False)
    assert begun == pytest.approx(12, abs=1)
    assert ended == pytest.approx(49, abs=3)
    areas = [event.area for scene in scenes for event in scene.events if isinstance(event, MotionChanged)]
    assert areas[0] > 0.005
    assert areas[1] == 0


def test_the_box_is_where_the_object_is() -> None:
    """Against a learned background: its own box, to a few pixels of the small picture."""
    scenes = _run(_stage(), _passing())
    seen = scenes[20].detections  # step 11
    assert seen.xyxy.tolist() == [pytest.approx([325, 150, 385, 210], abs=8)]
    assert scenes[20].labels == ("motion",)
    assert seen.class_id.tolist() == [0]
    assert scenes[20].measures["motion"] == pytest.approx(3600 / (640 * 360), rel=0.35)
    assert scenes[5].measures["motion"] == 0


def test_two_that_are_apart_are_two_and_two_that_are_near_are_one() -> None:
    """`merge` of 2 % is 13 pixels here; the larger comes first."""
    far = _run(_stage(), [_picture()] * 3 + [_picture((100, 100), (400, 100), (400, 150))])[-1].detections
    assert len(far) == 2
    assert far.xyxy[0].tolist() == pytest.approx([400, 100, 460, 210], abs=8)
    near = _run(_stage(), [_picture()] * 3 + [_picture((100, 100), (165, 100))])[-1].detections
    assert near.xyxy.tolist() == [pytest.approx([100, 100, 225, 160], abs=8)]


@BOTH
def test_what_is_small_is_nothing(method: str) -> None:
    """60x60 are 1.6 % of the picture; at 5 % they are too small."""
    assert _told(_run(_stage(method=method, min_area=0.05), _passing())) == []


@BOTH
def test_motion_outside_the_zone_is_not_seen(method: str) -> None:
    """The way goes through the middle; below it nothing moves, and where it is ignored neither."""
    below = [[0, 0.7], [1, 0.7], [1, 1], [0, 1]]
    middle = {"belt": [[0, 0.3], [1, 0.3], [1, 0.7], [0, 0.7]]}
    assert _told(_run(_stage(method=method, zone=below), _passing())) == []
    assert _told(_run(_stage(method=method, ignore=middle), _passing())) == []


def test_a_zone_cuts_what_reaches_into_it() -> None:
    """Half of the square lies in the right half; `area` is of what is watched."""
    right = [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
    last = _run(_stage(zone=right), [_picture()] * 3 + [_picture((290, 100))])[-1]
    assert last.detections.xyxy.tolist() == [pytest.approx([320, 100, 350, 160], abs=8)]
    assert last.measures["motion"] == pytest.approx(1800 / (320 * 360), rel=0.35)


@BOTH
def test_the_light_that_is_switched_is_no_motion(method: str) -> None:
    """The whole picture differs at once: learned anew, and what moves then is seen."""
    dark = [_picture(light=0.4, number=n) for n in range(10)]
    after = [_picture((200 + 30 * step, 100), light=0.4, number=step) for step in range(5)]
    scenes = _run(_stage(method=method), [*(_picture(number=n) for n in range(10)), *dark, *after])
    assert not any(len(scene.detections) for scene in scenes[:20])
    assert all(len(scene.detections) for scene in scenes[21:])


def test_what_stops_becomes_background_in_media_time() -> None:
    """After some `learn_s`; the slower clip of the same frames needs as many seconds, not as many frames."""
    stage = _stage(learn_s=2.0)
    scenes = _run(stage, [_picture(number=n) for n in range(5)] + [_picture((300, 150), number=n) for n in range(80)])
    seen = [len(scene.detections) > 0 for scene in scenes]
    assert all(seen[5:15])
    assert not any(seen[70:])


def test_less_sensitive_does_not_see_what_differs_little() -> None:
    """A square of 12 gray levels below the room."""
    faint = _picture().astype(np.int16)
    faint[100:200, 100:200] -= 12
    pictures = [*(_picture(number=n) for n in range(10)), np.clip(faint, 0, 255).astype(np.uint8)]
    seen = {s: len(_run(_stage(method="difference", sensitivity=s), pictures)[-1].detections) for s in (0.2, 1.0)}
    assert seen == {0.2: 0, 1.0: 1}


@BOTH
def test_a_media_clock_that_jumps_begins_anew(method: str) -> None:
    """Back, or on by a minute: another picture after it is no motion."""
    stage = _stage(method=method)
    _run(stage, [_picture(number=n) for n in range(5)], start_s=100.0)
    assert not any(len(scene.detections) for scene in _run(stage, [_picture((300, 150))] * 3, start_s=0.0))
    assert not any(len(scene.detections) for scene in _run(stage, [_picture((100, 150))] * 3, start_s=60.0))


def test_what_others_found_stays() -> None:
    """Motion comes after it, as a class of its own."""
    stage = Motion(MotionOptions(kind="motion"), StageContext(("person",)))
    person = Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.7], np.float32), np.array([0], np.int32))
    for number, picture in enumerate([_picture(), _picture(), _picture((300, 150))]):
        scene = stage(Scene(make_frame(picture, media_ns=number * 10**8), person, labels=("person",)))
    assert scene.labels == ("person", "motion")
    assert scene.detections.class_id.tolist() == [0, 1]


def test_another_size_of_picture_begins_anew() -> None:
    """As after a camera was set up otherwise."""
    stage = _stage()
    _run(stage, [_picture()] * 3)
    scene = stage(Scene(make_frame(np.zeros((50, 40, 3), np.uint8), media_ns=400_000_000)))
    assert len(scene.detections) == 0


def test_areas_that_cannot_be_are_refused() -> None:
    """Nothing is larger than the least and smaller than the most."""
    with pytest.raises(ValidationError, match=r"min_area 0\.5 is not less than max_area 0\.4"):
        MotionOptions(kind="motion", min_area=0.5, max_area=0.4)
