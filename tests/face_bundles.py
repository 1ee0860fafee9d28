"""Writes real bundles of networks that find faces, in several formats."""

from pathlib import Path
from typing import Any, Final

from bundles import write_bundle

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
