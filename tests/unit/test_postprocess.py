"""Checks every decoder against one that walks row by row, and what each says of an output that does not fit."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

MODEL_WH = (64, 48)
CLASSES = 3
STRIDES = (8, 16)
CELLS = 8 * 6 + 4 * 3
KEEP_ALL = Thresholds(confidence=0.3, iou=1.0, max_detections=10_000)
LETTERBOX = Letterbox.fit((200, 150), MODEL_WH)
PADDED = Letterbox.fit((200, 90), MODEL_WH)
OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)

Array = NDArray[np.float32]
Row = tuple[float, int, tuple[float, float, float, float]]
"""Confidence, class, and the box as left, top, right, bottom in input pixels."""


def _build(thresholds: Thresholds = KEEP_ALL, classes: int = CLASSES, **output: Any) -> Postprocessor:
    if output["format"] == "yolox":
        output = {"strides": STRIDES, **output}
    return build_postprocessor(OPTIONS.validate_python(output), thresholds, ("x",) * classes, MODEL_WH)


def _corners(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _best(scores: Array) -> int:
    return max(range(len(scores)), key=lambda place: (scores[place], -place))


def _yolox_rows(raw: Array) -> list[Row]:
    rows, place = [], 0
    for stride in STRIDES:
        for y, x in product(range(MODEL_WH[1] // stride), range(MODEL_WH[0] // stride)):
            out = raw[0, place]
            box = _corners(
                (out[0] + x) * stride, (out[1] + y) * stride, np.exp(out[2]) * stride, np.exp(out[3]) * stride
            )
            best = _best(out[5:])
            rows.append((out[4] * out[5 + best], best, box))
            place += 1
    return rows


def _yolov5_rows(raw: Array) -> list[Row]:
    return [(out[4] * out[5 + _best(out[5:])], _best(out[5:]), _corners(*out[:4])) for out in raw[0]]


def _yolov8_rows(raw: Array) -> list[Row]:
    return [(out[4 + _best(out[4:])], _best(out[4:]), _corners(*out[:4])) for out in raw[0].T]


def _ssd_rows(raw: Array) -> list[Row]:
    rows: list[Row] = []
    for image, number, score, left, top, right, bottom in raw[0, 0]:
        if image < 0:
            break
        if 0 <= int(number) < CLASSES:
            width, height = MODEL_WH
            rows.append((score, int(number), (left * width, top * height, right * width, bottom * height)))
    return rows


def _random_yolox(random: np.random.Generator) -> Array:
    raw = random.uniform(0, 1, (1, CELLS, 5 + CLASSES))
    raw[:, :, :4] = random.normal(0, 1, (1, CELLS, 4))
    return raw.astype(np.float32)


def _random_yolov5(random: np.random.Generator) -> Array:
    raw = random.uniform(0, 1, (1, 40, 5 + CLASSES))
    raw[:, :, :4] *= 60
    return raw.astype(np.float32)


def _random_yolov8(random: np.random.Generator) -> Array:
    raw = random.uniform(0, 0.6, (1, 4 + CLASSES, 40))
    raw[:, :4] *= 100
    return raw.astype(np.float32)


def _random_ssd(random: np.random.Generator) -> Array:
    raw = random.uniform(-0.1, 1.1, (1, 1, 60, 7))
    raw[0, 0, :, 0] = 0
    raw[0, 0, 50:, 0] = random.choice([0, -1])
    raw[0, 0, :, 1] = random.integers(0, CLASSES + 2, 60)
    return raw.astype(np.float32)


FORMATS = {
    "yolox": (_random_yolox, _yolox_rows),
    "yolov5": (_random_yolov5, _yolov5_rows),
    "yolov8": (_random_yolov8, _yolov8_rows),
    "ssd": (_random_ssd, _ssd_rows),
}


def _expected(rows: list[Row], threshold: float) -> list[tuple[float, int, list[float]]]:
    """What passes the threshold, best first, in source pixels and inside the picture."""
    width, height = PADDED.source_wh
    found = []
    for score, number, box in sorted((row for row in rows if row[0] >= threshold), key=lambda row: -row[0]):
        x = [(value - PADDED.pad_left) / PADDED.scale[0] for value in box[::2]]
        y = [(value - PADDED.pad_top) / PADDED.scale[1] for value in box[1::2]]
        x, y = [min(max(value, 0.0), width) for value in x], [min(max(value, 0.0), height) for value in y]
        if np.float32(x[0]) < np.float32(x[1]) and np.float32(y[0]) < np.float32(y[1]):  # else nothing of it is seen
            found.append((min(float(score), 1.0), number, [x[0], y[0], x[1], y[1]]))
    return found


@pytest.mark.parametrize("name", FORMATS)
@given(seed=st.integers(0, 100_000))
def test_a_decoder_equals_its_row_by_row_reference(name: str, seed: int) -> None:
    """Scores, classes, boxes in source pixels clipped to the picture: the same as decoded one row at a time."""
    make, decode = FORMATS[name]
    raw = make(np.random.default_rng(seed))
    found = _build(format=name)({"out": raw}, PADDED)
    expected = _expected(decode(raw), np.float32(0.3))
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.confidence, [row[0] for row in expected], rtol=1e-6)
    assert found.class_id.tolist() == [row[1] for row in expected]
    np.testing.assert_allclose(found.xyxy, np.array([row[2] for row in expected]).reshape(-1, 4), atol=2e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_half_precision_outputs_are_decoded(name: str) -> None:
    """A float16 tensor gives the same objects, within its precision, as float32 columns."""
    make, decode = FORMATS[name]
    raw = make(np.random.default_rng(5))
    half = raw.astype(np.float16)
    found = _build(format=name)({"out": half}, PADDED)
    expected = _expected(decode(half.astype(np.float32)), np.float32(0.3))
    assert found.xyxy.dtype == found.confidence.dtype == np.float32
    assert len(found) == pytest.approx(len(expected), abs=1)
    assert sorted(found.confidence, reverse=True)[:5] == pytest.approx([row[0] for row in expected[:5]], rel=1e-2)


def _one_object(name: str, score: np.float32) -> Array:
    """An output with one object of exactly this score, of class 1, and nothing else."""
    raw = FORMATS[name][0](np.random.default_rng(0))
    if name == "ssd":
        raw[0, 0, :, 2] = 0.0
        raw[0, 0, 3, :3] = [0.0, 1.0, float(score)]
    elif name == "yolov8":
        raw[0, 4:] = 0.0
        raw[0, 5, 3] = score
    else:
        raw[0, :, 4:] = 0.0
        raw[0, 3, 4:] = [1.0, 0.0, float(score), 0.0]
    return raw


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("threshold", [0.3, 0.1, 0.7])
def test_a_score_equal_to_the_threshold_is_seen(name: str, threshold: float) -> None:
    """A float32 score that equals the threshold as written passes; the next smaller number does not."""
    decode = _build(Thresholds(confidence=threshold), format=name)
    edge = np.float32(threshold)
    assert decode({"out": _one_object(name, edge)}, LETTERBOX).class_id.tolist() == [1]
    below = np.nextafter(edge, np.float32(0), dtype=np.float32)
    assert len(decode({"out": _one_object(name, below)}, LETTERBOX)) == 0


@pytest.mark.parametrize("name", ["yolox", "yolov5", "yolov8"])
def test_an_anchor_is_one_object_of_its_best_class(name: str) -> None:
    """Where two classes of one anchor pass the threshold, only the better one comes out."""
    raw = _one_object(name, np.float32(0.6))
    if name == "yolov8":
        raw[0, 6, 3] = 0.9
    else:
        raw[0, 3, 7] = 0.9
    found = _build(format=name)({"out": raw}, LETTERBOX)
    assert found.class_id.tolist() == [2]
    assert found.confidence.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize("name", ["yolox", "yolov5"])
def test_the_score_is_objectness_times_class(name: str) -> None:
    """0.6 x 0.4 is 0.24: seen at 0.2, not seen at 0.3."""
    raw = _one_object(name, np.float32(0.4))
    raw[0, 3, 4] = 0.6
    low, high = (_build(Thresholds(confidence=value), format=name) for value in (0.2, 0.3))
    assert low({"out": raw}, LETTERBOX).confidence.tolist() == pytest.approx([0.24])
    assert len(high({"out": raw}, LETTERBOX)) == 0


@pytest.mark.parametrize("name, doubles", [("yolox", 1), ("yolov5", 1), ("yolov8", 1), ("ssd", 2)])
def test_doubles_are_suppressed_where_the_network_does_not(name: str, doubles: int) -> None:
    """Two equal boxes of one class become one; SSD's own choice, made inside the network, is left alone."""
    raw = _one_object(name, np.float32(0.6))
    if name == "ssd":
        raw[0, 0, 4] = raw[0, 0, 3]
    elif name == "yolov8":
        raw[0, :, 4] = raw[0, :, 3]
    elif name == "yolov5":
        raw[0, 4] = raw[0, 3]
    else:
        raw[0, 4] = raw[0, 3]
        raw[0, 4, 0] -= 1.0  # the next cell to the right
    decode = _build(Thresholds(confidence=0.3, iou=0.5), format=name)
    assert len(decode({"out": raw}, LETTERBOX)) == doubles


@pytest.mark.parametrize("name", FORMATS)
def test_max_detections_cuts_after_the_best(name: str) -> None:
    """Of many objects the best ones stay."""
    raw = FORMATS[name][0](np.random.default_rng(1))
    every = _build(format=name)({"out": raw}, LETTERBOX)
    few = _build(Thresholds(confidence=0.3, iou=1.0, max_detections=2), format=name)({"out": raw}, LETTERBOX)
    assert len(every) > 2
    assert few.confidence.tolist() == every.confidence[:2].tolist()


@pytest.mark.parametrize(
    "output, shape, words",
    [
        ({"format": "yolox"}, (1, CELLS, 4 + CLASSES), [f"[1, {CELLS}, {5 + CLASSES}]", "strides [8, 16]", "3 labels"]),
        ({"format": "yolox"}, (1, CELLS - 1, 5 + CLASSES), [f"[1, {CELLS}, {5 + CLASSES}]", "input size"]),
        ({"format": "yolox", "strides": (8,)}, (1, CELLS, 5 + CLASSES), ["[1, 48, 8]", "strides [8]"]),
        ({"format": "yolox"}, (CELLS, 5 + CLASSES), [f"[1, {CELLS}, {5 + CLASSES}]"]),
        ({"format": "yolox"}, (2, CELLS, 5 + CLASSES), [f"[1, {CELLS}, {5 + CLASSES}]"]),
        ({"format": "yolov5"}, (1, 40, 4 + CLASSES), ["[1, N, 8]", "5 + 3 labels"]),
        ({"format": "yolov5"}, (1, 5 + CLASSES, 40), ["[1, N, 8]"]),
        ({"format": "yolov8"}, (1, 40, 4 + CLASSES), ["[1, 7, N]", "4 + 3 labels"]),
        ({"format": "yolov8"}, (1, 5 + CLASSES, 40), ["[1, 7, N]"]),
        ({"format": "yolov8"}, (7,), ["[1, 7, N]"]),
        ({"format": "ssd"}, (1, 1, 30, 6), ["[1, 1, N, 7]", "7 values per object"]),
        ({"format": "ssd"}, (1, 30, 7), ["[1, 1, N, 7]"]),
    ],
)
def test_a_wrong_shape_is_a_model_error_that_names_both(
    output: dict[str, Any], shape: tuple[int, ...], words: list[str]
) -> None:
    """The message has the format, the shape it expects with the reason, and the shape there is."""
    decode = _build(**output)
    with pytest.raises(ModelError) as caught:
        decode({"out": np.zeros(shape, np.float32)}, LETTERBOX)
    for word in [f"format {output['format']}", str(list(shape)), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_several_outputs_without_a_name_are_a_model_error_that_lists_them(name: str) -> None:
    """Which one to read is not guessed; the message names every output with its shape."""
    outputs = {"boxes": np.zeros((1, 5, 4), np.float32), "scores": np.zeros((1, 5, 2), np.float32)}
    with pytest.raises(ModelError, match=r"several outputs.*boxes \[1, 5, 4\], scores \[1, 5, 2\]"):
        _build(format=name)(outputs, LETTERBOX)


@pytest.mark.parametrize("name", FORMATS)
def test_a_name_chooses_among_outputs(name: str) -> None:
    """`output:` picks one; a name the network does not have is a ModelError that lists those it has."""
    raw = _one_object(name, np.float32(0.6))
    outputs = {"other": np.zeros((1, 2), np.float32), "wanted": raw}
    assert len(_build(format=name, output="wanted")(outputs, LETTERBOX)) == 1
    with pytest.raises(ModelError, match=r"no output 'wantd'; there are: other \[1, 2\], wanted"):
        _build(format=name, output="wantd")(outputs, LETTERBOX)


def test_ssd_leaves_out_classes_without_a_label() -> None:
    """Counting from `first_class`, rows of the background and of numbers past the labels are not objects."""
    raw = np.zeros((1, 1, 5, 7), np.float32)
    raw[0, 0, :, 1] = [0, 1, 2, 3, 4]
    raw[0, 0, :, 2] = [0.9, 0.8, 0.7, 0.6, 0.5]
    raw[0, 0, :, 3:] = [0.25, 0.25, 0.5, 0.5]
    found = _build(format="ssd", first_class=1)({"out": raw}, LETTERBOX)
    assert found.class_id.tolist() == [0, 1, 2]
    assert found.confidence.tolist() == pytest.approx([0.8, 0.7, 0.6])


def test_ssd_reads_nothing_behind_the_end_mark() -> None:
    """What follows image -1 is left over from another inference."""
    raw = np.zeros((1, 1, 3, 7), np.float32)
    raw[0, 0] = [0, 0, 0.9, 0.1, 0.1, 0.2, 0.2]
    raw[0, 0, 1, 0] = -1
    assert len(_build(format="ssd")({"out": raw}, LETTERBOX)) == 1


@pytest.mark.parametrize("make", [_random_yolox, _random_yolov5, _random_yolov8, _random_ssd])
def test_nothing_above_the_threshold_is_no_detection(make: Callable[[np.random.Generator], Array]) -> None:
    """An empty result is a result: zero rows, typed."""
    name = next(name for name, (maker, _) in FORMATS.items() if maker is make)
    raw = make(np.random.default_rng(0)) * 0
    found = _build(format=name)({"out": raw}, LETTERBOX)
    assert (len(found), found.xyxy.shape) == (0, (0, 4))


@pytest.mark.parametrize("strides", [(0,), (8, -16)])
def test_strides_are_at_least_one(strides: tuple[int, ...]) -> None:
    """A stride that cannot be is refused where model.yaml is read."""
    with pytest.raises(ValueError, match="strides"):
        OPTIONS.validate_python({"format": "yolox", "strides": strides})
