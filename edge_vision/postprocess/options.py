"""The `output:` section of `model.yaml`: every output format there is."""

from typing import Annotated, TypeAlias

from pydantic import Field

from edge_vision.postprocess.anomaly import AnomalyOutput
from edge_vision.postprocess.classification import ClassificationOutput
from edge_vision.postprocess.ctc import CtcOutput
from edge_vision.postprocess.darknet import DarknetOutput
from edge_vision.postprocess.dbnet import DbnetOutput
from edge_vision.postprocess.detr import DetrOutput
from edge_vision.postprocess.embedding import EmbeddingOutput
from edge_vision.postprocess.end2end import End2endOutput
from edge_vision.postprocess.fastestdet import FastestdetOutput
from edge_vision.postprocess.nanodet import NanodetOutput
from edge_vision.postprocess.priors import PriorsOutput
from edge_vision.postprocess.scores_boxes import ScoresBoxesOutput
from edge_vision.postprocess.segmentation import SegmentationOutput
from edge_vision.postprocess.ssd import SsdOutput
from edge_vision.postprocess.yolo import Yolov5Output, Yolov8Output
from edge_vision.postprocess.yolo_obb import Yolov8ObbOutput
from edge_vision.postprocess.yolo_pose import Yolov8PoseOutput
from edge_vision.postprocess.yolo_seg import Yolov8SegOutput
from edge_vision.postprocess.yolov5_corners import Yolov5CornersOutput
from edge_vision.postprocess.yolox import YoloxOutput

OutputOptions: TypeAlias = Annotated[
    YoloxOutput
    | Yolov5Output
    | Yolov8Output
    | SsdOutput
    | ScoresBoxesOutput
    | PriorsOutput
    | DarknetOutput
    | Yolov5CornersOutput
    | CtcOutput
    | DbnetOutput
    | ClassificationOutput
    | EmbeddingOutput
    | SegmentationOutput
    | NanodetOutput
    | FastestdetOutput
    | DetrOutput
    | End2endOutput
    | Yolov8PoseOutput
    | Yolov8ObbOutput
    | AnomalyOutput
    | Yolov8SegOutput,
    Field(discriminator="format"),
]
