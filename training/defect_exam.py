"""Examines the defect model: pixels against pixels, and parts judged OK or NG by the product's own rules.

The file runs in ONNX Runtime; decoding and judging are those of the package, so that what is measured is what is
shipped. A part is judged from one view, as a still picture gives it; on a line the `inspect` stage votes over many.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from defect_scenes import INPUT_WH, Scene
from numpy.typing import NDArray

from edge_vision.analytics.inspect_rules import RuleOptions, rules_of, view_of
from edge_vision.capture.conveyor import SURFACES
from edge_vision.capture.conveyor_defects import DEFECTS
from edge_vision.core.detections import Detections
from edge_vision.core.geometry import Letterbox
from edge_vision.core.scene import Scene as Seen
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.segmentation import Segmentation, SegmentationOutput
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions
from edge_vision.testing.fakes import make_frame

INPUT = InputOptions(size=INPUT_WH, color="bgr", anchor="top_left", mean=(96.0,) * 3, std=(64.0,) * 3)
OUTPUT = SegmentationOutput(
    format="segmentation", activation="sigmoid", overlapping=True, pixel_threshold=0.3, min_cells=4
)
THRESHOLDS = Thresholds(confidence=0.5)
RULES = RuleOptions(parts=("part",), max_coverage=0.006)
EDGE_PX = 2
"""Parts nearer than this to the edge of the picture may be cut off and are not judged."""
_SAME_PART = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """A part that was judged wrong: its picture, BGR, and what was said."""

    image: NDArray[np.uint8]
    truth: str
    said: str


@dataclass(slots=True)
class Marks:
    """The result of an examination.

    `confusion` is by kind of part (OK or the defect) and what was said (OK, NG, or not found).
    """

    images: int = 0
    common: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SURFACES, 0))
    union: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SURFACES, 0))
    confusion: dict[str, dict[str, int]] = field(
        default_factory=lambda: {kind: {"OK": 0, "NG": 0, "missed": 0} for kind in ("OK", *DEFECTS)}
    )
    extra: int = 0
    infer_ms: float = 0.0
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def iou(self) -> dict[str, float]:
        """The overlap of the pixels of each label with the true ones."""
        return {name: self.common[name] / max(self.union[name], 1) for name in SURFACES}

    @property
    def parts(self) -> int:
        """How many parts were to be judged."""
        return sum(sum(row.values()) for row in self.confusion.values())

    @property
    def accuracy(self) -> float:
        """The share of parts that were found and judged right; what was found and is none counts as wrong."""
        right = self.confusion["OK"]["OK"] + sum(self.confusion[kind]["NG"] for kind in DEFECTS)
        return right / max(self.parts + self.extra, 1)

    def __str__(self) -> str:
        overlaps = ", ".join(f"{name} {value:.3f}" for name, value in self.iou.items())
        return (
            f"{self.images} pictures, {self.parts} parts: accuracy {self.accuracy:.4f}; {self.confusion}, "
            f"{self.extra} found that are none; IoU {overlaps}; {self.infer_ms:.1f} ms"
        )


class Segmenter:
    """The shipped file behind one call: picture in, regions out (one thread, CPU)."""

    def __init__(self, path: Path) -> None:
        """Load the ONNX file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._preprocess = LetterboxPreprocessor(INPUT, "images")
        self._decode = Segmentation(OUTPUT, THRESHOLDS, SURFACES, INPUT_WH)
        self.spent_ms: list[float] = []

    def __call__(self, image: NDArray[np.uint8]) -> tuple[Detections, NDArray[np.bool_]]:
        """The regions, and which pixels belong to each label, bool (labels, h, w)."""
        model_input = self._preprocess(image)
        start = time.perf_counter()
        tensors: dict[str, Any] = {"logits": self._session.run(["logits"], dict(model_input.tensors))[0]}
        self.spent_ms.append((time.perf_counter() - start) * 1e3)
        box: Letterbox = model_input.letterbox
        shown = tensors["logits"][0, :, : box.resized_wh[1] // 2, : box.resized_wh[0] // 2]
        height, width = image.shape[:2]
        pixels = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) > 0 for plane in shown])
        return self._decode(tensors, box), pixels


def examine(path: Path, scenes: Iterable[Scene], rules: RuleOptions = RULES) -> Marks:
    """Run the model over the scenes and compare with the truth."""
    segmenter, marks = Segmenter(path), Marks()
    for scene in scenes:
        found, pixels = segmenter(scene.image)
        marks.images += 1
        true = np.stack([scene.surfaces > 0, *(scene.surfaces == 2 + defect for defect in range(len(DEFECTS)))])
        for name, ours, theirs in zip(SURFACES, pixels, true, strict=True):
            marks.common[name] += int((ours & theirs).sum())
            marks.union[name] += int((ours | theirs).sum())
        _judge(marks, scene, found, rules)
    marks.infer_ms = float(np.median(segmenter.spent_ms))
    return marks


def _judge(marks: Marks, scene: Scene, found: Detections, rules: RuleOptions) -> None:
    """Judge each part that lies wholly in the picture."""
    seen = Seen(make_frame(scene.image), found, labels=SURFACES)
    view = view_of(seen, found.class_id == 0)
    bad = np.zeros(len(view.parts), bool)
    for rule in rules_of(rules, SURFACES):
        bad |= rule.broken(rule.figure(view))
    height, width = scene.image.shape[:2]
    overlap = _ious(scene.truth.xyxy, view.parts.xyxy)
    for row, box in enumerate(scene.truth.xyxy):
        if box[:2].min() < EDGE_PX or box[2] > width - EDGE_PX or box[3] > height - EDGE_PX:
            continue
        defect = int(scene.truth.defect_id[row])
        kind = "OK" if defect < 0 else DEFECTS[defect]
        same = np.flatnonzero(overlap[row] >= _SAME_PART)
        said = "missed" if len(same) == 0 else "NG" if bad[same[0]] else "OK"
        marks.confusion[kind][said] += 1
        if said != ("OK" if defect < 0 else "NG"):
            left, top, right, bottom = (int(side) for side in (*np.maximum(box[:2] - 8, 0), *(box[2:] + 8)))
            marks.mistakes.append(Mistake(scene.image[top:bottom, left:right].copy(), kind, said))
    # What is cut off by the edge, in the truth or not, was not asked for.
    boxes = view.parts.xyxy
    inside = (boxes[:, :2] >= EDGE_PX).all(axis=1) & (boxes[:, 2:] <= (width - EDGE_PX, height - EDGE_PX)).all(axis=1)
    marks.extra += int((inside & (overlap.max(axis=0, initial=0) < _SAME_PART)).sum())


def _ious(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The overlap of boxes (n, 4) and (m, 4), (n, m)."""
    corner = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    common = np.clip(np.minimum(ours[:, None, 2:], theirs[None, :, 2:]) - corner, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (ours, theirs)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-6), np.float32)
