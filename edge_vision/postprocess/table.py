"""Which code decodes which output format: the whole list."""

from typing import Final

from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import Postprocessor
from edge_vision.postprocess.options import OutputOptions, Thresholds

FORMATS: Final = {
    "yolox": "edge_vision.postprocess.yolox:Yolox",
    "yolov5": "edge_vision.postprocess.yolo:Yolov5",
    "yolov8": "edge_vision.postprocess.yolo:Yolov8",
    "ssd": "edge_vision.postprocess.ssd:Ssd",
    "scores_boxes": "edge_vision.postprocess.scores_boxes:ScoresBoxes",
    "priors": "edge_vision.postprocess.priors:Priors",
    "darknet": "edge_vision.postprocess.darknet:Darknet",
}


def build_postprocessor(
    options: OutputOptions, thresholds: Thresholds, classes: int, model_wh: tuple[int, int]
) -> Postprocessor:
    """The decoder of an output format, for a model with so many classes and an input of `model_wh`."""
    postprocessor: Postprocessor = resolve(FORMATS[options.format])(options, thresholds, classes, model_wh)
    return postprocessor
