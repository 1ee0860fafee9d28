"""Writes real model bundles for tests: one network in several formats, as a training team would hand it over."""

import shutil
from pathlib import Path
from typing import Any, Final

import yaml
from conftest import yolox_bundle


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


def write_nanodet(folder: Path, data: Path, labels: list[str]) -> Path:
    """A bundle of NanoDet-m at 320, mean and std as its configuration has them."""
    return write_bundle(
        folder,
        data / "models/nanodet_m_320",
        {
            "name": "nanodet_m_320",
            "files": [{"path": "nanodet_m_320.onnx", "format": "onnx"}],
            "input": {
                "size": [320, 320], "color": "bgr", "resize": "letterbox", "anchor": "center", "pad_value": 0,
                "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395],
            },
            "output": {"format": "nanodet", "strides": [8, 16, 32], "bins": 8},
            "labels": labels,
            "thresholds": {"confidence": 0.35, "iou": 0.6},
        },
    )  # fmt: skip


def write_fastestdet(folder: Path, data: Path, labels: list[str]) -> Path:
    """A bundle of FastestDet; its `coco.names` spells some labels Darknet's way, so that COCO's are given."""
    return write_bundle(
        folder,
        data / "models/fastestdet",
        {
            "name": "fastestdet",
            "files": [{"path": "FastestDet.onnx", "format": "onnx"}],
            "input": {
                "size": [352, 352], "color": "bgr", "resize": "stretch", "interpolation": "area", "scale": 1 / 255,
            },
            "output": {"format": "fastestdet"},
            "labels": labels,
            "thresholds": {"confidence": 0.35, "iou": 0.45},
        },
    )  # fmt: skip


def write_road(folder: Path, data: Path) -> Path:
    """A bundle of a road's segmentation: scores of four classes per pixel, channels last."""
    return write_bundle(
        folder,
        data / "models/road_seg_adas_0001",
        {
            "name": "road-segmentation-adas-0001",
            "task": "segmentation",
            "files": [{"path": "road-segmentation-adas-0001.onnx", "format": "onnx"}],
            "input": {"size": [896, 512], "color": "bgr", "resize": "stretch", "layout": "nhwc"},
            "output": {"format": "segmentation", "layout": "nhwc", "background": 0, "regions": False},
            "labels": ["background", "road", "curb", "mark"],
        },
    )


def write_deeplab(folder: Path, data: Path) -> Path:
    """A bundle of DeepLab, quantized: class numbers of Pascal VOC per pixel."""
    models = data / "models/deeplab_dm05_tflite"
    names = (models / "pascal_voc_segmentation_labels.txt").read_text().split("\n")
    return write_bundle(
        folder,
        models,
        {
            "name": "deeplab_dm05",
            "task": "segmentation",
            "files": [
                {"path": "deeplabv3_mnv2_dm05_pascal_quant.tflite", "format": "tflite", "precision": "int8"},
            ],
            "input": {"size": [513, 513], "layout": "nhwc", "dtype": "uint8", "pad_value": 128},
            "output": {"format": "segmentation", "layout": "map", "background": 0, "min_cells": 400},
            "labels": names[:21],  # behind them is prose
        },
    )


def write_mobilenet(folder: Path, data: Path) -> Path:
    """A bundle of a quantized MobileNet: the 1001 classes of ImageNet, 0 the background."""
    models = data / "models/mobilenet_v1_025_128"
    write_bundle(
        folder,
        models,
        {
            "name": "mobilenet_v1_025_128",
            "task": "classification",
            "files": [{"path": "mobilenet_v1_0.25_128_quant.tflite", "format": "tflite", "precision": "int8"}],
            "input": {"size": [128, 128], "resize": "stretch", "layout": "nhwc", "dtype": "uint8"},
            "output": {"format": "classification", "top_k": 5},
            "labels_file": "imagenet_labels.txt",
            "thresholds": {"confidence": 0.02},
        },
    )
    shutil.copyfile(models / "imagenet_labels.txt", folder / "imagenet_labels.txt")
    return folder


VWW_FILES: Final[dict[str, dict[str, Any]]] = {
    "float": {"path": "vww_96_float.tflite", "format": "tflite"},
    "int8": {"path": "vww_96_int8.tflite", "format": "tflite", "precision": "int8"},
}


def write_vww(folder: Path, data: Path, *formats: str) -> Path:
    """A bundle of MLPerf Tiny's visual wake words: whether a person is in the picture."""
    return write_bundle(
        folder,
        data / "models/vww_person_96",
        {
            "name": "vww_person_96",
            "task": "classification",
            "files": [VWW_FILES[name] for name in formats],
            "input": {"size": [96, 96], "resize": "stretch", "layout": "nhwc", "scale": 1 / 255},
            "output": {"format": "classification"},
            "labels": ["no person", "person"],
        },
    )


def write_reid(folder: Path, data: Path) -> Path:
    """A bundle that describes what a person looks like: a vector of 256 numbers, no labels."""
    return write_bundle(
        folder,
        data / "models/reid_0288",
        {
            "name": "person-reidentification-retail-0288",
            "task": "embedding",
            "files": [{"path": "person-reidentification-retail-0288.onnx", "format": "onnx"}],
            "input": {"size": [128, 256], "color": "bgr", "resize": "stretch", "layout": "nhwc"},
            "output": {"format": "embedding"},
        },
    )


def write_pedestrians(folder: Path, data: Path) -> Path:
    """A bundle of the detector of pedestrians, an IR with weights in f16."""
    return write_bundle(
        folder,
        data / "models/pedestrian_adas_0002_ir",
        {
            "name": "pedestrian-adas-0002",
            "files": [{"path": "pedestrian-detection-adas-0002.xml", "format": "openvino", "precision": "f16"}],
            "input": {"size": [672, 384], "color": "bgr", "resize": "stretch"},
            "output": {"format": "ssd", "first_class": 1},
            "labels": ["person"],
        },
    )
