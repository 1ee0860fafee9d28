"""Checks what must hold of the tracker whatever a detector hands it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.tracker import Tracker, TrackerOptions
from edge_vision.core.detections import Detections

STEP_NS = 40_000_000


def _tracker(**options: Any) -> Tracker:
    return Tracker(TrackerOptions.model_validate({"kind": "tracker", **options}), StageContext())


def _seen(boxes: Any, confidence: Any = 0.9, class_id: Any = 0) -> Detections:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(xyxy)
    return Detections(
        xyxy,
        np.broadcast_to(np.asarray(confidence, np.float32), count).copy(),
        np.broadcast_to(np.asarray(class_id, np.int32), count).copy(),
    )


_LEVELS = (0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_OBJECT = st.tuples(
    *(st.integers(0, 90), st.integers(0, 90)),  # left and top
    *(st.integers(0, 40), st.integers(0, 40)),  # width and height, also none
    st.sampled_from(_LEVELS),
    st.integers(0, 2),
)
_FRAMES = st.lists(st.lists(_OBJECT, max_size=8), min_size=1, max_size=12)


def _frame(objects: list[tuple[float, ...]]) -> Detections:
    """Rows with an attribute that tells which row it was."""
    table = np.array(objects, np.float32).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    found = _seen(boxes, table[:, 4], table[:, 5].astype(np.int32))
    return found.with_attribute("row", np.arange(len(found), dtype=np.float32))


@settings(max_examples=150, deadline=None)
@given(frames=_FRAMES, min_hits=st.integers(1, 3), step_ns=st.sampled_from([0, STEP_NS, 2_000_000_000]))
def test_numbers_are_unique_never_reused_and_rows_keep_their_order_and_columns(
    frames: list[list[tuple[float, ...]]], min_hits: int, step_ns: int
) -> None:
    """In every frame of any sequence, at rest and with pauses in which every track ends."""
    tracker = _tracker(min_hits=min_hits)
    last: dict[int, int] = {}
    before: set[int] = set()
    highest = 0
    for number, objects in enumerate(frames):
        seen = _frame(objects)
        found = tracker.update(seen, number * step_ns)
        assert found.track_id is not None
        rows = found.attributes["row"].astype(int)
        assert (np.diff(rows) > 0).all()
        assert np.array_equal(found.xyxy, seen.xyxy[rows])
        assert np.array_equal(found.confidence, seen.confidence[rows])
        ids = found.track_id.tolist()
        assert len(set(ids)) == len(ids)
        fresh = sorted(set(ids) - last.keys())
        assert all(track_id > highest for track_id in fresh), "a number came back that had been passed over"
        highest = max([highest, *ids])
        last |= dict.fromkeys(ids, number)
        assert step_ns <= STEP_NS or not number or not set(ids) & before, "longer than max_lost_s"
        before = set(ids)


@settings(max_examples=150, deadline=None)
@given(frames=_FRAMES, seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_decides_nothing(frames: list[list[tuple[float, ...]]], seed: int) -> None:
    """Shuffled rows: each object gets the number and the class that it gets in order. Equal rows are one."""
    one, other = _tracker(min_hits=2), _tracker(min_hits=2)
    rng = np.random.default_rng(seed)
    for number, objects in enumerate(frames):
        seen = _frame(list(dict.fromkeys(objects)))
        order = rng.permutation(len(seen))
        plain, shuffled = one.update(seen, number * STEP_NS), other.update(seen.where(order), number * STEP_NS)
        assert plain.track_id is not None
        assert shuffled.track_id is not None
        assert _by_row(plain) == _by_row(shuffled)


def _by_row(found: Detections) -> dict[int, tuple[int, int]]:
    assert found.track_id is not None
    columns = (found.attributes["row"], found.track_id, found.class_id)
    return {int(row): (int(number), int(class_id)) for row, number, class_id in zip(*columns, strict=True)}


@settings(max_examples=60, deadline=None)
@given(frames=_FRAMES)
def test_another_run_gives_the_same_tracks(frames: list[list[tuple[float, ...]]]) -> None:
    """Nothing but the frames and their times decides."""
    one, other = _tracker(), _tracker()
    for number, objects in enumerate(frames):
        seen = _frame(objects)
        assert _by_row(one.update(seen, number * STEP_NS)) == _by_row(other.update(seen, number * STEP_NS))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [
        (NAN, 10, 30, 30),
        (10, 10, NAN, NAN),
        (10, 10, INF, 30),
        (-INF, 10, 30, 30),
        (10, 10, 10, 30),
        (10, 10, 30, 10),
        (30, 30, 10, 10),
    ],
)
def test_what_is_no_box_is_nobody_and_harms_nobody(box: tuple[float, ...]) -> None:
    """NaN, infinite, without an area, inside out: never numbered, and the object beside it keeps its number."""
    tracker = _tracker(min_hits=1)
    for number in range(5):
        found = tracker.update(_seen([box, (50 + number, 50, 70 + number, 70)]), number * STEP_NS)
        assert found.track_id is not None
        assert found.track_id.tolist() == [1]
        assert found.xyxy[0, 0] == 50 + number


@pytest.mark.parametrize("confidence", [NAN, 0.0, -1.0])
def test_what_scores_nothing_is_nobody(confidence: float) -> None:
    """Also where it lies on a track."""
    tracker = _tracker(min_hits=1)
    tracker.update(_seen([(50, 50, 70, 70)]), 0)
    assert len(tracker.update(_seen([(50, 50, 70, 70)], confidence), STEP_NS)) == 0
    assert tracker.update(_seen([(50, 50, 70, 70)]), 2 * STEP_NS).track_id == [1]


def test_a_threshold_of_nothing_takes_everything() -> None:
    """`low: 0, high: 0`: an object of confidence 0 is followed."""
    tracker = _tracker(min_hits=1, low=0.0, high=0.0)
    assert [tracker.update(_seen([(5, 5, 9, 9)], 0.0), number).track_id for number in range(3)] == [[1], [1], [1]]


@pytest.mark.parametrize("box", [(1e30, 1e30, 2e30, 2e30), (0, 0, 1e-30, 1e-30), (-3e38, -3e38, 3e38, 3e38)])
def test_absurd_sizes_stay_numbers(box: tuple[float, ...]) -> None:
    """Boxes that no picture holds: followed or not, but nothing overflows into a warning or a NaN."""
    tracker = _tracker(min_hits=1)
    for number in range(4):
        tracker.update(_seen([box, (50, 50, 70, 70)]), number * STEP_NS)
    assert np.isfinite(tracker._kalman.boxes()).all()
    assert 70 in tracker.update(_seen([box, (50, 50, 70, 70)]), 4 * STEP_NS).xyxy


def test_time_that_stands_still_ends_no_track() -> None:
    """A clock that hangs: what stays where it is, or trembles there, goes on."""
    tracker = _tracker()
    found = [tracker.update(_seen([(50 + number % 2, 50, 70, 70)]), 7) for number in range(200)]
    assert [one.track_id.tolist() for one in found if one.track_id is not None] == [[], [], *[[1]] * 198]


def test_time_that_leaps_ahead_ends_every_track() -> None:
    """An hour later whoever stands there is somebody else, and has to be seen often enough again."""
    tracker = _tracker(min_hits=2)
    for number in range(3):
        tracker.update(_seen([(50, 50, 70, 70)]), number * STEP_NS)
    later = 3_600_000_000_000
    assert len(tracker.update(_seen([(50, 50, 70, 70)]), later)) == 0
    assert tracker.update(_seen([(50, 50, 70, 70)]), later + STEP_NS).track_id == [2]


def test_time_that_jumps_back_a_little_begins_anew_for_the_lost_ones_too() -> None:
    """A track that was lost before the moment to which the clock returns does not live on in the other time."""
    tracker = _tracker(min_hits=1, max_lost_s=5.0)
    tracker.update(_seen([(50, 50, 70, 70)]), 1_000_000_000)
    tracker.update(_seen([]), 3_000_000_000)
    assert tracker.update(_seen([(50, 50, 70, 70)]), 2_000_000_000).track_id == [2]


def test_thousands_of_objects_are_followed() -> None:
    """Three thousand on a grid, all of which move: each keeps its number."""
    column, row = np.divmod(np.arange(3000), 50)
    corner = np.stack([column * 30.0, row * 30.0], axis=1)
    tracker = _tracker(min_hits=1)
    expected = None
    for number in range(4):
        found = tracker.update(_seen(np.concatenate([corner + number, corner + number + 20], axis=1)), number * STEP_NS)
        assert found.track_id is not None
        expected = found.track_id if expected is None else expected
        assert np.array_equal(found.track_id, expected)
    assert len(found) == 3000


@pytest.mark.parametrize("side", [18, 30])
def test_objects_that_all_compete_with_each_other_are_answered(side: int) -> None:
    """A grid of boxes ten times as large as its cells: solved at once, or nearest first; each keeps its number."""
    row, column = np.divmod(np.arange(side * side), side)
    corner = np.stack([column * 20.0, row * 20.0], axis=1)
    tracker = _tracker(min_hits=1)
    expected = None
    for number in range(3):
        boxes = np.concatenate([corner + number, corner + number + 200], axis=1)
        found = tracker.update(_seen(boxes), number * STEP_NS)
        assert found.track_id is not None
        expected = found.track_id if expected is None else expected
        assert np.array_equal(found.track_id, expected)
    assert len(found) == side * side
