"""What a pipeline may say about running a model."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from edge_vision.core.options import Fraction, Integer, Number, Options, RelativePath
from edge_vision.inference.remote.options import RemoteOptions

BackendName: TypeAlias = Literal["tensorrt", "openvino", "onnxruntime", "litert", "torchscript", "opencv_dnn"]
Precision: TypeAlias = Literal["f32", "f16", "bf16", "int8"]


def _no_doubles(backends: tuple[BackendName, ...]) -> tuple[BackendName, ...]:
    double = next((name for name in backends if backends.count(name) > 1), None)
    if double is not None:
        msg = f"{double} is listed twice"
        raise ValueError(msg)
    return backends


Backends: TypeAlias = Annotated[tuple[BackendName, ...], Field(min_length=1), AfterValidator(_no_doubles)]
"""Names of runtimes in the order in which they are tried, each once."""


class BatchingOptions(Options):
    """Gathers frames of several cameras into one inference."""

    most: Integer = Field(8, ge=2, le=64, description="At most so many frames at once.")
    window_ms: Number = Field(5.0, ge=0, le=1000, description="How long the first frame waits for others.")
    always: bool = Field(False, description="Also where a measurement at start shows no gain.")


class DetectOptions(Options):
    """Runs a model on every frame: preprocess, inference, postprocess."""

    kind: Literal["detect"]
    name: str | None = Field(None, description="What `expose` calls this stage; its kind if not given.")
    model: RelativePath = Field(description="Folder of the model bundle (holds model.yaml).")
    confidence: Fraction | None = Field(None, description="Replaces the bundle's confidence threshold.")
    iou: Fraction | None = Field(None, description="Replaces the bundle's overlap threshold.")
    backends: Backends = Field(
        ("tensorrt", "openvino", "onnxruntime", "litert", "torchscript", "opencv_dnn"),
        description="Runtimes to try, in this order; the site's list if not given.",
    )
    device: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Device, in a runtime's words: CPU, GPU, NPU, AUTO, CUDA, OPENCL ...; default: each runtime's own.",
    )
    precision: Precision = Field(
        "f32", description="Arithmetic of the network; what is asked for or nothing. int8 takes quantized weights."
    )
    threads: Integer | None = Field(
        None, ge=1, le=256, description="CPU threads per inference; chosen from cores and cameras if not given."
    )
    remote: RemoteOptions | None = Field(
        None, description="Servers that are asked first; the runtimes of this machine stand in while none answers."
    )
    batching: BatchingOptions | None = Field(
        None, description="Frames of several cameras in one inference, where the model has a batch axis."
    )
    timeout_s: Number = Field(10.0, gt=0, le=600, description="How long a frame may wait for a turn on the device.")

    @property
    def longest_wait_s(self) -> float:
        """How long a frame may wait: for each server to connect and answer, for its batch, then for the device."""
        servers_s = 2 * self.remote.timeout_s * len(self.remote.urls) if self.remote else 0.0
        return servers_s + self.timeout_s * (2 if self.batching else 1)
