"""The decoders of networks with several outputs, against row-by-row ones and a real network's own."""

from math import ceil, exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_bundles import PRIORS_OF_ULTRAFACE, YUNET_OUTPUT
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.priors import PriorsOutput, prior_boxes
from edge_vision.postprocess.table import build_postprocessor

MODEL_WH = (50, 36)  # no stride divides it
STRIDES = [8, 16]
SIZES: list[list[float]] = [[6, 9.5], [20]]
CELLS = {"ceil": 7 * 5 * 2 + 4 * 3, "floor": 6 * 4 * 2 + 3 * 2}
CLASSES = 2
KEEP_ALL = Thresholds(confidence=0.3, iou=1.0, max_detections=10_000)
LETTERBOX = Letterbox.fit((200, 90), MODEL_WH)
FILLED = Letterbox.fit((200, 144), MODEL_WH)
OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)

Array = NDArray[np.float32]
Object = tuple[float, int, list[float], list[float]]
"""Score, class, box and keypoints in input pixels."""


def _build(thresholds: Thresholds = KEEP_ALL, **output: Any) -> Postprocessor:
    if output["format"] == "priors":
        output = {"strides": STRIDES, "min_sizes": SIZES, **output}
    return build_postprocessor(OPTIONS.validate_python(output), thresholds, ("x",) * CLASSES, MODEL_WH)


def _centers(options: dict[str, Any]) -> list[tuple[float, float, float, float]]:
    """Priors in input pixels, one by one, as SSD (arXiv:1512.02325, 2.2) and RetinaFace lay them."""
    width, height = MODEL_WH
    round_side = ceil if options.get("cells", "ceil") == "ceil" else int
    found: list[tuple[float, float, float, float]] = []
    for stride, sizes in zip(STRIDES, SIZES, strict=True):
        columns, rows = round_side(width / stride), round_side(height / stride)
        cells = [(x, y) for y in range(rows) for x in range(columns)]
        for x, y in cells:
            if options.get("centers", "cell") == "cell":
                center = (x + 0.5) / columns, (y + 0.5) / rows
            else:
                center = (x + 0.5) * stride / width, (y + 0.5) * stride / height
            for side in sizes:
                one = [*center, side / width, side / height]
                if options.get("clip"):
                    one = [min(max(value, 0.0), 1.0) for value in one]
                found.append((one[0] * width, one[1] * height, one[2] * width, one[3] * height))
    return found


def _row_by_row(options: dict[str, Any], outputs: dict[str, Array]) -> list[Object]:
    first = options.get("first_class", 1)
    variances = options.get("variances", (0.1, 0.1, 0.2, 0.2))
    objects: list[Object] = []
    for row, (x, y, width, height) in enumerate(_centers(options)):
        scores = [float(value) for value in outputs["scores"][0, row]]
        if options.get("activation") == "softmax":
            total = sum(exp(value) for value in scores)
            scores = [exp(value) / total for value in scores]
        elif options.get("activation") == "sigmoid":
            scores = [1 / (1 + exp(-value)) for value in scores]
        labels = scores[first:]
        if "iou" in options:
            labels = [sqrt(value * min(max(float(outputs["iou"][0, row, 0]), 0.0), 1.0)) for value in labels]
        offsets = outputs["boxes"][0, row]
        center = x + offsets[0] * variances[0] * width, y + offsets[1] * variances[1] * height
        size = width * exp(offsets[2] * variances[2]), height * exp(offsets[3] * variances[3])
        box = [center[0] - size[0] / 2, center[1] - size[1] / 2, center[0] + size[0] / 2, center[1] + size[1] / 2]
        shifts = outputs["points"][0, row] if "points" in options else offsets[4:]
        points = [
            (x + value * variances[0] * width) if number % 2 == 0 else (y + value * variances[1] * height)
            for number, value in enumerate(shifts)
        ]
        objects.append((max(labels), labels.index(max(labels)), box, points))
    return objects


def _random_outputs(options: dict[str, Any], seed: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    rows = CELLS[options.get("cells", "ceil")]
    keypoints = 2 * options.get("keypoints", 0)
    inside = 0 if "points" in options else keypoints
    outputs = {
        "scores": random.uniform(0, 1, (1, rows, options.get("first_class", 1) + CLASSES)),
        "boxes": random.normal(0, 2, (1, rows, 4 + inside)),
        "iou": random.uniform(-0.2, 1.4, (1, rows, 1)),
        "points": random.normal(0, 2, (1, rows, keypoints)),
    }
    if options.get("activation", "none") != "none":
        outputs["scores"] = random.normal(0, 2, outputs["scores"].shape)
    return {name: value.astype(np.float32) for name, value in outputs.items()}


VARIANTS: list[dict[str, Any]] = [
    {},
    {"clip": True, "cells": "floor"},
    {"centers": "stride", "variances": (0.1, 0.2, 0.3, 0.4)},
    {"first_class": 0, "activation": "sigmoid"},
    {"activation": "softmax", "keypoints": 2},
    {"iou": "iou", "keypoints": 3, "points": "points", "first_class": 2},
]


def _assert_equal(found: Detections, objects: list[Object], threshold: float) -> None:
    width, height = LETTERBOX.source_wh
    limits = [width, height, width, height]

    def shows(box: list[float]) -> bool:
        left, top, right, bottom = np.clip(LETTERBOX.to_source(np.array(box)), 0, limits).tolist()
        return bool(left < right and top < bottom)

    seen = sorted((one for one in objects if one[0] >= threshold and shows(one[2])), key=lambda one: -one[0])
    assert len(found) == len(seen)
    np.testing.assert_allclose(found.confidence, [one[0] for one in seen], rtol=1e-5)
    assert found.class_id.tolist() == [one[1] for one in seen]
    boxes = LETTERBOX.to_source(np.array([one[2] for one in seen]).reshape(-1, 4))
    np.testing.assert_allclose(found.xyxy, np.clip(boxes, 0, limits), rtol=1e-4, atol=5e-3)
    if found.keypoints is not None:
        points = LETTERBOX.to_source(np.array([one[3] for one in seen]).reshape(len(seen), -1, 2))
        np.testing.assert_allclose(found.keypoints[..., :2], points, rtol=1e-4, atol=5e-3)
        assert (found.keypoints[..., 2] == found.confidence[:, None]).all()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@given(seed=st.integers(0, 100_000))
def test_priors_equal_their_row_by_row_reference(options: dict[str, Any], seed: int) -> None:
    """Each option alone and with others: scores, classes, boxes and keypoints as decoded one prior at a time."""
    outputs = _random_outputs(options, seed)
    found = _build(format="priors", **options)(outputs, LETTERBOX)
    objects = _row_by_row(options, outputs)
    # Sums of other order may fall on the other side of the threshold.
    if not any(abs(one[0] - 0.3) < 1e-6 for one in objects):
        _assert_equal(found, objects, 0.3)
    assert (found.keypoints is None) == (not options.get("keypoints") or len(found) == 0)


@given(seed=st.integers(0, 100_000), first=st.integers(0, 2))
def test_scores_boxes_equal_their_row_by_row_reference(seed: int, first: int) -> None:
    """Boxes in 0..1 of the input, one class per row, the columns before the first label left out."""
    random = np.random.default_rng(seed)
    scores = random.uniform(0, 1, (1, 30, first + CLASSES)).astype(np.float32)
    boxes = random.uniform(-0.1, 1.1, (1, 30, 4)).astype(np.float32)
    found = _build(format="scores_boxes", first_class=first)({"scores": scores, "boxes": boxes}, LETTERBOX)
    objects: list[Object] = []
    for row, box in zip(scores[0].tolist(), boxes[0].tolist(), strict=True):
        labels = row[first:]
        corners = [value * MODEL_WH[place % 2] for place, value in enumerate(box)]
        objects.append((max(labels), labels.index(max(labels)), corners, []))
    _assert_equal(found, objects, np.float32(0.3))


@given(seed=st.integers(0, 100_000))
def test_darknet_equals_its_row_by_row_reference(seed: int) -> None:
    """All layers together; the class scores as they are, because objectness is in them already."""
    random = np.random.default_rng(seed)
    outputs = {
        name: random.uniform(0, 1, (rows, 5 + CLASSES)).astype(np.float32) for name, rows in (("a", 9), ("b", 30))
    }
    found = _build(format="darknet")(outputs, LETTERBOX)
    objects: list[Object] = []
    for x, y, width, height, _, *labels in [row for layer in outputs.values() for row in layer.tolist()]:
        sides = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        corners = [value * MODEL_WH[place % 2] for place, value in enumerate(sides)]
        objects.append((max(labels), labels.index(max(labels)), corners, []))
    _assert_equal(found, objects, np.float32(0.3))
    only = _build(format="darknet", outputs=["b"])(outputs, LETTERBOX)
    _assert_equal(only, objects[9:], np.float32(0.3))


@pytest.mark.parametrize("name", ["priors", "scores_boxes"])
@pytest.mark.parametrize("threshold", [0.3, 0.1, 0.7])
def test_a_score_equal_to_the_threshold_is_seen(name: str, threshold: float) -> None:
    """A float32 score that equals the threshold as written passes; the next smaller number does not."""
    rows = CELLS["ceil"]
    outputs = {"scores": np.zeros((1, rows, 3), np.float32), "boxes": np.full((1, rows, 4), 0.5, np.float32)}
    outputs["boxes"][..., 2:] = 1.0
    decode = _build(Thresholds(confidence=threshold), format=name)
    outputs["scores"][0, 4, 2] = np.float32(threshold)
    assert decode(outputs, LETTERBOX).class_id.tolist() == [1]
    outputs["scores"][0, 4, 2] = np.nextafter(np.float32(threshold), np.float32(0), dtype=np.float32)
    assert len(decode(outputs, LETTERBOX)) == 0


@pytest.mark.parametrize("name", ["priors", "scores_boxes"])
def test_the_axis_of_the_batch_may_be_missing(name: str) -> None:
    """YuNet gives [N, 14]; the objects are those of [1, N, 14]."""
    outputs = _random_outputs({}, 5)
    whole = _build(format=name)(outputs, LETTERBOX)
    flat = _build(format=name)({key: value[0] for key, value in outputs.items()}, LETTERBOX)
    assert np.array_equal(whole.xyxy, flat.xyxy)
    assert len(whole) > 3


@pytest.mark.parametrize("name", ["priors", "scores_boxes"])
def test_doubles_are_suppressed(name: str) -> None:
    """Two priors that say the same are one object."""
    outputs = {"scores": np.zeros((1, CELLS["ceil"], 3)), "boxes": np.zeros((1, CELLS["ceil"], 4))}
    outputs["scores"][0, [0, 2], 1] = 0.9, 0.8  # the same side, one cell to the right
    outputs["boxes"][0, 2, 0] = -50 / 7 / 6 / 0.1
    if name == "scores_boxes":
        outputs["boxes"][0, [0, 2]] = 0.1, 0.1, 0.5, 0.5
    assert len(_build(Thresholds(iou=0.5), format=name)(outputs, FILLED)) == 1


@pytest.mark.parametrize(
    "options, outputs, words",
    [
        ({"format": "scores_boxes"}, {"scores": (1, 9, 2), "boxes": (1, 9, 4)}, ["scores", "[1, N, 3]", "2 labels"]),
        ({"format": "scores_boxes"}, {"scores": (1, 9, 3), "boxes": (1, 8, 4)}, ["boxes", "[1, 9, 4]", "[1, 8, 4]"]),
        ({"format": "scores_boxes"}, {"score": (1, 9, 3), "boxes": (1, 9, 4)}, ["no output 'scores'", "score [1, 9"]),
        ({"format": "priors"}, {"scores": (1, 82, 2), "boxes": (1, 82, 4)}, ["[1, 82, 3]", "1 of background"]),
        ({"format": "priors"}, {"scores": (1, 81, 3), "boxes": (1, 81, 4)}, ["[1, 82, 3]", "min_sizes"]),
        ({"format": "priors"}, {"scores": (82, 3), "boxes": (82, 14)}, ["boxes", "[82, 4]", "[82, 14]"]),
        ({"format": "darknet"}, {"a": (9, 7), "b": (9, 8)}, ["darknet, b", "[N, 7]", "[9, 8]", "2 labels"]),
        ({"format": "darknet", "outputs": ["c"]}, {"a": (9, 7)}, ["no output 'c'"]),
        ({"format": "priors", "iou": "q"}, {"scores": (1, 82, 3), "boxes": (1, 82, 4)}, ["no output 'q'"]),
    ],
)
def test_outputs_that_do_not_fit_are_model_errors(
    options: dict[str, Any], outputs: dict[str, tuple[int, ...]], words: list[str]
) -> None:
    """The message names the output, the shape there is, the shape there should be, and what that follows from."""
    with pytest.raises(ModelError) as caught:
        _build(**options)({name: np.zeros(shape, np.float32) for name, shape in outputs.items()}, LETTERBOX)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "options, word",
    [
        ({"strides": [8, 16], "min_sizes": [[8]]}, "min_sizes has 1 lists, strides has 2"),
        ({"strides": [8], "min_sizes": [[]]}, "at least 1"),
        ({"strides": [8], "min_sizes": [[0]]}, "greater than 0"),
        ({"strides": [8], "min_sizes": [[8]], "points": "landms"}, "keypoints"),
        ({"min_sizes": [[8]]}, "strides"),
    ],
)
def test_options_that_cannot_be_are_refused_where_the_file_is_read(options: dict[str, Any], word: str) -> None:
    """Not with a wrong shape at start, and not with boxes somewhere else."""
    with pytest.raises(ValidationError, match=word):
        OPTIONS.validate_python({"format": "priors", **options})


def test_an_infinite_side_is_no_object() -> None:
    """exp() of a number past its range is not a box as wide as the picture."""
    outputs = _random_outputs({}, 1)
    outputs["scores"][...] = 0.0
    outputs["scores"][0, :2, 1] = 0.9
    outputs["boxes"][0, 0, 2] = 1e5
    found = _build(format="priors")(outputs, LETTERBOX)
    assert len(found) == 1
    assert np.isfinite(found.xyxy).all()


def test_ultraface_has_4420_priors_and_yunet_1076() -> None:
    """The numbers of rows of the real networks; UltraFace rounds up, YuNet of 2021 down."""
    face, yunet = PriorsOutput(**PRIORS_OF_ULTRAFACE), PriorsOutput(**YUNET_OUTPUT)
    assert prior_boxes(face, (320, 240)).shape == (4420, 4)
    assert prior_boxes(yunet, (160, 120)).shape == (1076, 4)
    assert prior_boxes(face, (320, 240)).max() <= 1.0


def _run(file: Path, picture: NDArray[Any], rgb: bool, mean: float, std: float) -> dict[str, Array]:
    import cv2
    import onnxruntime

    session = onnxruntime.InferenceSession(file, _quiet(), providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    resized = cv2.resize(picture, (port.shape[3], port.shape[2])).astype(np.float32)
    plane = ((resized[..., ::-1] if rgb else resized) - mean) / std
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {port.name: np.ascontiguousarray(plane.transpose(2, 0, 1)[None])})
    return dict(zip(names, values, strict=True))


def _quiet() -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.intra_op_num_threads = 1
    return settings


def _faces(data: Path) -> list[Path]:
    return [data / "images/misc" / name for name in ("face.jpg", "grace_hopper.bmp")]


def test_the_decoder_inside_ultraface_gives_the_same_boxes(data: Path) -> None:
    """All 4420 boxes of the network with its decoder inside, from the outputs of the one without: to 1e-4 pixels."""
    import cv2

    folder = data / "models/ultraface_rfb320"
    lowest = Thresholds(confidence=0.0, iou=1.0, max_detections=10_000)
    for file in _faces(data):
        picture = cv2.imread(str(file))
        assert picture is not None
        letterbox = Letterbox.fit((320, 240), (320, 240), "stretch")
        whole = _run(folder / "version-RFB-320.onnx", picture, rgb=True, mean=127, std=128)
        raw = _run(folder / "version-RFB-320_without_postprocessing.onnx", picture, rgb=True, mean=127, std=128)
        inside = build_postprocessor(OPTIONS.validate_python({"format": "scores_boxes"}), lowest, ("face",), (320, 240))
        ours = build_postprocessor(OPTIONS.validate_python(PRIORS_OF_ULTRAFACE), lowest, ("face",), (320, 240))
        expected, found = inside(whole, letterbox), ours(raw, letterbox)
        assert len(expected) == len(found) == 4420
        np.testing.assert_array_equal(expected.confidence, found.confidence)
        assert expected.confidence[0] > 0.99
        # Rows of equal score may stand in another order: compare each where it has a score of its own.
        alone = np.concatenate([[True], np.diff(expected.confidence) != 0]) & np.concatenate(
            [np.diff(expected.confidence) != 0, [True]]
        )
        assert alone.sum() > 4000
        np.testing.assert_allclose(expected.xyxy[alone], found.xyxy[alone], atol=1e-4)


def test_yunet_finds_the_faces_with_their_eyes_nose_and_mouth(data: Path) -> None:
    """Keypoints lie where a face has them, and the boxes where UltraFace has them."""
    import cv2

    for file, count in zip(_faces(data), (4, 1), strict=True):
        picture = cv2.imread(str(file))
        assert picture is not None
        wh = (picture.shape[1], picture.shape[0])
        raw = _run(data / "models/yunet_120x160/face_detection_yunet_120x160.onnx", picture, rgb=False, mean=0, std=1)
        decode = build_postprocessor(
            OPTIONS.validate_python(YUNET_OUTPUT), Thresholds(confidence=0.9, iou=0.3), ("face",), (160, 120)
        )
        found = decode(raw, Letterbox.fit(wh, (160, 120), "stretch"))
        other = _run(data / "models/ultraface_rfb320/version-RFB-320.onnx", picture, rgb=True, mean=127, std=128)
        plain = build_postprocessor(
            OPTIONS.validate_python({"format": "scores_boxes"}),
            Thresholds(confidence=0.9, iou=0.3),
            ("face",),
            (320, 240),
        )
        same = plain(other, Letterbox.fit(wh, (320, 240), "stretch"))
        assert len(found) == len(same) == count
        for box, points in zip(found.xyxy, found.keypoints if found.keypoints is not None else (), strict=True):
            assert max(_overlap(box, one) for one in same.xyxy) > 0.7
            (right_eye, left_eye, nose, right_mouth, left_mouth) = points[:, :2]
            assert right_eye[0] < left_eye[0]
            assert right_mouth[0] < left_mouth[0]
            assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
            assert ((points[:, :2] > box[:2]) & (points[:, :2] < box[2:])).all()


def _overlap(one: Array, other: Array) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


@pytest.mark.parametrize("column", [2, 5], ids=["box", "keypoint"])
def test_an_object_with_a_number_that_is_none_takes_its_keypoints_along(column: int) -> None:
    """It is left out; the keypoints of the others stay theirs."""
    options: dict[str, Any] = {"keypoints": 2}
    outputs = _random_outputs(options, 8)
    outputs["scores"][...] = 0.0
    outputs["scores"][0, [3, 4, 5], 1] = 0.9, 0.8, 0.7
    whole = _build(format="priors", **options)(outputs, FILLED)
    outputs["boxes"][0, 4, column] = np.nan
    found = _build(format="priors", **options)(outputs, FILLED)
    assert (len(whole), len(found)) == (3, 2)
    assert whole.keypoints is not None
    assert found.keypoints is not None
    assert np.array_equal(found.keypoints, whole.keypoints[[0, 2]])
