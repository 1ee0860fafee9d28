"""Checks the stage that keeps the detections that matter."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.filter import Filter, FilterOptions
from edge_vision.core.detections import Detections
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("person", "car", "dog")


def _options(**given: Any) -> FilterOptions:
    return FilterOptions.model_validate({"kind": "filter", **given})


def _scene(rows: list[tuple[int, float, float, float]]) -> Scene:
    """Objects given as class, confidence, width and height."""
    boxes = np.array([[5, 6, 5 + width, 6 + height] for _, _, width, height in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _, _ in rows], np.float32)
    return Scene(make_frame(), Detections(boxes, scores, np.array([row[0] for row in rows], np.int32)))


ROWS = [(0, 0.9, 10.0, 10.0), (1, 0.5, 20.0, 10.0), (2, 0.25, 1.0, 1.0), (0, 0.125, 50.0, 40.0)]


@pytest.mark.parametrize(
    "given, kept",
    [
        ({}, [0, 1, 2, 3]),
        ({"classes": ["person"]}, [0, 3]),
        ({"classes": ["dog", "car"]}, [1, 2]),
        ({"classes": ["person", "car", "dog"]}, [0, 1, 2, 3]),
        ({"classes": ["boat"]}, []),
        ({"min_confidence": 0.5}, [0, 1]),
        ({"min_confidence": 0.0}, [0, 1, 2, 3]),
        ({"min_confidence": 1.0}, []),
        ({"min_area_px": 100}, [0, 1, 3]),
        ({"min_area_px": 100.5}, [1, 3]),
        ({"max_area_px": 100}, [0, 2]),
        ({"max_area_px": 99.5}, [2]),
        ({"min_area_px": 100, "max_area_px": 200}, [0, 1]),
        ({"min_area_px": 0}, [0, 1, 2, 3]),
        ({"classes": ["person"], "min_confidence": 0.5, "min_area_px": 50}, [0]),
    ],
)
def test_it_keeps_what_passes_every_test(given: dict[str, Any], kept: list[int]) -> None:
    """By class, score and area, limits included, in the order there was."""
    before = _scene(ROWS)
    after = Filter(_options(**given), StageContext(LABELS))(before)
    assert after.detections.xyxy.tolist() == before.detections.xyxy[kept].tolist()
    assert after.detections.class_id.tolist() == before.detections.class_id[kept].tolist()
    assert len(before.detections) == len(ROWS)


@pytest.mark.parametrize("given, rows", [({}, ROWS), ({"classes": ["dog"]}, []), ({"min_confidence": 0.1}, ROWS)])
def test_a_scene_that_loses_nothing_is_handed_on_as_it_is(given: dict[str, Any], rows: list[Any]) -> None:
    """No copy where nothing changes."""
    scene = _scene(rows)
    assert Filter(_options(**given), StageContext(LABELS))(scene) is scene


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 9), st.integers(0, 9))
    ),
    classes=st.none() | st.lists(st.sampled_from(LABELS), min_size=1),
    confidence=st.none() | st.sampled_from([0.25, 0.5]),
    smallest=st.none() | st.integers(0, 40),
    largest=st.none() | st.integers(41, 81),
)
def test_it_equals_a_test_object_by_object(
    rows: list[tuple[int, float, int, int]],
    classes: list[str] | None,
    confidence: float | None,
    smallest: int | None,
    largest: int | None,
) -> None:
    """The same as asking each object in turn."""
    options = _options(classes=classes, min_confidence=confidence, min_area_px=smallest, max_area_px=largest)
    expected = [
        row for row in rows
        if (classes is None or LABELS[row[0]] in classes)
        and (confidence is None or row[1] >= confidence)
        and (smallest is None or row[2] * row[3] >= smallest)
        and (largest is None or row[2] * row[3] <= largest)
    ]  # fmt: skip
    found = Filter(options, StageContext(LABELS))(
        _scene([(a, b, float(c), float(d)) for a, b, c, d in rows])
    ).detections
    assert list(zip(found.class_id.tolist(), found.confidence.tolist(), strict=True)) == [row[:2] for row in expected]


@pytest.mark.parametrize(
    "given", [{"min_area_px": 5, "max_area_px": 4}, {"classes": []}, {"min_confidence": 1.1}, {"max_area_px": 0}]
)
def test_a_filter_nothing_could_pass_is_refused(given: dict[str, Any]) -> None:
    """It would be silence for ever."""
    with pytest.raises(ValidationError):
        _options(**given)
