"""Examines the shipped detector file: runs it in ONNX Runtime and lets COCO's tool measure its precision."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scenes import INPUT_WH, Scene, letterbox

from edge_vision.capture.conveyor import LABELS

STRIDES = (8, 16, 32)
IOU = 0.45
LOWEST_SCORE = 0.01


@dataclass(frozen=True, slots=True)
class Marks:
    """The result of an examination: figures in 0..1, the time of one inference in milliseconds."""

    images: int
    map50: float
    map50_95: float
    infer_ms: float


class Detector:
    """The shipped file behind one call: picture in, boxes out (one thread, CPU)."""

    def __init__(self, path: Path) -> None:
        """Load the ONNX file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        places = [
            np.stack((*np.meshgrid(np.arange(INPUT_WH[0] // s), np.arange(INPUT_WH[1] // s)),), axis=2).reshape(-1, 2)
            for s in STRIDES
        ]
        self._stride = np.repeat(STRIDES, [len(place) for place in places])[:, None].astype(np.float32)
        self._place = np.concatenate(places).astype(np.float32)
        self.spent_ms: list[float] = []

    def detect(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Return xyxy float32 (n, 4) in pixels of `image`, score float32 (n,) and class int64 (n,)."""
        boxed, scale = letterbox(image)
        tensor = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], np.float32)
        start = time.perf_counter()
        raw = np.asarray(self._session.run(["output"], {"images": tensor})[0])[0]
        self.spent_ms.append((time.perf_counter() - start) * 1e3)
        scores = raw[:, 4:5] * raw[:, 5:]
        class_id, score = scores.argmax(axis=1), scores.max(axis=1)
        keep = score >= LOWEST_SCORE
        raw, class_id, score, stride = raw[keep], class_id[keep], score[keep], self._stride[keep]
        center, size = (raw[:, :2] + self._place[keep]) * stride, np.exp(raw[:, 2:4]) * stride
        xywh = np.concatenate((center - size / 2, size), axis=1) / scale
        kept = np.asarray(
            cv2.dnn.NMSBoxesBatched(xywh.tolist(), score.tolist(), class_id.tolist(), LOWEST_SCORE, IOU),
            np.int64,
        ).reshape(-1)
        boxes = np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), axis=1)[kept]
        height, width = image.shape[:2]
        boxes = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
        return boxes, score[kept], class_id[kept]


def examine(path: Path, scenes: Iterable[Scene]) -> Marks:
    """Run the detector over the scenes and compare with the truth."""
    detector = Detector(path)
    images, annotations, found = [], [], []
    for number, scene in enumerate(scenes, 1):
        images.append({"id": number, "height": scene.image.shape[0], "width": scene.image.shape[1]})
        for box, class_id in zip(scene.xyxy.tolist(), scene.class_id.tolist(), strict=True):
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": class_id, "iscrowd": 0}
            annotations.append({**entry, "bbox": _xywh(box), "area": _xywh(box)[2] * _xywh(box)[3]})
        for box, score, class_id in zip(*(column.tolist() for column in detector.detect(scene.image)), strict=True):
            found.append({"image_id": number, "category_id": class_id, "bbox": _xywh(box), "score": score})
    truth = COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(LABELS)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found) if found else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return Marks(
        len(images),
        float(evaluation.stats[1]),
        float(evaluation.stats[0]),
        float(np.median(detector.spent_ms)),
    )


def clip_scenes(path: Path, truth: Iterable[Scene]) -> Iterable[Scene]:
    """Pair the decoded frames of a video file with the truth of the frames it was made from."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        for scene in truth:
            read, image = video.read()
            if not read:
                msg = f"{path} ends early"
                raise RuntimeError(msg)
            yield Scene(np.asarray(image, np.uint8), scene.xyxy, scene.class_id)
    finally:
        video.release()


def _xywh(box: list[float]) -> list[float]:
    """Turn corner, corner into corner, size."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
