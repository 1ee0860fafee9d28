"""Writes real bundles of networks that find and read plates, codes and texts."""

import shutil
from pathlib import Path
from typing import Any, Final

from bundles import write_bundle


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
            "name": "plate_color",
            "task": "classification",
            "files": [{"path": "litemodel_cls_96x_r1.onnx", "format": "onnx"}],
            "input": {"size": [96, 96], "color": "bgr", "resize": "stretch", "scale": 1 / 255},
            "output": {"format": "classification"},
            "labels": ["blue", "green", "yellow"],  # numbers 0, 1, 2 of its common/typedef.py
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
