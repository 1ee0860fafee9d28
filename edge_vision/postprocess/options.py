"""The `output:` section of `model.yaml`: every output format there is."""

from typing import Annotated, TypeAlias

from pydantic import Field

from edge_vision.postprocess.anomaly import AnomalyOutput
from edge_vision.postprocess.classification import ClassificationOutput
from edge_vision.postprocess.darknet import DarknetOutput
from edge_vision.postprocess.embedding import EmbeddingOutput
from edge_vision.postprocess.priors import PriorsOutput
from edge_vision.postprocess.scores_boxes import ScoresBoxesOutput
from edge_vision.postprocess.segmentation import SegmentationOutput
from edge_vision.postprocess.ssd import SsdOutput
from edge_vision.postprocess.yolo import Yolov5Output, Yolov8Output
from edge_vision.postprocess.yolo_seg import Yolov8SegOutput
from edge_vision.postprocess.yolox import YoloxOutput

OutputOptions: TypeAlias = Annotated[
    YoloxOutput
    | Yolov5Output
    | Yolov8Output
    | SsdOutput
    | ScoresBoxesOutput
    | PriorsOutput
    | DarknetOutput
    | ClassificationOutput
    | EmbeddingOutput
    | SegmentationOutput
    | AnomalyOutput
    | Yolov8SegOutput,
    Field(discriminator="format"),
]
