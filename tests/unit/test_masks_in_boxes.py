"""Decoders that give masks beside boxes: YOLOv8 with prototypes, and maps of what is unusual."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.core.detections import Detections, masks
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.models.proof.findings import mask_overlap
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((640, 480), (160, 160))
"""A picture at a quarter of its size, with a rim of 20 above and below; prototypes have a cell per 4 input pixels."""


def _decode(tensors: dict[str, NDArray[Any]], labels: tuple[str, ...], **given: Any) -> Detections:
    thresholds = Thresholds(confidence=0.3, iou=0.5)
    options = OPTIONS.validate_python(given)
    return build_postprocessor(options, thresholds, labels, LETTERBOX.model_wh)(tensors, LETTERBOX)


def _prototypes() -> NDArray[np.float32]:
    """Two: a ball in the middle that falls off evenly, and ones."""
    y, x = np.mgrid[0:40, 0:40].astype(np.float32)
    return np.stack([10.0 - np.hypot(x - 19.5, y - 19.5), np.ones((40, 40), np.float32)])[None]


def _rows(*rows: tuple[list[float], float, list[float]]) -> NDArray[np.float32]:
    """Center x, center y, width, height; the score of class 1 of 2; the coefficients."""
    columns = [[*box, 0.0, score, *coefficients] for box, score, coefficients in rows]
    return np.asarray(np.array(columns, np.float32).T[None])


def _segmented(*rows: tuple[list[float], float, list[float]]) -> Detections:
    tensors = {"output0": _rows(*rows), "output1": _prototypes()}
    return _decode(tensors, ("a", "b"), format="yolov8_seg")


def test_a_mask_is_where_the_mixed_prototypes_are_positive() -> None:
    """As the usual way has it: the whole sum, made as large as the input, cut at the box."""
    found = _segmented(([80, 80, 100, 100], 0.9, [1.0, 0.0]), ([60, 70, 60, 50], 0.8, [0.7, -2.0]))
    assert found.class_id.tolist() == [1, 1]
    assert found.xyxy.tolist() == [[120, 40, 520, 440], [120, 100, 360, 300]]
    for row, coefficients in enumerate(([1.0, 0.0], [0.7, -2.0])):
        whole = np.tensordot(np.array(coefficients, np.float32), _prototypes()[0], axes=1)
        large = cv2.resize(whole, (640, 640), interpolation=cv2.INTER_LINEAR)[80:560] > 0
        left, top, right, bottom = found.xyxy[row].astype(int)
        cut = Detections(found.xyxy[[row]], found.confidence[[row]], found.class_id[[row]])
        cut = Detections.of({**cut.columns(), "mask": masks([np.asarray(large[top:bottom, left:right])])})
        assert mask_overlap(cut, 0, found, row) > 0.97
        area = float(large[top:bottom, left:right].sum())
        assert found.attributes["area_px"][row] == pytest.approx(area, rel=0.03)
        assert found.attributes["coverage"][row] == pytest.approx(area / (640 * 480), rel=0.03)


def test_a_mask_stays_with_its_object() -> None:
    """Doubles go, the order is that of the scores, and a box at the edge is cut with its mask."""
    ones, nothing = [0.0, 1.0], [0.0, -1.0]
    found = _segmented(
        ([40, 80, 20, 20], 0.5, nothing),
        ([120, 80, 20, 20], 0.9, ones),
        ([121, 80, 20, 20], 0.7, nothing),
        ([155, 30, 20, 40], 0.6, ones),
    )
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6, 0.5])
    assert found.mask is not None
    assert [bool(grid.all()) for grid in found.mask] == [True, True, False]
    assert not found.mask[2].any()
    assert found.xyxy[1].tolist() == [580, 0, 640, 120]
    assert found.mask[1].shape == (15, 8)


def test_a_box_smaller_than_a_cell_has_a_mask() -> None:
    """Of one point."""
    found = _segmented(([80, 80, 1, 1], 0.9, [1.0, 0.0]))
    assert found.mask is not None
    assert found.mask[0].tolist() == [[True]]


def test_coefficients_must_be_as_many_as_prototypes() -> None:
    """The message says what the number follows from."""
    tensors = {"output0": np.zeros((1, 9, 5), np.float32), "output1": np.zeros((1, 2, 40, 40), np.float32)}
    with pytest.raises(ModelError, match=r"\[1, 8, N\] \(4 \+ 2 labels \+ 2 prototypes\)"):
        _decode(tensors, ("a", "b"), format="yolov8_seg")


def _unusual(values: Any, **given: Any) -> Detections:
    """What is unusual in a map over the picture; the picture fills it from row 5 of 40 on, and to row 35."""
    whole = np.zeros((1, 1, 40, 40), np.float32)
    whole[0, 0, 5:35] = values
    return _decode({"map": whole, **given.pop("more", {})}, given.pop("labels", ("odd",)), format="anomaly", **given)


@pytest.fixture(name="values")
def _values() -> NDArray[np.float32]:
    values = np.full((30, 40), 2.0, np.float32)
    values[0:2, 0:3] = 8.0
    values[10, 20:24] = [5.5, 9.0, 6.0, 5.0]
    return values


def test_regions_above_the_threshold_are_objects(values: NDArray[np.float32]) -> None:
    """With the greatest score of each, as a part of the range seen in training; 0.5 is the threshold."""
    found = _unusual(values, threshold=5.0, lowest=0.0, highest=10.0)
    assert found.confidence.tolist() == pytest.approx([0.9, 0.8])
    assert found.xyxy.tolist() == [[320, 160, 384, 176], [0, 0, 48, 32]]
    assert found.mask is not None
    assert [grid.tolist() for grid in found.mask] == [[[True] * 4], [[True] * 3] * 2]
    assert found.attributes["coverage"].tolist() == pytest.approx([4 / 1200, 6 / 1200])
    assert found.attributes["image_score"].tolist() == pytest.approx([0.9, 0.9])
    assert len(_unusual(values, threshold=5.0, highest=10.0, min_cells=5)) == 1
    assert len(_unusual(values, threshold=9.5, highest=10.0)) == 0


def test_the_networks_own_score_of_the_picture_is_taken(values: NDArray[np.float32]) -> None:
    """Where it has an output for it; one that is no single number is a model error."""
    given = {"threshold": 5.0, "highest": 10.0, "score": "whole"}
    found = _unusual(values, more={"whole": np.array([[7.0]], np.float32)}, **given)
    assert found.attributes["image_score"].tolist() == pytest.approx([0.7, 0.7])
    with pytest.raises(ModelError, match="expects one number as whole"):
        _unusual(values, more={"whole": np.zeros((1, 2), np.float32)}, **given)


def test_scores_that_are_none_are_not_unusual(values: NDArray[np.float32]) -> None:
    """NaN in the middle of a region is a hole, infinity is none; neither is the score of the picture."""
    values[10, 21], values[20, 5] = np.nan, np.inf
    found = _unusual(values, threshold=5.0, highest=10.0)
    assert found.confidence.tolist() == pytest.approx([0.8, 0.6, 0.55])
    assert found.attributes["image_score"].tolist() == pytest.approx([0.8] * 3)


def test_a_range_has_a_least_and_a_greatest_value() -> None:
    """Turned round it is a mistake of the bundle."""
    with pytest.raises(ValidationError, match="lowest 2 is not below highest 1"):
        OPTIONS.validate_python({"format": "anomaly", "lowest": 2.0})
