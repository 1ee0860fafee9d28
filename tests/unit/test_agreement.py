"""Checks the figures by which two runtimes are compared."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.core.detections import Detections
from edge_vision.models.options import Tolerance
from edge_vision.models.proof.agreement import compare

LIMIT = Tolerance(score_diff=0.1, mean_iou=0.9, point_error=0.1, missed=0.25, extra=0.25, quality=0.8)
BOX = [0.0, 0.0, 100.0, 100.0]
FAR = [500.0, 500.0, 600.0, 600.0]


def seen(*objects: tuple[list[float], float, int], **columns: Any) -> Detections:
    """Objects as (xyxy, confidence, class)."""
    return Detections(
        np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in objects], np.float32),
        np.array([class_id for _, _, class_id in objects], np.int32),
        **columns,
    )


def test_the_same_is_the_same() -> None:
    """Nothing missed, nothing extra, overlap and quality 1, whatever the order of the objects."""
    one = seen((BOX, 0.9, 0), (FAR, 0.8, 1))
    agreement = compare([one], [one.where(np.array([1, 0]))], 0.3, 0.02)
    assert (agreement.objects, agreement.found, agreement.missed, agreement.extra) == (2, 2, 0, 0)
    assert (agreement.mean_iou, agreement.score_diff, agreement.quality) == (1.0, 0.0, 1.0)
    assert agreement.breaches(LIMIT) == []


@pytest.mark.parametrize(
    "found, missed, extra, quality, words",
    [
        (seen(), 1, 0, 0.0, "1 missed beside 1 objects"),
        (seen((BOX, 0.9, 1)), 1, 1, 0.0, "1 extra beside 1 objects"),
        (seen((FAR, 0.9, 0)), 1, 1, 0.0, "1 missed"),
        (seen((BOX, 0.9, 0), (FAR, 0.9, 0)), 0, 1, 1 / 1.5, "1 extra"),
        (seen((BOX, 0.7, 0)), 0, 0, 1.0, "score difference 0.200 (limit 0.1)"),
        (seen(([0.0, 0.0, 100.0, 80.0], 0.9, 0)), 0, 0, 0.8, "mean overlap 0.800 (limit 0.9)"),
        (seen(([0.0, 0.0, 100.0, 40.0], 0.9, 0)), 1, 1, 0.0, "1 missed"),
        (seen((BOX, 0.9, 0), ([0.0, 0.0, 100.0, 99.0], 0.9, 0)), 0, 1, 1 / 1.5, "1 extra"),
    ],
    ids=["nothing", "class", "place", "more", "score", "box", "half", "double"],
)
def test_what_differs_is_counted(found: Detections, missed: int, extra: int, quality: float, words: str) -> None:
    """One object at BOX with 0.9 of class 0 is expected."""
    agreement = compare([seen((BOX, 0.9, 0))], [found], 0.3, 0.02)
    assert (agreement.missed, agreement.extra) == (missed, extra)
    assert agreement.quality == pytest.approx(quality)
    assert any(words in breach for breach in agreement.breaches(LIMIT))


def test_boxes_that_are_no_numbers_agree_with_nothing() -> None:
    """NaN is neither above nor below a limit, and must not pass for it."""
    nowhere = seen(([math.nan] * 4, 0.9, 0))
    assert compare([seen(([0, 0, 10, 10], 0.9, 0))], [nowhere], 0.3, 0.0).breaches(LIMIT)


@pytest.mark.parametrize("count, said", [(0, "0 of 3 objects found (limit 50%)"), (1, "1 of 3"), (2, "")])
def test_who_sees_next_to_nothing_does_not_pass_for_want_of_sure_objects(count: int, said: str) -> None:
    """All of the reference's objects lie within the slack of the threshold."""
    reference = seen((BOX, 0.4, 0), (FAR, 0.4, 0), (BOX, 0.4, 1))
    agreement = compare([reference], [reference.where(np.arange(3) < count)], 0.3, 0.25)
    assert (agreement.missed, agreement.reference) == (0, 3)
    assert "".join(agreement.breaches(LIMIT)).startswith(said)
    assert bool(agreement.breaches(LIMIT)) == bool(said)
    assert f"{count} of 3 objects found" in str(agreement)


def test_objects_near_the_threshold_may_come_and_go() -> None:
    """Within the slack they are nobody's fault; above it they are missed or extra."""
    agreement = compare([seen((BOX, 0.31, 0))], [seen((FAR, 0.319, 0))], 0.3, 0.02)
    assert (agreement.missed, agreement.extra, agreement.borderline) == (0, 0, 2)
    agreement = compare([seen((BOX, 0.33, 0))], [seen((FAR, 0.33, 0))], 0.3, 0.02)
    assert (agreement.missed, agreement.extra, agreement.borderline) == (1, 1, 0)


def test_each_object_is_matched_once_with_its_best() -> None:
    """Two near boxes on both sides find each their own."""
    near = [10.0, 0.0, 110.0, 100.0]
    agreement = compare([seen((BOX, 0.9, 0), (near, 0.8, 0))], [seen((near, 0.8, 0), (BOX, 0.9, 0))], 0.3, 0.02)
    assert (agreement.found, agreement.mean_iou, agreement.score_diff) == (2, 1.0, 0.0)


def test_pictures_are_not_mixed() -> None:
    """An object found in the wrong picture is missed in one and extra in the other."""
    agreement = compare([seen((BOX, 0.9, 0)), seen()], [seen(), seen((BOX, 0.9, 0))], 0.3, 0.02)
    assert (agreement.missed, agreement.extra) == (1, 1)


@pytest.mark.parametrize("column, width", [("keypoints", 3), ("quad", 2)])
def test_points_are_compared_by_the_diagonal(column: str, width: int) -> None:
    """The farthest point counts, as part of the box's diagonal; points on one side only never agree."""
    points = np.zeros((1, 4, width), np.float32)
    moved = points.copy()
    moved[0, 2, :2] = (30.0, 40.0)
    with_points = seen((BOX, 0.9, 0), **{column: points})
    agreement = compare([with_points], [seen((BOX, 0.9, 0), **{column: moved})], 0.3, 0.02)
    assert agreement.point_error == pytest.approx(50.0 / math.hypot(100, 100))
    assert any("point error" in breach for breach in agreement.breaches(LIMIT))
    assert compare([with_points], [seen((BOX, 0.9, 0))], 0.3, 0.02).point_error == math.inf
    moved[:] = np.nan
    nowhere = compare([with_points], [seen((BOX, 0.9, 0), **{column: moved})], 0.3, 0.02)
    assert any("point error" in breach for breach in nowhere.breaches(LIMIT))


_BOXES = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50), st.integers(0, 1)),
    max_size=6,
)


def _from(drawn: list[tuple[int, int, int, int, int]]) -> Detections:
    return seen(*(([float(x), float(y), float(x + w), float(y + h)], 0.9, c) for x, y, w, h, c in drawn))


@given(_BOXES, _BOXES)
def test_the_figures_add_up(
    one: list[tuple[int, int, int, int, int]], two: list[tuple[int, int, int, int, int]]
) -> None:
    """Every object is found, missed or extra; quality lies in 0..1 and does not depend on which side is which."""
    here, there = _from(one), _from(two)
    agreement = compare([here], [there], 0.3, 0.02)
    mirrored = compare([there], [here], 0.3, 0.02)
    assert agreement.found + agreement.missed == len(here)
    assert agreement.found + agreement.extra == len(there)
    assert 0.0 <= agreement.quality <= 1.0
    assert agreement.quality == pytest.approx(mirrored.quality)
