"""COCO average precision through the daemon itself, in every format and on every runtime, against the known answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accuracy import daemon_ap
from bundles import write_yolo_fastest, write_yolox
from conftest import Start

CLOSE, NEAR = 0.002, 0.003


def _known(data: Path, name: str) -> list[float]:
    """AP, AP50 and AP75 as the reference decoder and pycocotools computed them."""
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    figures: list[float] = expected["ap"][name]["coco_det_ccby AP,AP50,AP75"]
    return figures


@pytest.mark.parametrize(
    "format_, backend",
    [
        ("onnx", "openvino"),
        ("onnx", "onnxruntime"),
        ("onnx", "opencv_dnn"),
        ("openvino", "openvino"),
        # OpenCV DNN reads TFLite too, but not this file: it takes the input of one for channels-last.
        ("tflite", "litert"),
        ("tflite", "openvino"),
    ],
)
def test_yolox_nano_has_the_ap_of_its_onnx_file(
    format_: str,
    backend: str,
    data: Path,
    tmp_path: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """From picture files to JSON lines, in every format and on every runtime that reads it."""
    bundle = write_yolox(tmp_path / "yolox_nano", data, coco_labels, format_)
    measured = daemon_ap(data, bundle, edge_vision, write_site, backend)
    known = _known(data, "yolox_nano.onnx")
    print(f"{format_} on {backend}: AP, AP50, AP75 {[round(one, 4) for one in measured]}, known {known}")
    assert measured == pytest.approx(known, abs=CLOSE if format_ == "onnx" else NEAR)


def test_ap_of_quantized_tflite(
    data: Path, tmp_path: Path, coco_labels: list[str], edge_vision: Start, write_site: Callable[..., Path]
) -> None:
    """YOLOX-nano with int8 weights, on LiteRT: that of the reference decoder on the same file."""
    bundle = write_yolox(tmp_path / "bundle", data, coco_labels, "tflite int8")
    measured = daemon_ap(data, bundle, edge_vision, write_site, "litert", precision="int8")
    known = _known(data, "yolox_nano_dynrange.tflite")
    print(f"TFLite int8 on litert: AP, AP50, AP75 {[round(one, 4) for one in measured]}, known {known}")
    assert measured == pytest.approx(known, abs=NEAR)


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
    known = _known(data, "yolo-fastest-1.1 darknet (cv2 4.14)")
    print(f"darknet on {backend}: AP, AP50, AP75 {[round(one, 4) for one in measured]}, known {known}")
    assert measured == pytest.approx(known, abs=NEAR)


def _yolox(format_: str) -> Callable[[Path, Path, list[str]], Path]:
    return lambda folder, data, labels: write_yolox(folder, data, labels, format_)


@pytest.mark.parametrize(
    "name, write, backend, settings",
    [
        ("yolox_nano.onnx", _yolox("onnx"), "onnxruntime", {}),
        ("yolox_nano IR f32 hint", _yolox("openvino"), "openvino", {}),
        ("yolox_nano_float16.tflite", _yolox("tflite"), "litert", {}),
        ("yolox_nano_dynrange.tflite", _yolox("tflite int8"), "litert", {"precision": "int8"}),
    ],
)
def test_ap_of_people(
    name: str,
    write: Callable[..., Path],
    backend: str,
    settings: dict[str, Any],
    data: Path,
    tmp_path: Path,
    coco_labels: list[str],
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """On other pictures, which have labels of people only."""
    bundle = write(tmp_path / "bundle", data, coco_labels)
    measured = daemon_ap(data, bundle, edge_vision, write_site, backend, "coco_person_kpt_ccby", **settings)
    expected = json.loads((data / "expected/detection_ap.json").read_text())
    known = expected["ap"][name]["coco_person_kpt_ccby person AP,AP50,AP75"]
    print(f"{name} on {backend}: AP, AP50, AP75 {[round(one, 4) for one in measured]}, known {known}")
    assert measured == pytest.approx(known, abs=CLOSE)
