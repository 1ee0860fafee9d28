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


LEFT = {"left": [[0.0, 0.0], [0.2, 0.0], [0.2, 1.0], [0.0, 1.0]]}
"""Up to x = 12.8 of a picture of 64x48; boxes begin at x = 5."""
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
        ({"min_area": 100 / (64 * 48)}, [0, 1, 3]),
        ({"min_area": 0.033, "max_area": 0.1}, [1]),
        ({"max_area": 1.0}, [0, 1, 2, 3]),
        ({"min_aspect": 1.25}, [1, 3]),
        ({"min_aspect": 1.0, "max_aspect": 1.25}, [0, 2, 3]),
        ({"max_aspect": 1.0}, [0, 2]),
        ({"min_width_px": 20}, [1, 3]),
        ({"max_width_px": 10}, [0, 2]),
        ({"min_height_px": 10, "max_height_px": 10}, [0, 1]),
        ({"zones_keep": LEFT}, [0, 2]),
        ({"zones_drop": LEFT}, [1, 3]),
        ({"zones_drop": {**LEFT, "rest": [[0.2, 0], [1, 0], [1, 1], [0.2, 1]]}}, []),
        ({"zones_keep": LEFT, "anchor": "right"}, [2]),
        ({"zones_keep": {**LEFT, "rest": [[0.2, 0], [1, 0], [1, 1], [0.2, 1]]}}, [0, 1, 2, 3]),
        ({"zones_keep": LEFT, "zones_drop": {"corner": [[0, 0], [0.1, 0], [0.1, 0.15], [0, 0.15]]}}, [0]),
        ({"zones_keep": {"all": [[0, 0], [1, 0], [1, 1], [0, 1]]}, "anchor": "bottom"}, [0, 1, 2, 3]),
    ],
)
def test_it_keeps_what_passes_every_test(given: dict[str, Any], kept: list[int]) -> None:
    """By class, score, size, shape and place, limits included, in the order there was."""
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


_PX = st.integers(0, 80).map(lambda number: number + 0.5)
_CLEAR: dict[str, st.SearchStrategy[float]] = {
    "area_px": _PX,
    "area": _PX.map(lambda number: number / (64 * 48)),
    "aspect": st.sampled_from([0.3, 0.7, 1.1, 1.9, 3.3]),
    "width_px": _PX.map(lambda number: number / 8),
    "height_px": _PX.map(lambda number: number / 8),
}
"""Limits that whole sides of up to 9 pixels never meet exactly: rounding plays no part."""


@st.composite
def _limits(draw: st.DrawFn) -> dict[str, Any]:
    """Some of the options, each pair in order; sides of zones lie where no center does."""
    given: dict[str, Any] = {}
    for name, limit in _CLEAR.items():
        for end, value in zip(("min", "max"), sorted([draw(limit), draw(limit)]), strict=True):
            if draw(st.booleans()):
                given[f"{end}_{name}"] = value
    for name in ("zones_keep", "zones_drop"):
        if draw(st.booleans()):
            left, top, width, height = (draw(st.integers(1, 10)) for _ in range(4))
            (x, x2), (y, y2) = (
                [(at + 0.25) / size for at in ends]
                for ends, size in (((left, left + width), 64), ((top, top + height), 48))
            )
            given[name] = {"zone": [[x, y], [x2, y], [x2, y2], [x, y2]]}
    return given


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 9), st.integers(0, 9))
    ),
    classes=st.none() | st.lists(st.sampled_from(LABELS), min_size=1),
    confidence=st.none() | st.sampled_from([0.25, 0.5]),
    limits=_limits(),
)
def test_it_equals_a_test_object_by_object(
    rows: list[tuple[int, float, int, int]],
    classes: list[str] | None,
    confidence: float | None,
    limits: dict[str, Any],
) -> None:
    """The same as asking each object in turn."""

    def right_size(name: str, value: float, unit: float = 1.0) -> bool:
        least, most = limits.get(f"min_{name}"), limits.get(f"max_{name}")
        return (least is None or value >= least * unit) and (most is None or value <= most * unit)

    def in_zone(name: str, x: float, y: float) -> bool:
        (left, top), _, (right, bottom), _ = limits[name]["zone"]
        return bool(left < x / 64 < right and top < y / 48 < bottom)

    expected = [
        (label, score)
        for label, score, width, height in rows
        if (classes is None or LABELS[label] in classes)
        and (confidence is None or score >= confidence)
        and right_size("area_px", width * height)
        and right_size("area", width * height / (64 * 48))
        and right_size("aspect", width, height)
        and right_size("width_px", width)
        and right_size("height_px", height)
        and ("zones_keep" not in limits or in_zone("zones_keep", 5 + width / 2, 6 + height / 2))
        and ("zones_drop" not in limits or not in_zone("zones_drop", 5 + width / 2, 6 + height / 2))
    ]
    options = _options(classes=classes, min_confidence=confidence, **limits)
    scene = _scene([(label, score, float(width), float(height)) for label, score, width, height in rows])
    found = Filter(options, StageContext(LABELS))(scene).detections
    assert list(zip(found.class_id.tolist(), found.confidence.tolist(), strict=True)) == expected


def test_a_box_without_height_is_infinitely_wide() -> None:
    """And one without width is as narrow as can be."""
    scene = _scene([(0, 0.9, 1.0, 0.0), (0, 0.9, 0.0, 1.0)])
    for limit, kept in (({"max_aspect": 100}, [0.0]), ({"min_aspect": 100}, [1.0])):
        found = Filter(_options(**limit), StageContext(LABELS))(scene).detections.xyxy
        assert (found[:, 2] - found[:, 0]).tolist() == kept


@pytest.mark.parametrize(
    "given, needs",
    [
        ({}, set()),
        ({"min_confidence": 0.5, "anchor": "bottom"}, set()),
        ({"classes": ["dog"]}, {"class"}),
        *(({f"{end}_{name}": 0.5}, {"box"}) for end in ("min", "max") for name in ("area_px", "area", "aspect")),
        *(({f"{end}_{name}": 5}, {"box"}) for end in ("min", "max") for name in ("width_px", "height_px")),
        ({"zones_keep": LEFT}, {"box"}),
        ({"zones_drop": LEFT, "classes": ["dog"]}, {"box", "class"}),
    ],
)
def test_it_needs_what_it_looks_at(given: dict[str, Any], needs: set[str]) -> None:
    """A filter of scores may follow any model."""
    assert _options(**given).needs == needs


@pytest.mark.parametrize(
    "given",
    [
        {"classes": []},
        {"min_confidence": 1.1},
        *({f"max_{name}": 0} for name in ("area_px", "area", "aspect", "width_px", "height_px")),
        *({f"min_{name}": 0.5, f"max_{name}": 0.4} for name in ("area_px", "area", "aspect", "width_px", "height_px")),
        {"max_area": 1.1},
        {"zones_keep": {}},
    ],
)
def test_a_filter_nothing_could_pass_is_refused(given: dict[str, Any]) -> None:
    """It would be silence for ever."""
    with pytest.raises(ValidationError):
        _options(**given)
