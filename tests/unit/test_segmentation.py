"""Objects made of the pixels of a class: against a decoder that walks pixel by pixel, and on shapes drawn by hand."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LABELS = ("background", "hole", "scratch")
STRETCHED = Letterbox.fit((80, 60), (16, 12), "stretch")
"""A picture of 80x60 in an input of 16x12: five source pixels to each side of a cell."""
PART = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 2, 0, 0],
        [0, 1, 1, 0, 2, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [2, 2, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
)
"""Two holes, a scratch across a corner, and another one; each cell is two input and ten source pixels wide."""


def _decode(raw: NDArray[Any], letterbox: Letterbox = STRETCHED, **given: Any) -> Detections:
    thresholds = Thresholds(confidence=given.pop("confidence", 0.0), max_detections=given.pop("max_detections", 300))
    labels = given.pop("labels", LABELS)
    options = OPTIONS.validate_python({"format": "segmentation", **given})
    return build_postprocessor(options, thresholds, labels, letterbox.model_wh)({"out": raw}, letterbox)


def _column(found: Detections, name: str) -> NDArray[Any]:
    return found.attributes[name]


def _grids(found: Detections) -> list[list[list[bool]]]:
    assert found.mask is not None
    return [grid.tolist() for grid in found.mask]


def _one_hot(numbers: NDArray[Any], high: float = 8.0) -> NDArray[np.float32]:
    """Scores [1, classes, H, W] whose best class is that of the map."""
    return np.asarray((np.arange(3)[:, None, None] == numbers)[None] * high, np.float32)


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 1, 6, 8), (1, 6, 8, 1)])
def test_each_connected_region_is_an_object(shape: tuple[int, ...]) -> None:
    """Also across corners; its box is that of its cells in the source, its mask lies over the box."""
    found = _decode(PART.reshape(shape), layout="map", background=0)
    assert found.class_id.tolist() == [1, 1, 2, 2]
    assert found.confidence.tolist() == [1.0] * 4
    assert found.xyxy.tolist() == [[10, 10, 30, 30], [70, 30, 80, 50], [40, 10, 60, 30], [0, 40, 20, 50]]
    assert _grids(found) == [
        [[True, True], [True, True]],
        [[True], [True]],
        [[False, True], [True, False]],
        [[True, True]],
    ]
    assert _column(found, "area_px").tolist() == pytest.approx([400, 200, 200, 200])
    assert _column(found, "coverage").tolist() == pytest.approx([4 / 48, 2 / 48, 2 / 48, 2 / 48])


def test_all_of_a_class_may_be_one_object() -> None:
    """One row per class that is there: the box around all of it."""
    found = _decode(PART[None], layout="map", background=0, regions=False)
    assert found.class_id.tolist() == [1, 2]
    assert found.xyxy.tolist() == [[10, 10, 80, 50], [0, 10, 60, 50]]
    assert _column(found, "coverage").tolist() == pytest.approx([6 / 48, 4 / 48])
    assert found.mask is not None
    assert [int(grid.sum()) for grid in found.mask] == [6, 4]


def test_without_a_background_every_class_is_an_object() -> None:
    """What fills the rest is one, too."""
    found = _decode(PART[None], layout="map", regions=False)
    assert found.class_id.tolist() == [0, 1, 2]
    assert sum(_column(found, "coverage").tolist()) == pytest.approx(1.0)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scores_give_what_their_best_class_gives(layout: str, dtype: str) -> None:
    """The same objects as the map of class numbers, in both orders of the axes."""
    scores = _one_hot(PART).astype(dtype)
    scores = np.moveaxis(scores, 1, -1) if layout == "nhwc" else scores
    found = _decode(scores, layout=layout, activation="softmax", background=0)
    settled = _decode(PART[None], layout="map", background=0)
    assert found.xyxy.tolist() == settled.xyxy.tolist()
    assert _grids(found) == _grids(settled)
    assert found.confidence.tolist() == pytest.approx([np.exp(8) / (np.exp(8) + 2)] * 4)


@pytest.mark.parametrize("activation", ["none", "softmax", "sigmoid"])
@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("background", [None, 0])
def test_every_pixel_is_taken_as_a_walk_over_them_takes_it(
    activation: str, overlapping: bool, background: int | None
) -> None:
    """The rule for each pixel, written out: who scores most, or all that reach the threshold."""
    scores = np.random.default_rng(3).normal(0.0, 2.0, (1, 3, 6, 8)).astype(np.float32)
    shares: dict[int, list[float]] = {}
    for row, column in product(range(6), range(8)):
        values = [float(value) for value in scores[0, :, row, column]]
        if activation == "softmax":
            values = [np.exp(value) / sum(np.exp(values)) for value in values]
        elif activation == "sigmoid":
            values = [1 / (1 + np.exp(-value)) for value in values]
        for class_id, value in enumerate(values):
            chosen = overlapping or values.index(max(values)) == class_id
            least = 0.5 if overlapping or activation == "sigmoid" else -np.inf
            if chosen and value >= least and class_id != background:
                shares.setdefault(class_id, []).append(value)
    given: dict[str, Any] = {
        "activation": activation,
        "overlapping": overlapping,
        "background": background,
        "regions": False,
    }
    found = _decode(scores, **given)
    area = dict(zip(found.class_id.tolist(), _column(found, "coverage").tolist(), strict=True))
    assert area == pytest.approx({class_id: len(values) / 48 for class_id, values in shares.items()})
    sure = dict(zip(found.class_id.tolist(), found.confidence.tolist(), strict=True))
    assert sure == pytest.approx({class_id: min(1, np.mean(values)) for class_id, values in shares.items()}, abs=1e-6)


def test_one_class_needs_half_or_what_is_asked_for() -> None:
    """A network with one output plane, such as a U-Net for defects: nothing competes, a threshold decides."""
    plane = np.array([[[[0.6, 0.4], [0.9, 0.1]]]], np.float32)
    found = _decode(plane, labels=("defect",))
    assert found.confidence.tolist() == [pytest.approx(0.75)]
    assert _grids(found) == [[[True], [True]]]
    assert _grids(_decode(plane, labels=("defect",), pixel_threshold=0.4)) == [[[True, True], [True, False]]]


def test_small_and_doubtful_regions_are_left_out() -> None:
    """By the number of cells, by the mean score, and by how many are wanted: the most certain."""
    scores = np.zeros((1, 1, 6, 8), np.float32)
    scores[0, 0, 0, 0], scores[0, 0, 2, 2:4], scores[0, 0, 5, 4:8] = 0.9, 0.7, 0.6
    assert [round(float(one), 2) for one in _decode(scores, labels=("x",)).confidence] == [0.9, 0.7, 0.6]
    assert len(_decode(scores, labels=("x",), min_cells=2)) == 2
    assert len(_decode(scores, labels=("x",), confidence=0.65)) == 2
    assert _decode(scores, labels=("x",), max_detections=1).confidence.tolist() == [pytest.approx(0.9)]


def test_the_rim_of_a_letterbox_is_no_part_of_the_picture() -> None:
    """A class that fills the input covers the picture exactly, and its mask ends where the picture does."""
    letterbox = Letterbox.fit((80, 40), (16, 16))
    found = _decode(np.ones((1, 8, 8), np.int64), letterbox, layout="map", background=0)
    assert found.xyxy.tolist() == [[0, 0, 80, 40]]
    assert found.mask is not None
    assert found.mask[0].shape == (4, 8)
    assert _column(found, "coverage").tolist() == [1.0]
    assert _column(found, "area_px").tolist() == [3200.0]


@pytest.mark.parametrize("source", [(101, 57), (57, 101), (640, 2), (3, 640)])
def test_no_box_reaches_beyond_the_picture(source: tuple[int, int]) -> None:
    """Also where the edge of the picture runs through the middle of a cell."""
    letterbox = Letterbox.fit(source, (64, 64))
    found = _decode(np.ones((1, 9, 9), np.int64), letterbox, layout="map", background=0)
    assert (found.xyxy[:, :2] >= 0).all()
    assert (found.xyxy[:, 2:] <= np.array(source)).all()
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()


def test_numbers_without_a_label_are_nothing() -> None:
    """255 stands for "ignore" in many data sets; NaN of a map in floats is no class either."""
    numbers = np.array([[[1.0, 255.0, 257.0], [-1.0, np.nan, 3.0]]])
    assert _grids(_decode(numbers, layout="map")) == [[[True]]]


def test_a_pixel_whose_scores_are_none_is_nothing() -> None:
    """It belongs to no class, and the pixels around it still do."""
    scores = _one_hot(np.ones((2, 2)))
    scores[0, 2, 0, 0] = np.nan
    scores[0, 1, 1, 1] = np.inf
    for activation in ("softmax", "none"):
        found = _decode(scores, background=0, activation=activation)
        assert _grids(found) == [[[False, True], [True, False]]]
        assert np.isfinite(found.confidence).all()


@pytest.mark.parametrize(
    "layout, shape, expects",
    [
        ("nchw", (1, 4, 6, 8), r"\[1, 3, N, N\] \(3 labels, layout nchw\)"),
        ("nhwc", (1, 3, 6, 8), r"\[1, N, N, 3\] \(3 labels, layout nhwc\)"),
        ("map", (1, 3, 6, 8), r"\[1, N, N\] \(a class number per pixel\)"),
        ("nchw", (1, 3, 0, 8), "no axis may be empty"),
    ],
)
def test_an_output_of_another_shape_is_a_model_error(layout: str, shape: tuple[int, ...], expects: str) -> None:
    """The message says what is expected and why."""
    with pytest.raises(ModelError, match=expects):
        _decode(np.zeros(shape, np.float32), layout=layout)
