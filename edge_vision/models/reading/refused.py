"""Formats that are recognized and not taken: why, and what to ask for instead."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """A format by its name in prose, why it is not taken, and what to do instead."""

    title: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.title} is not taken: {self.reason}; {self.remedy}"


_FROM_ITS_MAKER: Final = "export ONNX from the framework it was trained in"

REFUSED: Final = {
    "ncnn": Refusal(
        "ncnn (.param and .bin)",
        "no runtime here reads it, and its layers are already rewritten for its own",
        f"{_FROM_ITS_MAKER}; most projects that give ncnn files give the ONNX file they were made of",
    ),
    "mnn": Refusal(
        "MNN (.mnn)",
        "no runtime here reads it, and its layers are already rewritten for its own",
        f"{_FROM_ITS_MAKER}; most projects that give MNN files give the ONNX file they were made of",
    ),
    "coreml": Refusal(
        "CoreML (.mlmodel, .mlpackage)",
        "it runs on Apple's systems only",
        f"{_FROM_ITS_MAKER}: the conversion to CoreML started from there too",
    ),
    "tfjs": Refusal(
        "TensorFlow.js (model.json)",
        "it runs in browsers, and its weights may have been made coarser for the download",
        "export a SavedModel or TFLite from the model it was made of (tf.saved_model.save)",
    ),
    "mxnet": Refusal(
        "MXNet (-symbol.json and .params)",
        "the project was closed in 2023 and no runtime here reads it",
        "export ONNX with mxnet.onnx.export_model, where MXNet 1.9 still runs",
    ),
    "pytorch": Refusal(
        "A PyTorch checkpoint (.pt, .pth)",
        "it holds weights without the network, and opening it would run whatever code is written in it",
        "export it in the training project, where its classes are: torch.onnx.export, or torch.jit.trace and save",
    ),
    "torch_export": Refusal(
        "A program of torch.export (.pt2)",
        "no runtime here reads it",
        "export ONNX with torch.onnx.export(..., dynamo=True), which takes the same program",
    ),
    "executorch": Refusal(
        "ExecuTorch (.pte)",
        "no runtime here reads it",
        "export ONNX with torch.onnx.export from the same PyTorch model",
    ),
    "pickle": Refusal(
        "A Python pickle",
        "opening it would run whatever code is written in it",
        "export ONNX from the program that wrote it",
    ),
    "safetensors": Refusal(
        "safetensors",
        "it holds weights without the network",
        "export ONNX from the program that loads it",
    ),
    "keras": Refusal(
        "Keras (.h5, .keras)",
        "it is opened by Keras only, and may carry code of its own layers",
        "export it with model.export(FOLDER), which writes a SavedModel, or with tf.lite.TFLiteConverter",
    ),
    "tf_checkpoint": Refusal(
        "A TensorFlow checkpoint (.ckpt, .index, .data, .meta)",
        "it holds variables of a training, not a network to run",
        "export a SavedModel (tf.saved_model.save) or a frozen graph",
    ),
    "edgetpu": Refusal(
        "TFLite compiled for the Edge TPU (_edgetpu.tflite)",
        "its operator edgetpu-custom-op runs on that device, for which there is no runtime here",
        "take the .tflite file that the Edge TPU compiler was given: it is the same network",
    ),
    "openvino_old": Refusal(
        "OpenVINO IR before version 10",
        "OpenVINO refuses it",
        "convert the original model again with ovc",
    ),
    "paddle_json": Refusal(
        "Paddle 3 (.json)",
        "neither OpenVINO nor OpenCV reads it",
        "export with FLAGS_enable_pir_api=0, which writes .pdmodel, or convert it with paddle2onnx",
    ),
    "archive": Refusal(
        "An archive",
        "a model is loaded from files that can be mapped into memory",
        "unpack it first",
    ),
}
"""By the name `recognize` gives them, which is also what `files[].format` of a model.yaml may try."""

ALIASES: Final = {
    "checkpoint": "pytorch",
    "core_ml": "coreml",
    "edge_tpu": "edgetpu",
    "h5": "keras",
    "hdf5": "keras",
    "mlmodel": "coreml",
    "mlpackage": "coreml",
    "pt": "pytorch",
    "pte": "executorch",
    "pth": "pytorch",
    "pytorch_checkpoint": "pytorch",
    "tf.js": "tfjs",
    "tensorflow.js": "tfjs",
    "tensorflowjs": "tfjs",
}
"""What people write for them."""


def refusal(name: str) -> Refusal | None:
    """The refusal of a format by the name someone gave it; None for one that is not in the table."""
    word = name.strip().lower().lstrip(".").replace("-", "_")
    return REFUSED.get(ALIASES.get(word, word))
