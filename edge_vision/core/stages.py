"""What every stage of a pipeline says of itself, so that a wrong order is found before anything runs."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field

from edge_vision.core.options import Fraction, Identifier, Integer, Number, Options, RelativePath

Fact: TypeAlias = Literal["box", "class", "keypoints", "quad", "mask", "text", "embedding", "track_id"]
"""What can be known of the objects in a scene: a column of the detections that stages need and give."""


class StageOptions(Options):
    """One stage of a pipeline; every kind of stage has these."""

    names_labels: ClassVar[tuple[str, ...]] = ("classes",)
    """The options that name labels, in a list or as keys."""
    covers: ClassVar[bool] = False
    """Whether it hands on a picture in which something is hidden: then what came before it is never stored."""

    name: Identifier | None = Field(None, description="What `expose` calls this stage; its kind if not given.")

    @property
    def needs(self) -> frozenset[Fact]:
        """What earlier stages must have found out."""
        return frozenset()

    def gives(self, model: frozenset[Fact]) -> frozenset[Fact]:
        """What later stages may count on; `model` is what the stage's model gives, nothing where it has none."""
        return model

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of what it finds without a model: they come after those that are there already."""
        return ()


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


class ModelStageOptions(StageOptions):
    """A stage that runs a model: which one, and how."""

    model: RelativePath = Field(description="Folder of the model bundle (holds model.yaml).")
    optional: bool = Field(False, description="Whether the stage is left out where no model is given.")
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
    timeout_s: Number = Field(10.0, gt=0, le=600, description="How long a frame may wait for a turn on the device.")

    def why_not(self, gives: frozenset[Fact], labels: tuple[str, ...]) -> str:
        """Why a model that gives these facts and has these labels has no place in this stage; empty where it has."""
        del gives, labels
        return ""

    def most_at_once(self, cameras: int) -> int:
        """How many pictures one inference may be given, on a site of so many cameras."""
        del cameras
        return 1

    @property
    def longest_wait_s(self) -> float:
        """How long a frame may wait for the device."""
        return self.timeout_s
