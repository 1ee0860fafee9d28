"""Every decoder keeps the contract of `Postprocessor`; a new row of FORMATS without a line here fails."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import FORMATS, build_postprocessor
from edge_vision.testing.contracts import check_postprocessor

CLASSES = 4
CELLS = 8 * 8 + 4 * 4 + 2 * 2
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "yolox": {"out": (1, CELLS, 5 + CLASSES)},
    "yolov5": {"out": (1, 60, 5 + CLASSES)},
    "yolov8": {"out": (1, 4 + CLASSES, 60)},
    "ssd": {"out": (1, 1, 30, 7)},
    "scores_boxes": {"scores": (1, 60, 1 + CLASSES), "boxes": (1, 60, 4)},
    "priors": {"scores": (1, 2 * CELLS, 1 + CLASSES), "boxes": (1, 2 * CELLS, 4 + 6)},
    "nanodet": {
        **{f"scores{cells}": (1, cells, CLASSES) for cells in (64, 16, 4)},
        **{f"distances{cells}": (1, cells, 4 * 8) for cells in (64, 16, 4)},
    },
    "fastestdet": {"out": (1, 5 + CLASSES, 4, 6)},
    "detr": {"logits": (1, 30, CLASSES + 1), "pred_boxes": (1, 30, 4)},
    "end2end": {"boxes": (1, 30, 4), "scores": (1, 30), "classes": (1, 30)},
    "yolov8_pose": {"out": (1, 4 + CLASSES + 3 * 3, 60)},
    "yolov8_obb": {"out": (1, 5 + CLASSES, 60)},
    "darknet": {"coarse": (20, 5 + CLASSES), "fine": (40, 5 + CLASSES)},
    "yolov5_corners": {"out": (1, 60, 13 + CLASSES)},
    "ctc": {"out": (1, 12, 1 + CLASSES)},
    "dbnet": {"map": (1, 1, 64, 64)},
    "classification": {"out": (1, CLASSES)},
    "embedding": {"out": (1, 16)},
    "segmentation": {"out": (1, CLASSES, 16, 16)},
    "anomaly": {"out": (1, 1, 16, 16)},
    "yolov8_seg": {"output0": (1, 4 + CLASSES + 8, 60), "output1": (1, 8, 16, 16)},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "ctc": {"activation": "none"},
    "priors": {"strides": [8, 16, 32], "min_sizes": [[4, 9], [16, 20], [32, 50]], "keypoints": 3},
    "end2end": {"boxes": "boxes", "scores": "scores", "classes": "classes"},
    "yolov8_pose": {"keypoints": 3},
}
OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((101, 57), (64, 64))


def _raw(name: str, dtype: str = "float32") -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(4)
    raw = {output: random.uniform(0.0, 1.0, shape) for output, shape in SHAPES[name].items()}
    if name in {"yolov5", "yolov5_corners"}:
        raw["out"][..., :4] *= 64
    if name in {"yolov8", "yolov8_pose", "yolov8_obb", "yolov8_seg"}:
        raw[next(iter(raw))][:, :4] *= 64
    if name == "ssd":
        raw["out"][..., 0], raw["out"][..., 1] = 0, random.integers(0, CLASSES, 30)
    if name == "end2end":
        raw["classes"], raw["boxes"] = np.floor(raw["classes"] * CLASSES), raw["boxes"] * 64
    return {output: value.astype(dtype) for output, value in raw.items()}


def _build(name: str, thresholds: Thresholds | None = None) -> Postprocessor:
    options = OPTIONS.validate_python({"format": name, **SETTINGS.get(name, {})})
    return build_postprocessor(options, thresholds or Thresholds(), ("x",) * CLASSES, (64, 64))


def test_every_format_is_tested_here() -> None:
    """A new row of FORMATS comes with a line in this file."""
    assert set(FORMATS) == set(SHAPES)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("writeable", [True, False])
def test_a_decoder_keeps_the_contract(name: str, dtype: str, writeable: bool) -> None:
    """Pure, typed, sorted, inside the picture, and at most as many as asked for; also of read-only outputs."""
    raw = _raw(name, dtype)
    for value in raw.values():
        value.flags.writeable = writeable
    decode = _build(name, Thresholds(confidence=0.3, max_detections=5))
    found = check_postprocessor(decode, raw, LETTERBOX, CLASSES)
    assert 0 < len(found) <= 5
    assert (found.confidence >= np.float32(0.3)).all()


@pytest.mark.parametrize("name, output", [(name, output) for name in FORMATS for output in SHAPES[name]])
@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (2, 3, 4, 5, 6)])
def test_an_output_of_any_other_shape_is_a_model_error(name: str, output: str, shape: tuple[int, ...]) -> None:
    """Never an IndexError, and never no detections for ever."""
    with pytest.raises(ModelError, match=f"format {name}"):
        _build(name)({**_raw(name), output: np.zeros(shape, np.float32)}, LETTERBOX)


@pytest.mark.parametrize("name", FORMATS)
def test_no_output_at_all_is_a_model_error(name: str) -> None:
    """A session that gives nothing is not a scene without objects."""
    with pytest.raises(ModelError):
        _build(name)({}, LETTERBOX)


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_that_sees_nothing_is_no_error(name: str) -> None:
    """Zeros everywhere are an empty scene, with typed and empty columns."""
    raw = {output: np.zeros_like(value) for output, value in _raw(name).items()}
    found = check_postprocessor(_build(name), raw, LETTERBOX, CLASSES)
    assert len(found) == 0


@pytest.mark.parametrize("name, output", [(name, output) for name in FORMATS for output in SHAPES[name]])
def test_numbers_that_are_none_are_not_detections(name: str, output: str) -> None:
    """Where the network answers nan, nothing was seen there; every box that comes out is finite."""
    raw = _raw(name)
    if name in {"yolov8", "yolov8_pose", "yolov8_obb", "fastestdet"} or output == "output0":
        raw[output][:, 3] = np.nan
    else:
        raw[output][..., 3] = np.nan
    found = _build(name)(raw, LETTERBOX)
    assert all(np.isfinite(column).all() for column in found.columns().values() if column.dtype.kind == "f")


WILD = (np.nan, np.inf, -np.inf, 1e4, -1e4, 65504.0, 0.0, 1.0)
PLACINGS = [
    Letterbox.fit(size, (64, 64), resize)
    for size in ((1, 1), (8000, 100), (100, 8000), (101, 57))
    for resize in ("letterbox", "stretch", "fit_height")
]
LIMITS = (
    Thresholds(confidence=0.0, iou=0.0, max_detections=10_000),
    Thresholds(confidence=1.0, iou=1.0),
    Thresholds(max_detections=1),
)
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "ctc": [{"beam": 4, "score": "product"}, {"activation": "softmax"}],
    "classification": [{"activation": "softmax"}, {"activation": "sigmoid"}],
    "priors": [{"activation": "softmax"}, {"activation": "sigmoid"}],
    "segmentation": [{"activation": "softmax"}, {"overlapping": True}, {"regions": False}, {"background": 0}],
    "anomaly": [{"regions": False}],
    "dbnet": [{"activation": "sigmoid"}],
}


def _wild(raw: dict[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """Outputs as a broken network, or one in half precision, may have them."""
    random = np.random.default_rng(7)
    outputs = [{key: np.full_like(value, number) for key, value in raw.items()} for number in WILD]
    outputs += [{**raw, key: np.full_like(value, number)} for number in WILD for key, value in raw.items()]
    for _ in range(3):
        mixed = {key: value.copy() for key, value in raw.items()}
        for value in mixed.values():
            struck = random.random(value.shape) < 0.1
            value[struck] = random.choice(np.array([*WILD, -5.0]), int(struck.sum())).astype(value.dtype)
        outputs.append(mixed)
    return outputs


@pytest.mark.parametrize(
    "name, more", [(name, more) for name in FORMATS for more in ({}, *VARIANTS.get(name, []))], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_whatever_a_network_gives_what_comes_out_can_be_sent(name: str, more: dict[str, Any], dtype: str) -> None:
    """Scores in 0..1, boxes with an area inside the picture, finite numbers, no warning; whatever picture it was."""
    options = OPTIONS.validate_python({"format": name, **SETTINGS.get(name, {}), **more})
    for limits in LIMITS:
        decode = build_postprocessor(options, limits, ("x",) * CLASSES, (64, 64))
        for raw in _wild(_raw(name, dtype)):
            for placing in PLACINGS:
                found = decode(raw, placing)
                columns = {**found.columns(), **found.attributes}
                assert all(np.isfinite(column).all() for column in columns.values() if column.dtype.kind == "f")
                assert ((found.confidence >= 0.0) & (found.confidence <= 1.0)).all()
                assert ((found.class_id >= 0) & (found.class_id < CLASSES)).all()
                assert (found.xyxy[:, :2] < found.xyxy[:, 2:]).all()
                assert (found.xyxy >= 0).all()
                assert (found.xyxy[:, 2:] <= placing.source_wh).all()
                assert len(found) <= limits.max_detections
