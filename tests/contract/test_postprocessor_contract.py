"""Every decoder keeps the contract of `Postprocessor`; a new row of FORMATS without a line here fails."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.options import OutputOptions, Thresholds
from edge_vision.postprocess.table import FORMATS, build_postprocessor
from edge_vision.testing.contracts import check_postprocessor

CLASSES = 4
SHAPES: dict[str, tuple[int, ...]] = {
    "yolox": (1, 8 * 8 + 4 * 4 + 2 * 2, 5 + CLASSES),
    "yolov5": (1, 60, 5 + CLASSES),
    "yolov8": (1, 4 + CLASSES, 60),
    "ssd": (1, 1, 30, 7),
}
OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((101, 57), (64, 64))


def _raw(name: str, dtype: str = "float32") -> NDArray[Any]:
    random = np.random.default_rng(4)
    raw = random.uniform(0.0, 1.0, SHAPES[name])
    if name == "ssd":
        raw[..., 0], raw[..., 1] = 0, random.integers(0, CLASSES, 30)
    return raw.astype(dtype)


def test_every_format_is_tested_here() -> None:
    """A new row of FORMATS comes with a line in this file."""
    assert set(FORMATS) == set(SHAPES)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("writeable", [True, False])
def test_a_decoder_keeps_the_contract(name: str, dtype: str, writeable: bool) -> None:
    """Pure, typed, sorted, inside the picture, and at most as many as asked for; also of read-only outputs."""
    raw = _raw(name, dtype)
    raw.flags.writeable = writeable
    thresholds = Thresholds(confidence=0.3, max_detections=5)
    decode = build_postprocessor(OPTIONS.validate_python({"format": name}), thresholds, CLASSES, (64, 64))
    found = check_postprocessor(decode, {"out": raw}, LETTERBOX, CLASSES)
    assert 0 < len(found) <= 5
    assert (found.confidence >= np.float32(0.3)).all()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", [(), (0,), (1, 1), (2, 3, 4, 5, 6)])
def test_an_output_of_any_other_shape_is_a_model_error(name: str, shape: tuple[int, ...]) -> None:
    """Never an IndexError, and never no detections for ever."""
    decode = build_postprocessor(OPTIONS.validate_python({"format": name}), Thresholds(), CLASSES, (64, 64))
    with pytest.raises(ModelError, match=f"format {name}"):
        decode({"out": np.zeros(shape, np.float32)}, LETTERBOX)


@pytest.mark.parametrize("name", FORMATS)
def test_no_output_at_all_is_a_model_error(name: str) -> None:
    """A session that gives nothing is not a scene without objects."""
    decode = build_postprocessor(OPTIONS.validate_python({"format": name}), Thresholds(), CLASSES, (64, 64))
    with pytest.raises(ModelError):
        decode({}, LETTERBOX)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_are_none_are_not_detections(name: str) -> None:
    """Where the network answers nan, nothing was seen there; every box that comes out is finite."""
    raw = _raw(name)
    raw[..., 3] = np.nan
    if name == "yolov8":
        raw = _raw(name)
        raw[:, 3] = np.nan
    decode = build_postprocessor(OPTIONS.validate_python({"format": name}), Thresholds(), CLASSES, (64, 64))
    assert np.isfinite(decode({"out": raw}, LETTERBOX).xyxy).all()
