"""Which code decodes which output format: the whole list."""

from collections.abc import Callable
from typing import Any, Final

from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.anomaly import Anomaly
from edge_vision.postprocess.classification import Classification
from edge_vision.postprocess.darknet import Darknet
from edge_vision.postprocess.embedding import Embedding
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.priors import Priors
from edge_vision.postprocess.scores_boxes import ScoresBoxes
from edge_vision.postprocess.segmentation import Segmentation
from edge_vision.postprocess.ssd import Ssd
from edge_vision.postprocess.yolo import Yolov5, Yolov8
from edge_vision.postprocess.yolo_seg import Yolov8Seg
from edge_vision.postprocess.yolox import Yolox

FORMATS: Final[dict[str, Callable[[Any, Thresholds, tuple[str, ...], tuple[int, int]], Postprocessor]]] = {
    "yolox": Yolox,
    "yolov5": Yolov5,
    "yolov8": Yolov8,
    "ssd": Ssd,
    "scores_boxes": ScoresBoxes,
    "priors": Priors,
    "darknet": Darknet,
    "classification": Classification,
    "embedding": Embedding,
    "segmentation": Segmentation,
    "anomaly": Anomaly,
    "yolov8_seg": Yolov8Seg,
}


def build_postprocessor(
    options: OutputOptions, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
) -> Postprocessor:
    """The decoder of an output format, for a model with these labels and an input of `model_wh`."""
    return FORMATS[options.format](options, thresholds, labels, model_wh)
