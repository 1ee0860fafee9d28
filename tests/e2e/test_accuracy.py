"""COCO average precision through the project's own road, on every runtime, against the known answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from accuracy import daemon_ap
from conftest import Start

BACKENDS = ("onnxruntime", "openvino", "opencv_dnn")
TOLERANCE = 0.002


@pytest.mark.parametrize("backend", BACKENDS)
def test_ap_of_yolox_nano_is_the_reference_ap(
    backend: str, data: Path, yolox: Path, edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """The daemon itself, from picture files to JSON lines: AP, AP50, AP75 within 0.002 of expected/."""
    measured = daemon_ap(data, yolox, edge_vision, write_site, backend)
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    reference = expected["ap"]["yolox_nano.onnx"]["coco_det_ccby AP,AP50,AP75"]
    print(f"{backend}: AP, AP50, AP75 {[round(value, 4) for value in measured]}, reference {reference}")
    assert measured == pytest.approx(reference, abs=TOLERANCE)
