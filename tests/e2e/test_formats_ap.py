"""YOLOX-nano in ONNX, OpenVINO IR and TFLite: the same average precision on every runtime that reads each."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from accuracy import daemon_ap
from conftest import Start, yolox_bundle

FORMATS = {
    "onnx": ("yolox_nano.onnx", "f32", ["yolox_nano.onnx"]),
    "openvino": ("yolox_nano_fp32.xml", "f32", ["yolox_nano_fp32.xml", "yolox_nano_fp32.bin"]),
    "tflite": ("yolox_nano_float16.tflite", "f16", ["yolox_nano_float16.tflite"]),
}
READERS = [
    ("onnx", "openvino"),
    ("onnx", "onnxruntime"),
    ("onnx", "opencv_dnn"),
    ("openvino", "openvino"),
    ("tflite", "litert"),
    ("tflite", "openvino"),
]
"""OpenCV DNN reads TFLite too, but not this file: it takes the input of one for channels-last."""
TOLERANCE = 0.003


@pytest.mark.parametrize("format_, backend", READERS)
def test_ap_is_the_same_in_every_format(
    format_: str,
    backend: str,
    data: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """The daemon itself, from picture files to JSON lines: AP, AP50, AP75 within 0.003 of the ONNX file's."""
    path, precision, files = FORMATS[format_]
    folder = tmp_path / "yolox_nano"
    folder.mkdir()
    for name in files:
        (folder / name).symlink_to(data / "models/yolox_nano" / name)
    content = {**yolox_bundle(coco_labels), "files": [{"path": path, "format": format_, "precision": precision}]}
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    measured = daemon_ap(data, folder, edge_vision, write_site, backend)
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    reference = expected["ap"]["yolox_nano.onnx"]["coco_det_ccby AP,AP50,AP75"]
    print(f"{format_} on {backend}: AP, AP50, AP75 {[round(one, 4) for one in measured]}, reference {reference}")
    assert measured == pytest.approx(reference, abs=TOLERANCE)
