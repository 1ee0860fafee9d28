"""Checks suppression against an implementation that compares every pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.nms import finish, suppress, xyxy_from_center

Boxes = NDArray[np.float32]


def _overlaps(one: Boxes, others: Boxes) -> NDArray[np.float64]:
    """Intersection over union of a box with each of the others, in float64."""
    a, b = one.astype(np.float64), others.astype(np.float64)
    width = np.minimum(a[2], b[:, 2]) - np.maximum(a[0], b[:, 0])
    height = np.minimum(a[3], b[:, 3]) - np.maximum(a[1], b[:, 1])
    common = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) - common
    return np.asarray(np.divide(common, union, out=np.zeros(len(b)), where=union > 0))


def _naive(
    xyxy: Boxes, confidence: NDArray[np.float32], class_id: NDArray[np.int32], iou: float, most: int
) -> list[int]:
    """Take the best box that is left; drop what overlaps it and is of its class; again."""
    left = np.array(sorted(range(len(xyxy)), key=lambda place: (-confidence[place], place)), np.intp)
    kept: list[int] = []
    while len(left) and len(kept) < most:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        same = class_id[left] == class_id[best]
        left = left[~(same & (_overlaps(xyxy[best], xyxy[left]) > iou))]
    return kept


@st.composite
def _candidates(draw: st.DrawFn) -> tuple[Boxes, NDArray[np.float32], NDArray[np.int32]]:
    """Boxes on a coarse grid, so that equal boxes, equal scores and shared edges come up often."""
    count = draw(st.integers(0, 25))
    corner, side = st.integers(-20, 620), st.integers(0, 12)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), min_size=count, max_size=count))
    boxes = np.array([[x // 8, y // 8, x // 8 + w, y // 8 + h] for x, y, w, h in rows], np.float32).reshape(-1, 4)
    scores = draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
    classes = draw(st.lists(st.sampled_from([0, 1, 79]), min_size=count, max_size=count))
    return boxes, np.array(scores, np.float32) / np.float32(7), np.array(classes, np.int32)


# 0.37 and 0.61 are overlaps that no two boxes with whole sides up to 12 can have: no tie to round either way.
@given(candidates=_candidates(), iou=st.sampled_from([0.0, 0.37, 0.61, 1.0]), most=st.sampled_from([1, 3, 100]))
def test_suppress_keeps_what_the_naive_way_keeps(
    candidates: tuple[Boxes, NDArray[np.float32], NDArray[np.int32]], iou: float, most: int
) -> None:
    """The same positions in the same order: best first, equal scores in their order, at most `most`."""
    xyxy, confidence, class_id = candidates
    assert suppress(xyxy, confidence, class_id, iou, most).tolist() == _naive(*candidates, iou, most)


@given(seed=st.integers(0, 10_000), count=st.sampled_from([120, 256, 257, 700]), most=st.sampled_from([50, 10_000]))
@settings(max_examples=30, deadline=None)
def test_suppress_agrees_on_crowds_of_real_sizes(seed: int, count: int, most: int) -> None:
    """Dense random boxes in a large picture: neither the shift between classes nor the blocks change anything."""
    random = np.random.default_rng(seed)
    center, size = random.uniform(0, 600, (count, 2)), random.uniform(20, 200, (count, 2))
    xyxy = np.concatenate([center - size / 2, center + size / 2], axis=1).astype(np.float32)
    confidence = random.uniform(0, 1, count).astype(np.float32)
    class_id = random.choice([0, 5, 79], count).astype(np.int32)
    assert suppress(xyxy, confidence, class_id, 0.45, most).tolist() == _naive(xyxy, confidence, class_id, 0.45, most)


@pytest.mark.parametrize("most", [1, 255, 256, 257, 600])
def test_the_most_counts_across_blocks(most: int) -> None:
    """Six hundred boxes apart from each other: the best `most` stay, in order."""
    left = np.arange(600, dtype=np.float32) * 20
    xyxy = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    confidence = np.linspace(0.9, 0.1, 600).astype(np.float32)
    kept = suppress(xyxy, confidence, np.zeros(600, np.int32), 0.5, most)
    assert kept.tolist() == list(range(most))


@pytest.mark.parametrize(
    "iou, kept",
    [(0.49, [0]), (0.5, [0, 1]), (0.51, [0, 1])],
)
def test_an_overlap_equal_to_the_threshold_stays(iou: float, kept: list[int]) -> None:
    """Only *more* overlap than `iou` suppresses: of two boxes that share half their union, both stay at 0.5."""
    xyxy = np.array([[0, 0, 4, 2], [0, 0, 4, 1]], np.float32)
    assert suppress(xyxy, np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32), iou, 10).tolist() == kept


def test_the_same_box_of_two_classes_stays_twice() -> None:
    """Suppression is class-wise, also for boxes at negative coordinates."""
    xyxy = np.array([[-50, -50, 10, 10]] * 3, np.float32)
    kept = suppress(xyxy, np.array([0.5, 0.9, 0.7], np.float32), np.array([0, 1, 0], np.int32), 0.5, 10)
    assert kept.tolist() == [1, 2]


def test_nothing_in_nothing_out() -> None:
    """No candidates are no detections, of the right types."""
    nothing = np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32)
    assert suppress(*nothing, 0.5, 10).tolist() == []
    found = finish(*nothing, Letterbox.fit((10, 10), (10, 10)), Thresholds())
    assert (len(found), found.xyxy.shape) == (0, (0, 4))
    assert (str(found.xyxy.dtype), str(found.class_id.dtype)) == ("float32", "int32")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(4))
def test_a_box_that_is_not_finite_is_no_object_and_disturbs_no_other(bad: float, place: int) -> None:
    """A network that overflows in one row still has its other rows suppressed."""
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 9, 9]], np.float32)
    xyxy[2, place] = bad
    confidence = np.array([0.8, 0.9, 0.95], np.float32)
    found = finish(xyxy, confidence, np.zeros(3, np.int32), Letterbox.fit((10, 10), (10, 10)), Thresholds(iou=0.5))
    assert found.xyxy.tolist() == [[0, 0, 10, 10]]
    assert found.confidence.tolist() == pytest.approx([0.9])


def test_finish_maps_to_the_source_and_clips_to_the_picture() -> None:
    """Boxes come out in source pixels, cut at the picture's border, sorted by confidence."""
    letterbox = Letterbox.fit((200, 100), (100, 100))  # scale 0.5, 25 rows of rim above
    xyxy = np.array([[10, 35, 20, 45], [-30, 0, 500, 500]], np.float32)
    found = finish(xyxy, np.array([0.4, 0.6], np.float32), np.array([3, 1], np.int32), letterbox, Thresholds(iou=1.0))
    assert found.xyxy.tolist() == [[0, 0, 200, 100], [20, 20, 40, 40]]
    assert found.confidence.tolist() == pytest.approx([0.6, 0.4])
    assert found.class_id.tolist() == [1, 3]


def test_a_box_that_shows_nothing_of_the_picture_is_no_object() -> None:
    """On the rim of a letterbox, turned inside out, or without a side; it takes nobody's place, and its points go too.

    Two such boxes overlap by nothing, so that a runtime would not even agree with itself at the gate.
    """
    letterbox = Letterbox.fit((200, 100), (100, 100))  # 25 rows of rim above
    xyxy = np.array([[10, 0, 20, 25], [40, 40, 30, 50], [10, 30, 10, 40], [10, 35, 20, 45]], np.float32)
    confidence, class_id = np.array([0.9, 0.8, 0.7, 0.4], np.float32), np.arange(4, dtype=np.int32)
    points = np.arange(8, dtype=np.float32).reshape(4, 1, 2)
    found = finish(xyxy, confidence, class_id, letterbox, Thresholds(max_detections=1), points)
    assert (found.xyxy.tolist(), found.class_id.tolist()) == ([[20, 20, 40, 40]], [3])
    assert found.keypoints is not None
    assert found.keypoints[0, 0].tolist() == pytest.approx([12, -36, 0.4])


def test_scores_are_in_0_to_1() -> None:
    """Half precision may round to a little more than 1; a score that is none is no object."""
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]], np.float32)
    confidence = np.array([1.0009766, np.inf, 0.5], np.float32)
    found = finish(boxes, confidence, np.zeros(3, np.int32), Letterbox.fit((50, 50), (50, 50)), Thresholds())
    assert found.confidence.tolist() == [1.0, 0.5]


def test_finish_keeps_the_best_of_too_many() -> None:
    """`max_detections` cuts the tail, not the head."""
    xyxy = np.array([[place * 20, 0, place * 20 + 10, 10] for place in range(9)], np.float32)
    confidence = np.linspace(0.1, 0.9, 9).astype(np.float32)
    letterbox = Letterbox.fit((200, 200), (200, 200))
    found = finish(xyxy, confidence, np.zeros(9, np.int32), letterbox, Thresholds(max_detections=2))
    assert found.confidence.tolist() == pytest.approx([0.9, 0.8])


def test_a_center_and_a_size_become_corners() -> None:
    """Center x, center y, width, height → left, top, right, bottom."""
    corners = xyxy_from_center(np.array([[50, 40, 20, 10], [0, 0, 0, 0]], np.float32))
    assert corners.tolist() == [[40, 35, 60, 45], [0, 0, 0, 0]]
