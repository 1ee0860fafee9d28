"""Which code decodes which output format: the whole list."""

from collections.abc import Callable
from typing import Any, Final

from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.anomaly import Anomaly
from edge_vision.postprocess.classification import Classification
from edge_vision.postprocess.ctc import Ctc
from edge_vision.postprocess.darknet import Darknet
from edge_vision.postprocess.dbnet import Dbnet
from edge_vision.postprocess.detr import Detr
from edge_vision.postprocess.embedding import Embedding
from edge_vision.postprocess.end2end import End2end
from edge_vision.postprocess.fastestdet import Fastestdet
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.nanodet import Nanodet
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.priors import Priors
from edge_vision.postprocess.scores_boxes import ScoresBoxes
from edge_vision.postprocess.segmentation import Segmentation
from edge_vision.postprocess.ssd import Ssd
from edge_vision.postprocess.yolo import Yolov5, Yolov8
from edge_vision.postprocess.yolo_obb import Yolov8Obb
from edge_vision.postprocess.yolo_pose import Yolov8Pose
from edge_vision.postprocess.yolo_seg import Yolov8Seg
from edge_vision.postprocess.yolov5_corners import Yolov5Corners
from edge_vision.postprocess.yolox import Yolox

FORMATS: Final[dict[str, Callable[[Any, Thresholds, tuple[str, ...], tuple[int, int]], Postprocessor]]] = {
    "yolox": Yolox,
    "yolov5": Yolov5,
    "yolov8": Yolov8,
    "ssd": Ssd,
    "scores_boxes": ScoresBoxes,
    "priors": Priors,
    "darknet": Darknet,
    "yolov5_corners": Yolov5Corners,
    "ctc": Ctc,
    "dbnet": Dbnet,
    "classification": Classification,
    "embedding": Embedding,
    "segmentation": Segmentation,
    "nanodet": Nanodet,
    "fastestdet": Fastestdet,
    "detr": Detr,
    "end2end": End2end,
    "yolov8_pose": Yolov8Pose,
    "yolov8_obb": Yolov8Obb,
    "anomaly": Anomaly,
    "yolov8_seg": Yolov8Seg,
}


def build_postprocessor(
    options: OutputOptions, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
) -> Postprocessor:
    """The decoder of an output format, for a model with these labels and an input of `model_wh`."""
    return FORMATS[options.format](options, thresholds, labels, model_wh)
