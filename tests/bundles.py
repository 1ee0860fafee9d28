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
