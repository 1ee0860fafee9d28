"""COCO average precision of files other than ONNX, through the daemon, against the known answers."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import YOLOX_FILES, write_yolo_fastest, write_yolox
from conftest import Start

from edge_vision.core.detections import Detections
from edge_vision.models.truth import Labeled, Precision

TOLERANCE = 0.003

Measure = Callable[[Path, list[str], dict[str, Any]], Precision]


@pytest.fixture
def measure(data: Path, coco_labels: list[str], edge_vision: Start, write_site: Callable[..., Path]) -> Measure:
    """Runs a site over the labeled pictures and judges the JSON lines that come out."""
    folder = data / "images/coco_det_ccby"
    names = sorted(file.name for file in folder.glob("*.jpg"))

    def run(bundle: Path, backends: list[str], settings: dict[str, Any]) -> Precision:
        camera = {
            "id": "coco",
            "source": {"kind": "images", "path": str(folder)},
            "pipeline": "object_detection",
            "with": {"model": str(bundle), "backends": backends, **settings},
        }
        site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}])
        process = edge_vision("run", site, stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
        messages = [json.loads(line) for line in output.splitlines()]
        assert [message["frame"]["index"] for message in messages] == list(range(len(names)))
        assert {message["model"]["backend"] for message in messages} == set(backends)
        seen = {names[message["frame"]["index"]]: _detections(message["objects"]) for message in messages}
        return Labeled(folder / "annotations.json", coco_labels).average_precision(seen)

    return run


def _detections(objects: list[dict[str, Any]]) -> Detections:
    return Detections(
        np.array([one["xyxy"] for one in objects], np.float32).reshape(-1, 4),
        np.array([one["confidence"] for one in objects], np.float32),
        np.array([one["class_id"] for one in objects], np.int32),
    )


def _reference(data: Path, name: str) -> list[float]:
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    figures: list[float] = expected["ap"][name]["coco_det_ccby AP,AP50,AP75"]
    return figures


YOLOX = [
    ("openvino", "openvino", "f32", "yolox_nano IR f32 hint"),
    ("tflite f16", "litert", "f32", "yolox_nano_float16.tflite"),
    ("tflite f16", "openvino", "f32", "yolox_nano_float16.tflite"),
    ("tflite int8", "litert", "int8", "yolox_nano_dynrange.tflite"),
]


def test_every_file_of_yolox_nano_is_measured() -> None:
    """Three formats; the ONNX file on every runtime is that of test_accuracy.py."""
    assert {name for name, *_ in YOLOX} == set(YOLOX_FILES) - {"onnx"}


@pytest.mark.parametrize("name, backend, precision, reference", YOLOX)
def test_ap_of_yolox_nano_in_every_format(
    name: str, backend: str, precision: str, reference: str,
    data: Path, tmp_path: Path, coco_labels: list[str], measure: Measure,
) -> None:  # fmt: skip
    """AP, AP50 and AP75 within 0.003 of those of the reference decoder on the same file."""
    bundle = write_yolox(tmp_path / "bundle", data, coco_labels, name)
    found = measure(bundle, [backend], {"confidence": 0.01, "iou": 0.65, "precision": precision})
    figures = _reference(data, reference)
    print(f"{name} on {backend}: {found}, reference {figures}")
    assert [found.ap, found.ap50, found.ap75] == pytest.approx(figures, abs=TOLERANCE)


def test_ap_of_yolo_fastest_from_its_darknet_files(
    data: Path, tmp_path: Path, coco_labels: list[str], measure: Measure
) -> None:
    """.cfg and .weights as they come out of training, on OpenCV 4."""
    bundle = write_yolo_fastest(tmp_path / "bundle", data, coco_labels)
    found = measure(bundle, ["opencv_dnn"], {"confidence": 0.05})
    figures = _reference(data, "yolo-fastest-1.1 darknet (cv2 4.14)")
    print(f"darknet on opencv_dnn: {found}, reference {figures}")
    assert [found.ap, found.ap50, found.ap75] == pytest.approx(figures, abs=TOLERANCE)
