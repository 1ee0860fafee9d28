"""Which code drives which runtime, in the order of preference: the whole list."""

from typing import Final

from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import Backend

BACKENDS: Final = {
    "tensorrt": "edge_vision.inference.tensorrt.backend:TensorRt",
    "openvino": "edge_vision.inference.openvino:OpenVino",
    "onnxruntime": "edge_vision.inference.onnxruntime:OnnxRuntime",
    "litert": "edge_vision.inference.litert:LiteRt",
    "torchscript": "edge_vision.inference.torchscript:TorchScript",
    "opencv_dnn": "edge_vision.inference.opencv_dnn:OpenCvDnn",
}


def backend(name: str) -> Backend:
    """The runtime of that name."""
    made: Backend = resolve(BACKENDS[name])()
    return made
