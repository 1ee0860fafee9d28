"""Checks the decoders of heads against plain ones that walk row by row: boxes, points, corners, suppression."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import plain
import pytest
from conftest import RANDOM, ROOT
from numpy.typing import NDArray
from plain import Found
from pydantic import TypeAdapter, ValidationError

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.postprocess.yolo_obb import _gaussians, _overlap

MODEL_WH = (96, 64)
CLASSES = 3
LEAST = 0.35
KEEP_ALL = Thresholds(confidence=LEAST, iou=1.0, max_detections=10_000)
LETTERBOX = Letterbox.fit((200, 90), MODEL_WH)
OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)

Array = NDArray[np.float32]


def build(thresholds: Thresholds = KEEP_ALL, labels: int = CLASSES, **output: Any) -> Postprocessor:
    """A decoder for an input of 96x64."""
    return build_postprocessor(OPTIONS.validate_python(output), thresholds, ("x",) * labels, MODEL_WH)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Array:
    """Random numbers."""
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def normal(*shape: int) -> Array:
    """Random numbers of both signs."""
    return RANDOM.normal(0.0, 2.0, shape).astype(np.float32)


def in_source(x: float, y: float) -> tuple[float, float]:
    """A point of the input in the picture."""
    return (x - LETTERBOX.pad_left) / LETTERBOX.scale[0], (y - LETTERBOX.pad_top) / LETTERBOX.scale[1]


def shows(one: Found) -> bool:
    """Whether anything of the box lies in the picture."""
    left, top, right, bottom = plain.clipped((*in_source(*one.box[:2]), *in_source(*one.box[2:])), LETTERBOX.source_wh)
    return bool(np.float32(left) < np.float32(right) and np.float32(top) < np.float32(bottom))


def check(found: Detections, expected: Sequence[Found]) -> list[Found]:
    """That the objects are those that pass the threshold, best first, inside the picture; these."""
    best = sorted((one for one in expected if one.score >= LEAST and shows(one)), key=lambda one: -one.score)
    assert 0 < len(best) < len(expected), "the test would prove little"
    assert found.class_id.tolist() == [one.number for one in best]
    np.testing.assert_allclose(found.confidence, [one.score for one in best], rtol=1e-5)
    boxes = [(*in_source(*one.box[:2]), *in_source(*one.box[2:])) for one in best]
    np.testing.assert_allclose(found.xyxy, [plain.clipped(box, LETTERBOX.source_wh) for box in boxes], atol=2e-3)
    return best


@pytest.mark.parametrize("begin", ["pixel", "middle", "corner"])
@pytest.mark.parametrize("joined", [False, True])
def test_nanodet(begin: str, joined: bool) -> None:
    """Several outputs found by their shapes, and the one of NanoDet-Plus; a side that no stride divides."""
    strides, bins = (8, 16, 24), 5
    cells = [12 * 8, 6 * 4, 4 * 3]
    scores = [uniform(count, CLASSES, high=0.5) for count in cells]
    distances = [normal(count, 4 * bins) for count in cells]
    if joined:
        pairs = zip(scores, distances, strict=True)
        outputs = {"out": np.concatenate([np.concatenate(pair, axis=1) for pair in pairs])[None]}
    else:
        outputs = {f"d{number}": value[None] for number, value in enumerate(distances)}
        outputs |= {f"s{number}": value[None] for number, value in enumerate(scores)}
    decode = build(format="nanodet", strides=strides, bins=bins, begin=begin)
    check(decode(outputs, LETTERBOX), plain.nanodet(scores, distances, strides, MODEL_WH[0], begin))


def test_nanodet_by_name() -> None:
    """With as many labels as values per row of distances, only names tell them apart."""
    scores, distances = uniform(96, 8, high=0.5), normal(96, 8)
    outputs = {"a": scores[None], "b": distances[None]}
    settings: dict[str, Any] = {"format": "nanodet", "strides": [8], "bins": 2}
    with pytest.raises(ModelError, match="the model has a and b: name them with scores and distances"):
        build(labels=8, **settings)(outputs, LETTERBOX)
    named = build(labels=8, scores=["a"], distances=["b"], **settings)
    check(named(outputs, LETTERBOX), plain.nanodet([scores], [distances], [8], MODEL_WH[0], "pixel"))


def test_fastestdet() -> None:
    """Score, offsets and size, each by its own formula."""
    raw = uniform(5 + CLASSES, 4, 6)
    raw[1:5] = normal(4, 4, 6)
    decode = build(format="fastestdet")
    check(decode({"out": raw[None]}, LETTERBOX), plain.fastestdet(raw, MODEL_WH))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_detr(activation: str) -> None:
    """With a column for no object, and without; overlapping queries all stay."""
    columns = CLASSES + (activation == "softmax")
    logits = uniform(40, columns, high=0.6) if activation == "none" else normal(40, columns)
    boxes = uniform(40, 4)
    decode = build(Thresholds(confidence=LEAST, iou=0.1), format="detr", activation=activation)
    found = decode({"logits": logits[None], "pred_boxes": boxes[None]}, LETTERBOX)
    check(found, plain.detr(logits, boxes, MODEL_WH, activation))


def test_detr_takes_huge_logits() -> None:
    """A network that is very sure overflows nothing."""
    logits = np.array([[[2e4, -2e4, 0.0, 0.0]]], np.float16).astype(np.float32)
    boxes = {"pred_boxes": np.full((1, 1, 4), 0.5, np.float32)}
    for activation, columns in (("softmax", 4), ("sigmoid", 3)):
        decode = build(format="detr", activation=activation)
        assert decode({"logits": logits[..., :columns], **boxes}, LETTERBOX).confidence.tolist() == [1.0]


def _finished(count: int = 30) -> tuple[Array, Array, Array]:
    """Boxes in pixels, scores, and class numbers with some of no label."""
    low = uniform(count, 2, high=40)
    boxes = np.concatenate([low, low + uniform(count, 2, high=30)], axis=1)
    return boxes, uniform(count), RANDOM.integers(-1, CLASSES + 2, count).astype(np.float32)


def _rows(boxes: Array, scores: Array, numbers: Array, first: int = 0) -> list[Found]:
    """What counts; objects of no label score 0."""
    rows = zip(boxes, scores, numbers, strict=True)
    found = [Found(float(score), int(number) - first, (box[0], box[1], box[2], box[3])) for box, score, number in rows]
    return [one if 0 <= one.number < CLASSES else one._replace(score=0.0) for one in found]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("columns", ["box_score_class", "class_score_box", "image_box_class_score"])
def test_end2end_in_one_output(columns: str, axes: int) -> None:
    """In any of the three orders, with an axis of the batch and without."""
    boxes, scores, numbers = _finished()
    parts = {"box": boxes, "score": scores[:, None], "class": numbers[:, None], "image": np.zeros((30, 1), np.float32)}
    raw = np.concatenate([parts[name] for name in columns.split("_")], axis=1)
    decode = build(Thresholds(confidence=LEAST, iou=0.1), format="end2end", columns=columns)
    check(decode({"out": raw if axes == 2 else raw[None]}, LETTERBOX), _rows(boxes, scores, numbers))


def test_end2end_of_another_image_of_the_batch() -> None:
    """YOLOv7 ends its list with rows of image -1."""
    boxes, scores, numbers = _finished()
    raw = np.concatenate([np.zeros((30, 1)), boxes, numbers[:, None], scores[:, None]], axis=1).astype(np.float32)
    raw[20:, 0] = -1
    decode = build(format="end2end", columns="image_box_class_score")
    check(decode({"out": raw}, LETTERBOX), _rows(boxes[:20], scores[:20], numbers[:20]))


@pytest.mark.parametrize("whole_numbers", [np.int32, np.float32])
def test_end2end_in_four_outputs(whole_numbers: Any) -> None:
    """As TensorRT's plugin gives them; what lies behind the count is leftovers."""
    boxes, scores, numbers = _finished()
    names: dict[str, Any] = {key: f"det_{key}" for key in ("boxes", "scores", "classes")}
    outputs: dict[str, NDArray[Any]] = {
        "num_dets": np.array([[18]], whole_numbers),
        "det_boxes": boxes[None],
        "det_scores": scores[None],
        "det_classes": numbers[None].astype(whole_numbers),
    }
    decode = build(Thresholds(confidence=LEAST, iou=0.1), format="end2end", count="num_dets", **names)
    check(decode(outputs, LETTERBOX), _rows(boxes[:18], scores[:18], numbers[:18]))
    outputs["num_dets"] = np.zeros((1, 1), whole_numbers)
    assert len(decode(outputs, LETTERBOX)) == 0


def test_end2end_of_tensorflow() -> None:
    """Boxes as top, left, bottom, right in 0..1, classes from 1."""
    boxes, scores, numbers = _finished()
    swapped = boxes[:, [1, 0, 3, 2]] / np.array([MODEL_WH[1], MODEL_WH[0]] * 2, np.float32)
    outputs: dict[str, NDArray[Any]] = {
        "b": swapped[None],
        "s": scores[None],
        "c": numbers[None],
        "n": np.array([30.0], np.float32),
    }
    names: dict[str, Any] = {"boxes": "b", "scores": "s", "classes": "c", "count": "n"}
    decode = build(format="end2end", box="yxyx", unit="input", first_class=1, **names)
    check(decode(outputs, LETTERBOX), _rows(boxes, scores, numbers, first=1))


def test_end2end_takes_class_numbers_that_are_not_quite_whole() -> None:
    """A division or half precision leaves 1.998 of 2: the nearest label is meant."""
    boxes, scores, numbers = _finished()
    raw = np.concatenate([boxes, scores[:, None], (numbers - 2e-3)[:, None]], axis=1)
    check(build(format="end2end")({"out": raw}, LETTERBOX), _rows(boxes, scores, numbers))


def test_end2end_with_the_score_beside_the_box() -> None:
    """As MMDeploy gives them."""
    boxes, scores, numbers = _finished()
    dets = np.concatenate([boxes, scores[:, None]], axis=1)
    outputs: dict[str, NDArray[Any]] = {"dets": dets[None], "labels": numbers[None].astype(np.int64)}
    decode = build(format="end2end", boxes="dets", classes="labels")
    check(decode(outputs, LETTERBOX), _rows(boxes, scores, numbers))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"boxes": "b"}, "boxes and classes are named together"),
        ({"boxes": "b", "classes": "c", "output": "o"}, "output and columns are for detections in one output"),
    ],
)
def test_end2end_names_one_or_several(options: dict[str, Any], message: str) -> None:
    """Half of either would be guessed."""
    with pytest.raises(ValidationError, match=message):
        build(format="end2end", **options)


@pytest.mark.parametrize("values", [2, 3])
def test_pose(values: int) -> None:
    """Keypoints with their own confidence, or that of their object; in source pixels, also outside the picture."""
    raw = uniform(4 + CLASSES + 5 * values, 40, high=0.6)
    raw[:4] *= 80
    points = raw[4 + CLASSES :].reshape(5, values, 40)
    points[:, :2] = uniform(5, 2, 40, low=-50, high=150)
    decode = build(format="yolov8_pose", keypoints=5, values=values)
    found = decode({"out": raw[None]}, LETTERBOX)
    best = check(found, plain.pose(raw, CLASSES, values))
    expected = [[(*in_source(x, y), own) for x, y, own in one.more] for one in best]
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints, expected, rtol=1e-4, atol=2e-3)


def _turned(count: int) -> Array:
    raw = uniform(5 + CLASSES, count, high=0.8)
    raw[:4] = uniform(4, count, low=5, high=60)
    raw[-1] = uniform(count, low=-np.pi / 4, high=3 * np.pi / 4)
    return raw


def test_turned_boxes() -> None:
    """Corners clockwise from the object's own top left, and the box around them in the picture."""
    raw = _turned(40)
    found = build(format="yolov8_obb")({"out": raw[None]}, LETTERBOX)
    best = check(found, plain.turned(raw, CLASSES))
    assert found.quad is not None
    expected = [[in_source(*corner) for corner in plain.corners_of(*one.more)] for one in best]
    np.testing.assert_allclose(found.quad, expected, atol=2e-3)


@pytest.mark.parametrize("turns", [-1, 1, 3])
def test_a_whole_turn_more_is_the_same_box(turns: int) -> None:
    """Angles beyond pi: the same corners, in the same order."""
    raw = _turned(40)
    more = raw.copy()
    more[-1] += np.float32(2 * np.pi * turns)
    decode = build(format="yolov8_obb")
    one, other = decode({"out": raw[None]}, LETTERBOX), decode({"out": more[None]}, LETTERBOX)
    assert one.quad is not None
    assert other.quad is not None
    assert len(one) == len(other) > 3
    np.testing.assert_allclose(one.quad, other.quad, atol=2e-2)


def test_the_overlap_of_turned_boxes() -> None:
    """That of the paper by matrices; 1 for equal boxes, less the farther and the more they differ."""
    boxes = _turned(30)[[0, 1, 2, 3, -1]].T
    gaussians = _gaussians(boxes)
    expected = [[plain.hellinger(one, other) for other in boxes.astype(float)] for one in boxes.astype(float)]
    np.testing.assert_allclose(_overlap(gaussians, gaussians), expected, atol=1e-5)
    assert np.diag(_overlap(gaussians, gaussians)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("count", [60, 700])  # more than are compared at once
def test_the_best_of_turned_boxes_stays(count: int) -> None:
    """Of a class; greedy, by the overlap of the paper; a long thin one across another stays."""
    raw = _turned(count)
    thresholds = Thresholds(confidence=LEAST, iou=0.3, max_detections=10_000)
    found = build(thresholds, format="yolov8_obb")({"out": raw[None]}, LETTERBOX)
    kept: list[Found] = []
    seen = [one for one in plain.turned(raw, CLASSES) if one.score >= LEAST and shows(one)]
    for one in sorted(seen, key=lambda one: -one.score):
        doubles = (plain.hellinger(one.more, other.more) > 0.3 for other in kept if other.number == one.number)
        kept += [] if any(doubles) else [one]
    assert found.confidence.tolist() == pytest.approx([one.score for one in kept])
    assert 5 < len(kept) <= 0.75 * len(seen)
    cross = np.array([[30, 30], [30, 30], [50, 50], [4, 4], [0.9, 0.8], [0, 0], [0, 0], [0, np.pi / 2]], np.float32)
    assert len(build(thresholds, format="yolov8_obb")({"out": cross[None]}, LETTERBOX)) == 2
    cross[-1] = 0
    assert len(build(thresholds, format="yolov8_obb")({"out": cross[None]}, LETTERBOX)) == 1


@pytest.mark.parametrize(
    "options, extra",
    [
        ({"format": "nanodet"}, set()),
        ({"format": "detr"}, set()),
        ({"format": "end2end"}, set()),
        ({"format": "yolov8_pose"}, {"keypoints"}),
        ({"format": "yolov8_obb"}, {"quad"}),
    ],
)
def test_what_a_format_gives(options: dict[str, Any], extra: set[str]) -> None:
    """Stages that need more are found at check."""
    assert OPTIONS.validate_python(options).gives == {"box", "class"} | extra


def test_the_table_of_the_docs_is_true() -> None:
    """docs/6-models.md: every format it names is there, and gives what it says."""
    table = (ROOT / "docs/6-models.md").read_text().partition("| Format | Outputs | Networks | Gives |")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.partition("\n\n")[0].splitlines()[2:]
    ]
    classes = {kind: one for one in get_args(get_args(OutputOptions)[0]) for kind in _formats(one)}
    assert {name.strip("`") for name, *_ in rows} >= {"yolox", "nanodet", "end2end", "yolov8_obb"}
    for name, _, _, gives in rows:
        assert classes[name.strip("`")].model_construct().gives == set(gives.split(", "))


def _formats(options: Any) -> tuple[str, ...]:
    return get_args(options.model_fields["format"].annotation)
