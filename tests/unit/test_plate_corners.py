"""The decoder of boxes with four corners, row by row."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((640, 400), (320, 320))
"""Half size, 60 rows of rim above."""
PLATE = [100, 160, 40, 20, 0.9, 80, 150, 121, 152, 120, 171, 79, 168, 0.1, 0.8]


def _find(*rows: list[float]) -> Detections:
    options = OPTIONS.validate_python({"format": "yolov5_corners"})
    decode = build_postprocessor(options, Thresholds(confidence=0.5, iou=0.4), ("single", "double"), (320, 320))
    return decode({"out": np.array([rows], np.float32).reshape(1, -1, 15)}, LETTERBOX)


def test_box_corners_score_and_class_of_a_plate() -> None:
    """In source pixels; the score is objectness times class; corners keep their order."""
    found = _find(PLATE)
    assert found.xyxy.tolist() == [[160, 180, 240, 220]]
    assert found.confidence.tolist() == pytest.approx([0.72])
    assert found.class_id.tolist() == [1]
    assert found.quad is not None
    assert found.quad.tolist() == [[[160, 180], [242, 184], [240, 222], [158, 216]]]
    assert found.keypoints is None


def test_of_two_that_overlap_the_better_one_stays_with_its_own_corners() -> None:
    """The other's corners go with it."""
    worse = [*PLATE[:4], 0.7, *[value + 3 for value in PLATE[5:13]], *PLATE[13:]]
    found = _find(worse, PLATE)
    assert len(found) == 1
    assert found.quad is not None
    assert found.quad[0, 0].tolist() == [160, 180]


def test_a_score_is_not_enough_by_its_objectness() -> None:
    """0.9 times 0.5 is below the threshold."""
    found = _find([*PLATE[:13], 0.5, 0.4])
    assert len(found) == 0
    assert found.quad is not None
    assert found.quad.shape == (0, 4, 2)


def test_corners_that_are_no_numbers_are_no_plate() -> None:
    """Nor do they disturb the others."""
    broken = [*PLATE]
    broken[7] = float("nan")
    found = _find(broken, [*PLATE[:4], 0.8, *PLATE[5:]])
    assert found.confidence.tolist() == pytest.approx([0.64])
