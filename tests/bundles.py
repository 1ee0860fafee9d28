"""Writes real model bundles for tests: one network in several formats, as a training team would hand it over."""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml
from conftest import yolox_bundle

ULTRAFACE_INPUT: Final[dict[str, Any]] = {
    "size": [320, 240], "color": "rgb", "resize": "stretch", "mean": [127, 127, 127], "std": [128, 128, 128],
}  # fmt: skip
PRIORS_OF_ULTRAFACE: Final[dict[str, Any]] = {
    "format": "priors",
    "strides": [8, 16, 32, 64],
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "clip": True,
}
"""Of UltraFace without its decoder: sizes and steps of its `vision/ssd/config/fd_config.py`."""
YUNET_OUTPUT: Final[dict[str, Any]] = {
    "format": "priors",
    "scores": "conf",
    "boxes": "loc",
    "iou": "iou",
    "keypoints": 5,
    "strides": [8, 16, 32, 64],
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "cells": "floor",
    "centers": "stride",
    "variances": [0.1, 0.1, 0.1, 0.2],  # of 2021: opencv_zoo multiplies width and height by the pair (0.1, 0.2)
}


_RAW: Final[dict[str, Any]] = {"output": PRIORS_OF_ULTRAFACE}
ULTRAFACE_FILES: Final[dict[str, dict[str, Any]]] = {
    "onnx decoded": {"path": "version-RFB-320.onnx", "format": "onnx"},
    "onnx raw": {"path": "version-RFB-320_without_postprocessing.onnx", "format": "onnx", **_RAW},
    "caffe": {"path": "RFB-320.prototxt", "format": "caffe", **_RAW},
    "tflite": {
        "path": "version-RFB-320_without_postprocessing.tflite",
        "format": "tflite",
        "input": {**ULTRAFACE_INPUT, "layout": "nhwc"},
        "output": {**PRIORS_OF_ULTRAFACE, "boxes": "Identity", "scores": "Identity_1"},
    },
    "openvino": {"path": "RFB-320_fp32.xml", "format": "openvino"},
    "ncnn": {"path": "RFB-320.param", "format": "ncnn"},
    "mnn": {"path": "RFB-320.mnn", "format": "mnn"},
}
"""The same weights in seven formats; ncnn and MNN are refused."""


def write_ultraface(folder: Path, data: Path, *formats: str) -> Path:
    """A bundle of UltraFace in the formats named, with copies of the real files."""
    return write_bundle(
        folder,
        data / "models/ultraface_rfb320",
        {
            "name": "ultraface",
            "files": [ULTRAFACE_FILES[name] for name in formats],
            "input": ULTRAFACE_INPUT,
            "output": {"format": "scores_boxes"},
            "labels": ["face"],
            "thresholds": {"confidence": 0.5, "iou": 0.3},
        },
    )


def write_yunet(folder: Path, data: Path) -> Path:
    """A bundle of YuNet of 2021: faces with five keypoints."""
    return write_bundle(
        folder,
        data / "models/yunet_120x160",
        {
            "name": "yunet",
            "files": [{"path": "face_detection_yunet_120x160.onnx", "format": "onnx"}],
            "input": {"size": [160, 120], "color": "bgr", "resize": "stretch"},
            "output": YUNET_OUTPUT,
            "labels": ["face"],
            "thresholds": {"confidence": 0.5, "iou": 0.3},
        },
    )


def write_vehicles(folder: Path, data: Path) -> Path:
    """A bundle of the int8 detector of vehicles and plates at a barrier."""
    return write_bundle(
        folder,
        data / "models/vehicle_lpd_0106_ir_int8",
        {
            "name": "vehicle-lpd-0106",
            "files": [
                {"path": "vehicle-license-plate-detection-barrier-0106.xml", "format": "openvino", "precision": "int8"}
            ],
            "input": {"size": [300, 300], "color": "bgr", "resize": "stretch"},
            "output": {"format": "ssd", "first_class": 1},
            "labels": ["vehicle", "plate"],
        },
    )


def write_wechat_qr(folder: Path, data: Path) -> Path:
    """A bundle of WeChat's detector of QR codes, in Caffe: gray pictures in 0..1."""
    return write_bundle(
        folder,
        data / "models/wechat_qr_caffe",
        {
            "name": "wechat-qr",
            "files": [{"path": "detect.prototxt", "format": "caffe"}],
            "input": {"size": [384, 384], "color": "gray", "resize": "stretch", "scale": 1 / 255},
            "output": {"format": "ssd", "first_class": 1},
            "labels": ["code"],
            "thresholds": {"confidence": 0.3, "iou": 0.45},
        },
    )


def write_bundle(folder: Path, models: Path, content: dict[str, Any]) -> Path:
    """A bundle whose files are copies of those of the same stem in `models`."""
    folder.mkdir(parents=True)
    for file in content["files"]:
        for part in models.glob(f"{Path(file['path']).stem}.*"):
            if not (folder / part.name).exists():
                shutil.copyfile(part, folder / part.name)
    whole = {"version": 1, "task": "detection", **content}
    (folder / "model.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    return folder


YOLOX_FILES: Final[dict[str, dict[str, Any]]] = {
    "onnx": {"path": "yolox_nano.onnx", "format": "onnx"},
    "openvino": {"path": "yolox_nano_fp32.xml", "format": "openvino"},
    "tflite": {"path": "yolox_nano_float16.tflite", "format": "tflite", "precision": "f16"},
    "tflite int8": {"path": "yolox_nano_dynrange.tflite", "format": "tflite", "precision": "int8"},
}
"""YOLOX-nano in four files; the TFLite ones take channels first too."""


def write_yolox(folder: Path, data: Path, labels: list[str], *formats: str) -> Path:
    """A bundle of YOLOX-nano in the formats named."""
    return write_bundle(
        folder,
        data / "models/yolox_nano",
        {**yolox_bundle(labels), "files": [YOLOX_FILES[name] for name in formats]},
    )


def write_yolo_fastest(folder: Path, data: Path, labels: list[str]) -> Path:
    """A bundle of Yolo-Fastest in Darknet's own files."""
    return write_bundle(
        folder,
        data / "models/yolo_fastest_darknet",
        {
            "name": "yolo_fastest",
            "files": [{"path": "yolo-fastest-1.1.cfg", "format": "darknet"}],
            "input": {"size": [320, 320], "color": "rgb", "resize": "stretch", "scale": 1 / 255},
            "output": {"format": "darknet"},
            "labels": labels,
            "thresholds": {"confidence": 0.3, "iou": 0.45},
        },
    )
