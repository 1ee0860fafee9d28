"""Objects are covered in the picture that is handed on: there and a moment longer, and nothing else is changed."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.analytics.blur import Blur, BlurOptions
from edge_vision.analytics.context import StageContext
from edge_vision.core.detections import Detections
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("face", "plate")
WH = (160, 120)
NOISE: NDArray[np.uint8] = np.random.default_rng(5).integers(0, 256, (WH[1], WH[0], 3), dtype=np.uint8)
FACE = (60.0, 40.0, 100.0, 90.0)


def _stage(**options: Any) -> Blur:
    return Blur(BlurOptions(kind="blur", **options), StageContext(LABELS))


def _scene(
    *boxes: tuple[float, ...], seconds: float = 0.0, class_id: int = 0, tracks: list[int] | None = None
) -> Scene:
    seen = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32),
        np.full(len(boxes), class_id, np.int32),
        track_id=None if tracks is None else np.array(tracks, np.int32),
    )
    return Scene(make_frame(NOISE, index=3, media_ns=round(seconds * 1e9)), seen, labels=LABELS)


def _changed(scene: Scene) -> NDArray[np.bool_]:
    return np.asarray((scene.frame.image != NOISE).any(axis=2))


def _covers(scene: Scene, box: tuple[float, ...]) -> bool:
    """Whether the inner ellipse of a box is changed (noise may by chance have the color it gets)."""
    left, top, right, bottom = box
    rows, columns = np.mgrid[0 : WH[1], 0 : WH[0]]
    x, y = (columns + 0.5 - (left + right) / 2) / (right - left), (rows + 0.5 - (top + bottom) / 2) / (bottom - top)
    return bool(_changed(scene)[x**2 + y**2 <= 0.25].mean() > 0.99)


@pytest.mark.parametrize("method", ["pixelate", "blur", "fill"])
@pytest.mark.parametrize("shape", ["ellipse", "box"])
def test_an_object_is_covered_and_nothing_else_is_changed(method: str, shape: str) -> None:
    """Inside the box nothing is left of the noise; outside the grown box every pixel is as it was."""
    scene = _scene(FACE)
    before = scene.frame.image.copy()
    after = _stage(method=method, shape=shape, margin=0.25)(scene)
    assert _covers(after, FACE)
    changed = _changed(after)
    left, top, right, bottom = 60 - 10, 40 - 13, 100 + 10, 90 + 13
    assert changed[top:bottom, left:right].sum() == changed.sum()
    assert changed.sum() > 0.7 * (right - left) * (bottom - top)
    inside = after.frame.image[50:80, 70:90].reshape(-1, 3)
    assert inside.std(axis=0).max() < 25  # noise has 74, three blocks across have little left
    assert np.array_equal(scene.frame.image, before), "the frame that was given is another one's, too"
    assert after.frame.image.base is not scene.frame.image.base
    assert not after.frame.image.flags.writeable


def test_fill_leaves_one_color() -> None:
    """Of which nothing can be brought back."""
    after = _stage(method="fill", shape="box", margin=0)(_scene(FACE))
    assert len(np.unique(after.frame.image[40:90, 60:100].reshape(-1, 3), axis=0)) == 1


def test_what_was_found_and_when_stays_as_it_is() -> None:
    """Only the picture is another one."""
    scene = _scene(FACE)
    after = _stage()(scene)
    assert after.detections is scene.detections
    assert (after.frame.index, after.frame.media_ns, after.frame.timestamp, after.frame.captured_ns) == (
        scene.frame.index, scene.frame.media_ns, scene.frame.timestamp, scene.frame.captured_ns,
    )  # fmt: skip


def test_other_classes_are_not_covered_and_cost_no_copy() -> None:
    """The frame itself is handed on."""
    scene = _scene(FACE, class_id=1)
    assert _stage(classes=["face"])(scene).frame is scene.frame
    assert _covers(_stage(classes=["plate"])(scene), FACE)


@pytest.mark.parametrize(
    "box", [(-30, -20, 20, 30), (140, 100, 200, 160), (0, 0, 160, 120), (80, 60, 80.5, 60.5), (300, 300, 320, 320)]
)
@pytest.mark.parametrize("method", ["pixelate", "blur", "fill"])
def test_boxes_at_the_edge_are_covered_as_far_as_there_is_a_picture(box: tuple[float, ...], method: str) -> None:
    """Partly outside, the whole picture, next to nothing, and all outside."""
    after = _stage(method=method, shape="box", margin=0)(_scene(box))
    left, top, right, bottom = (int(np.clip(v, 0, m)) for v, m in zip(box, (*WH, *WH), strict=True))
    changed = _changed(after)
    inside = changed[top : bottom + 1, left : right + 1]
    assert inside.sum() == changed.sum()
    if right - left > 1 and box[0] < WH[0]:
        assert inside[: bottom - top, : right - left].mean() > 0.98


def test_a_missed_frame_does_not_show_the_object() -> None:
    """Covered where it was for `hold_s`, and shown after that."""
    stage = _stage(hold_s=1.0)
    stage(_scene(FACE, seconds=0.0))
    assert _covers(stage(_scene(seconds=0.5)), FACE)
    assert _covers(stage(_scene(seconds=1.0)), FACE)
    assert not _changed(stage(_scene(seconds=1.1))).any()
    assert not _changed(stage(_scene(seconds=1.2))).any()


def test_without_holding_a_missed_frame_shows_it() -> None:
    """`hold_s: 0` covers what is seen now."""
    stage = _stage(hold_s=0)
    assert _covers(stage(_scene(FACE, seconds=0.0)), FACE)
    assert not _changed(stage(_scene(seconds=0.1))).any()


def _at(x: float) -> tuple[float, float, float, float]:
    return (x, 40.0, x + 20.0, 64.0)


@pytest.mark.parametrize("tracks", [None, [3]], ids=["boxes", "tracks"])
def test_a_face_that_moves_is_covered_where_it_should_be_by_now(tracks: list[int] | None) -> None:
    """40 pixels a second to the right, seen for a second and then missed for half a second."""
    stage = _stage()
    for step in range(11):
        stage(_scene(_at(20 + 4 * step), seconds=step / 10, tracks=tracks))
    after = stage(_scene(seconds=1.5, tracks=None if tracks is None else []))
    assert _covers(after, _at(20 + 60))


def test_two_faces_are_held_apart() -> None:
    """One goes on being seen, the other is missed: both are covered, and the first leaves nothing behind."""
    stage = _stage(margin=0)
    stage(_scene(_at(10), _at(100), seconds=0.0))
    after = stage(_scene(_at(14), seconds=0.1))
    assert _covers(after, _at(14))
    assert _covers(after, _at(100))
    for step in range(2, 12):
        after = stage(_scene(_at(10 + 4 * step), seconds=step / 10))
    assert not _changed(after)[:, :50].any()
    assert not _changed(after)[:, 90:].any()


def test_a_track_that_leaps_leaves_nothing_behind() -> None:
    """With tracks a face is the same one wherever it is."""
    stage = _stage(margin=0)
    stage(_scene(_at(10), seconds=0.0, tracks=[1]))
    after = stage(_scene(_at(120), seconds=0.1, tracks=[1]))
    assert not _changed(after)[:, :100].any()


def test_a_media_clock_that_jumps_back_begins_anew() -> None:
    """What was held is forgotten; what is seen is covered."""
    stage = _stage()
    stage(_scene(FACE, seconds=100.0))
    assert not _changed(stage(_scene(seconds=0.0))).any()
    assert _covers(stage(_scene(FACE, seconds=0.1)), FACE)
    assert not _changed(stage(_scene(seconds=100.2))).any()


def test_another_size_of_picture_begins_anew() -> None:
    """What was covered lay in another picture."""
    stage = _stage()
    stage(_scene(FACE, seconds=0.0))
    other = Scene(make_frame(np.zeros((90, 90, 3), np.uint8), media_ns=10**8), labels=LABELS)
    assert stage(other).frame is other.frame


def test_what_is_not_seen_is_covered_wider_with_time() -> None:
    """Half its size per second on each side: 40 pixels of width grow by 10 in half a second, on either side."""
    stage = _stage(margin=0, shape="box")
    stage(_scene(FACE, seconds=0.0))
    columns = np.flatnonzero(_changed(stage(_scene(seconds=0.5))).any(axis=0))
    assert (columns.min(), columns.max()) == (50, 109)


def test_a_place_can_always_be_covered() -> None:
    """A window, a desk, a screen: without any object."""
    after = _stage(always={"desk": [[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 1]]}, method="fill")(_scene())
    changed = _changed(after)
    assert changed[61:, 81:].all()
    assert not changed[:59].any()
    assert not changed[:, :79].any()


def test_a_small_face_is_as_coarse() -> None:
    """12 pixels across: blocks of 4 pixels, not of 1."""
    after = _stage(method="pixelate", cells=16, margin=0, shape="box")(_scene((50, 50, 62, 62)))
    assert len(np.unique(after.frame.image[50:62, 50:62].reshape(-1, 3), axis=0)) <= 9


def test_what_was_held_for_long_costs_no_more_than_the_picture() -> None:
    """A region that grew to many times the picture is laid out as far as it can be seen, and covers all of it."""
    stage = _stage(hold_s=60, method="fill", shape="box")
    stage(_scene(FACE))
    tracemalloc.start()
    after = stage(_scene(seconds=59.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.unique(after.frame.image.reshape(-1, 3), axis=0).shape[0] == 1
    assert peak < 20 * after.frame.image.nbytes
