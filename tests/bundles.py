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


def write_plates(folder: Path, data: Path) -> Path:
    """A bundle of HyperLPR's detector of plates with their four corners."""
    return write_bundle(
        folder,
        data / "models/plate_y5fu_320",
        {
            "name": "plate_y5fu",
            "files": [{"path": "y5fu_320x_sim.onnx", "format": "onnx"}],
            "input": {"size": [320, 320], "color": "rgb", "scale": 1 / 255},
            "output": {"format": "yolov5_corners"},
            "labels": ["single_row", "double_row"],
            "thresholds": {"confidence": 0.5, "iou": 0.45},
        },
    )


def write_lprnet(folder: Path, data: Path, **output: Any) -> Path:
    """A bundle of LPRNet, which reads plates; `output` adds to its section of that name."""
    bundle = write_bundle(
        folder,
        data / "models/lprnet",
        {
            "name": "lprnet",
            "task": "recognition",
            "files": [{"path": "lprnet.onnx", "format": "onnx"}],
            "input": {"size": [94, 24], "color": "bgr", "resize": "stretch", "mean": [127.5] * 3, "std": [128] * 3},
            "output": {"format": "ctc", "layout": "nct", "blank": 67, **output},
            "labels_file": "chars.txt",
        },
    )
    shutil.copyfile(data / "models/lprnet/chars.txt", bundle / "chars.txt")
    return bundle


def write_plate_color(folder: Path, data: Path) -> Path:
    """A bundle of HyperLPR's classifier of plate colors."""
    return write_bundle(
        folder,
        data / "models/plate_color_cls",
        {
            "name": "plate-color",
            "task": "classification",
            "files": [{"path": "litemodel_cls_96x_r1.onnx", "format": "onnx"}],
            "input": {"size": [96, 96], "color": "bgr", "resize": "stretch", "scale": 1 / 255},
            "output": {"format": "classification"},
            "labels": ["blue", "green", "yellow"],
        },
    )


_OCR: Final = "models/ppocr_mobile_v2"
_OCR_INPUT: Final[dict[str, Any]] = {
    "color": "bgr", "resize": "fit_height", "pad_value": 127, "scale": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3
}  # fmt: skip
"""Of PaddleOCR's readers, whose zero padding is the middle gray."""


def write_dbnet(folder: Path, data: Path, size: tuple[int, int] = (960, 960)) -> Path:
    """A bundle of PaddleOCR's detector of lines of text, with the ImageNet figures on BGR, as its own tools have it."""
    return write_bundle(
        folder,
        data / _OCR,
        {
            "name": "ppocr-det",
            "files": [{"path": "ch_ppocr_mobile_v2.0_det_infer.onnx", "format": "onnx"}],
            "input": {
                "size": list(size), "color": "bgr", "pad_value": 0, "anchor": "top_left", "scale": 1 / 255,
                "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
            },
            "output": {"format": "dbnet", "unclip": 2.0},
            "labels": ["line"],
            "thresholds": {"confidence": 0.5},
        },
    )  # fmt: skip


def write_direction(folder: Path, data: Path) -> Path:
    """A bundle of PaddleOCR's classifier of lines that stand on their head."""
    return write_bundle(
        folder,
        data / _OCR,
        {
            "name": "ppocr-cls",
            "task": "classification",
            "files": [{"path": "ch_ppocr_mobile_v2.0_cls_infer.onnx", "format": "onnx"}],
            "input": {"size": [192, 48], **_OCR_INPUT},
            "output": {"format": "classification"},
            "labels": ["0", "180"],
        },
    )


def write_reader(folder: Path, data: Path, width: int = 320, **output: Any) -> Path:
    """A bundle of PaddleOCR's reader of English; `output` adds to its section of that name."""
    bundle = write_bundle(
        folder,
        data / _OCR,
        {
            "name": "ppocr-rec",
            "task": "recognition",
            "files": [{"path": "en_number_mobile_v2.0_rec_infer.onnx", "format": "onnx"}],
            "input": {"size": [width, 32], **_OCR_INPUT},
            "output": {"format": "ctc", "space": True, "activation": "none", **output},
            "labels_file": "en_dict.txt",
            "thresholds": {"confidence": 0.5},
        },
    )
    shutil.copyfile(data / _OCR / "en_dict.txt", bundle / "en_dict.txt")
    return bundle


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
