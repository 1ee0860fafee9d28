"""COCO average precision of quantized TFLite and of Darknet files, through the daemon, against the known answers.

ONNX, OpenVINO IR and TFLite in f16 are those of test_formats_ap.py.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from accuracy import daemon_ap
from bundles import write_yolo_fastest, write_yolox
from conftest import Start

TOLERANCE = 0.003


def _reference(data: Path, name: str) -> list[float]:
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    figures: list[float] = expected["ap"][name]["coco_det_ccby AP,AP50,AP75"]
    return figures


def test_ap_of_quantized_tflite(
    data: Path, tmp_path: Path, coco_labels: list[str], edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """YOLOX-nano with int8 weights, on LiteRT: that of the reference decoder on the same file."""
    bundle = write_yolox(tmp_path / "bundle", data, coco_labels, "tflite int8")
    measured = daemon_ap(data, bundle, edge_vision, write_site, "litert", precision="int8")
    reference = _reference(data, "yolox_nano_dynrange.tflite")
    print(f"TFLite int8 on litert: AP, AP50, AP75 {[round(one, 4) for one in measured]}, reference {reference}")
    assert measured == pytest.approx(reference, abs=TOLERANCE)


@pytest.mark.parametrize("backend", ["opencv_dnn"])
def test_ap_of_darknet_files(
    backend: str,
    data: Path,
    tmp_path: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """Yolo-Fastest in .cfg and .weights as they come out of training, on OpenCV 4."""
    bundle = write_yolo_fastest(tmp_path / "bundle", data, coco_labels)
    # The confidence and overlap of the reference (expected/detection_ap.json says how).
    measured = daemon_ap(data, bundle, edge_vision, write_site, backend, confidence=0.05, iou=0.45)
    reference = _reference(data, "yolo-fastest-1.1 darknet (cv2 4.14)")
    print(f"darknet on {backend}: AP, AP50, AP75 {[round(one, 4) for one in measured]}, reference {reference}")
    assert measured == pytest.approx(reference, abs=TOLERANCE)
