"""Checks that what trembles is steadied and what moves is not held back."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from tracks import OPTIONS, scene, stage

from edge_vision.core.detections import Detections
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

FPS = 25


def _seen(centers: Any, half: Any = 20.0, at: float = 0.0, **columns: Any) -> Scene:
    """Boxes in a picture of 640x480, numbered from 1."""
    centers, half = np.asarray(centers, np.float64).reshape(-1, 2), np.asarray(half, np.float64).reshape(-1, 1)
    count = len(centers)
    seen = Detections(
        np.concatenate([centers - half, centers + half], axis=1).astype(np.float32),
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.int32),
        track_id=np.arange(1, count + 1, dtype=np.int32),
    )
    picture = np.broadcast_to(np.zeros((), np.uint8), (480, 640, 3))
    return Scene(make_frame(picture, media_ns=round(at * 1e9)), replace(seen, **columns), labels=("person",))


def _centers(path: NDArray[np.float64], one: Any, half: float = 20.0) -> NDArray[np.float64]:
    """Where the box's center comes out in each frame of a path (k, 2)."""
    boxes = [one(_seen(place, half, number / FPS)).detections.xyxy[0] for number, place in enumerate(path)]
    corners = np.array(boxes)
    return np.asarray((corners[:, :2] + corners[:, 2:]) / 2, np.float64)


def test_a_box_that_trembles_is_steadied() -> None:
    """Noise of 1 px on a box of 40 px that stands: less than half of it is left, about the true place."""
    rng = np.random.default_rng(0)
    path = np.array([300.0, 200.0]) + rng.normal(0, 1.0, (500, 2))
    found = _centers(path, stage("smooth"))[50:]
    assert found.std(axis=0).max() < 0.5
    assert found.mean(axis=0) == pytest.approx([300.0, 200.0], abs=0.15)


def test_a_fast_one_is_not_held_back() -> None:
    """At 5 box sizes per second, 8 px per frame, it lags by less than half a frame once it is known to be fast.

    A filter as steady for who stands, and no faster for who moves, would lag by 1 / (2 pi cut-off) s: four frames.
    """
    path = np.array([[20.0 + 200.0 * number / FPS, 200.0] for number in range(75)])
    lag = (path - _centers(path, stage("smooth")))[25:, 0]
    assert np.abs(lag).max() < 4.0
    slow = (path - _centers(path, stage("smooth", beta=0)))[50:, 0]
    assert slow.min() > 25.0


def test_beta_trades_lag_for_steadiness() -> None:
    """More of it: less lag for who walks, more trembling while he does."""
    walk = np.array([[20.0 + 60.0 * number / FPS, 200.0] for number in range(150)])
    lags = [float((walk - _centers(walk, stage("smooth", beta=beta)))[50:, 0].mean()) for beta in (0.0, 1.0, 4.0, 16.0)]
    assert lags == sorted(lags, reverse=True)


def test_it_is_the_filter_of_the_paper() -> None:
    """By hand: with a beta of 0 and a cut-off of 2 Hz at 25 Hz, 1 / (1 + tau / T) = 0.3345 of a step is taken over."""
    one = stage("smooth", beta=0, min_cutoff_hz=2.0)
    found = _centers(np.array([[100.0, 100.0], [110.0, 100.0], [110.0, 100.0]]), one)[:, 0]
    share = 1 / (1 + (1 / (2 * np.pi * 2.0)) / (1 / FPS))
    assert share == pytest.approx(0.3345, abs=1e-4)
    assert found == pytest.approx([100.0, 100 + 10 * share, 110 - 10 * (1 - share) ** 2], abs=1e-4)


def test_time_is_that_of_the_media() -> None:
    """The same path at half the frame rate comes out the same in the end, and not half as steady."""
    rng = np.random.default_rng(1)
    path = np.array([300.0, 200.0]) + rng.normal(0, 1.0, (1000, 2))
    fast, slow = stage("smooth", beta=0), stage("smooth", beta=0)
    every = np.array([fast(_seen(place, at=n / 50)).detections.xyxy[0, 0] for n, place in enumerate(path)])
    second = np.array([slow(_seen(path[n], at=n / 50)).detections.xyxy[0, 0] for n in range(0, 1000, 2)])
    # a first-order filter passes noise by the square root of its share of a step, which halves with the rate
    assert second[50:].std() / every[100:].std() == pytest.approx(np.sqrt(2), rel=0.25)


def test_size_keypoints_and_corners_are_steadied_too() -> None:
    """All but the confidence of keypoints, which says what was seen now."""
    rng, one = np.random.default_rng(3), stage("smooth")
    rows = []
    for number in range(200):
        noise = rng.normal(0, 1.0, (9, 2))
        keypoints = np.concatenate([300 + noise[:4], np.full((4, 1), number / 200)], axis=1)[None].astype(np.float32)
        quad = (200 + noise[4:8])[None].astype(np.float32)
        seen = one(_seen([300, 200], 20 + noise[8, 0], number / FPS, keypoints=keypoints, quad=quad)).detections
        assert seen.keypoints is not None
        assert seen.quad is not None
        assert seen.keypoints[..., 2].tolist() == keypoints[..., 2].tolist()
        assert seen.keypoints.dtype == seen.quad.dtype == seen.xyxy.dtype == np.float32
        width = seen.xyxy[0, 2] - seen.xyxy[0, 0]
        rows.append([width / 2, *seen.keypoints[0, :, :2].ravel(), *seen.quad[0].ravel()])
    spread = np.std(np.array(rows)[50:], axis=0)
    assert len(spread) == 17
    assert spread.max() < 0.5


def test_each_track_is_filtered_for_itself() -> None:
    """Rows that change places, come and go: as if each were alone."""
    rng = np.random.default_rng(4)
    paths = np.array([[[100, 100]], [[300, 100]], [[300, 300]]]) + rng.normal(0, 2.0, (3, 40, 2))
    alone = [_centers(path, stage("smooth")) for path in paths]
    one = stage("smooth")
    for number in range(40):
        order = rng.permutation(3)
        seen = one(_seen(paths[order, number], at=number / FPS, track_id=order.astype(np.int32) + 1)).detections
        centers = (seen.xyxy[:, :2] + seen.xyxy[:, 2:]) / 2
        for row, track in enumerate(order):
            assert centers[row] == pytest.approx(alone[track][number], abs=1e-3)


def test_a_track_that_comes_back_after_a_gap_begins_where_it_is() -> None:
    """After more than a second, and when the media clock began anew; a short gap is only a longer step."""
    for at, expected in [(5.0, 400.0), (-3.0, 400.0), (0.0, 400.0)]:
        one = stage("smooth", beta=0)
        one(_seen([100, 100], at=0.0))
        one(_seen([], at=0.1 if at > 0 else 0.0))
        if at > 1:
            one(_seen([], at=at - 0.1))
        box = one(_seen([400, 100], at=at)).detections.xyxy[0]
        assert (box[0] + box[2]) / 2 == pytest.approx(expected)
    one = stage("smooth", beta=0)
    one(_seen([100, 100], at=0.0))
    one(_seen([], at=0.2))
    box = one(_seen([200, 100], at=0.4)).detections.xyxy[0]
    share = 1 / (1 + 1 / (2 * np.pi * 0.4))
    assert (box[0] + box[2]) / 2 == pytest.approx(100 + 100 * share, abs=1e-3)


@given(
    places=st.lists(st.tuples(st.floats(0, 640), st.floats(0, 480), st.floats(0, 300)), min_size=1, max_size=20),
    times=st.lists(st.floats(-2, 5), min_size=20, max_size=20),
)
def test_boxes_stay_in_the_picture_and_the_right_way_round(
    places: list[tuple[float, float, float]], times: list[float]
) -> None:
    """Whatever comes, in whatever order of time."""
    one = stage("smooth")
    for (x, y, half), at in zip(places, times, strict=False):
        seen = one(_seen([x, y], half, at)).detections
        assert np.isfinite(seen.xyxy).all()
        assert (seen.xyxy >= 0).all()
        assert (seen.xyxy <= [640, 480, 640, 480]).all()
        assert (seen.xyxy[:, 2:] >= seen.xyxy[:, :2]).all()


def test_what_is_not_tracked_is_handed_on() -> None:
    """And nothing in an empty picture fails."""
    one, nothing = stage("smooth"), scene([], 0.0)
    assert len(one(nothing).detections) == 0
    untracked = replace(nothing, detections=Detections.empty())
    assert one(untracked) is untracked


def test_tracks_that_are_gone_are_forgotten() -> None:
    """Memory is bounded by a second of tracks."""
    one: Any = stage("smooth")
    for number in range(1000):
        one(scene([(number + 1, 50, 40)], number * 0.1))
    assert len(one._tracks) <= 12


@pytest.mark.parametrize("given", [{"min_cutoff_hz": 0}, {"beta": -1}, {"speed_cutoff_hz": True}])
def test_options_that_cannot_be_are_refused(given: dict[str, Any]) -> None:
    """A cut-off of nothing lets nothing through."""
    with pytest.raises(ValidationError):
        OPTIONS.validate_python({"kind": "smooth", **given})
