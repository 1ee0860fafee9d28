"""Checks the columns of what a network saw."""

from typing import Any

import numpy as np
import pytest

from edge_vision.core.detections import Detections


def _three() -> Detections:
    return Detections(
        xyxy=np.arange(12, dtype=np.float32).reshape(3, 4),
        confidence=np.array([0.9, 0.8, 0.7], np.float32),
        class_id=np.array([4, 5, 6], np.int32),
        track_id=np.array([10, 11, 12], np.int32),
        keypoints=np.arange(18, dtype=np.float32).reshape(3, 2, 3),
        quad=np.arange(24, dtype=np.float32).reshape(3, 4, 2),
    )


def test_empty_has_typed_columns_and_no_rows() -> None:
    """Nothing seen is a value like any other."""
    nothing = Detections.empty()
    assert (len(nothing), nothing.xyxy.shape, nothing.track_id) == (0, (0, 4), None)
    assert [str(nothing.xyxy.dtype), str(nothing.confidence.dtype), str(nothing.class_id.dtype)] == [
        "float32", "float32", "int32",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "index, rows",
    [
        (np.array([True, False, True]), [0, 2]),
        (np.array([False, False, False]), []),
        (np.array([2, 0]), [2, 0]),
        (np.array([1, 1]), [1, 1]),
        (np.array([], np.intp), []),
    ],
)
def test_where_takes_the_same_rows_of_every_column(index: Any, rows: list[int]) -> None:
    """A mask keeps rows, positions order them; every column follows."""
    seen = _three()
    chosen = seen.where(index)
    assert len(chosen) == len(rows)
    for name in ("xyxy", "confidence", "class_id", "track_id", "keypoints", "quad"):
        assert getattr(chosen, name).tolist() == [getattr(seen, name)[row].tolist() for row in rows]


def test_where_leaves_absent_columns_absent() -> None:
    """A model without keypoints does not gain any."""
    seen = Detections(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32))
    chosen = seen.where(np.array([1]))
    assert (chosen.track_id, chosen.keypoints, chosen.quad) == (None, None, None)


@pytest.mark.parametrize("column", ["confidence", "class_id", "track_id", "keypoints", "quad"])
def test_columns_of_different_lengths_are_refused(column: str) -> None:
    """Row i of every column speaks of object i: a column too short is a ValueError that names it."""
    three = _three()
    columns = {
        name: getattr(three, name) for name in ("xyxy", "confidence", "class_id", "track_id", "keypoints", "quad")
    }
    columns[column] = columns[column][:2]
    with pytest.raises(ValueError, match=f"column {column} has 2 rows, xyxy has 3"):
        Detections(**columns)


def test_detections_are_frozen() -> None:
    """A column is never replaced in place."""
    with pytest.raises(AttributeError):
        _three().confidence = np.zeros(3, np.float32)  # type: ignore[misc]
