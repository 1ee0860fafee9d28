"""What `model.yaml` may say."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from edge_vision.core.options import Fraction, Integer, Options
from edge_vision.core.stages import Fact
from edge_vision.models.reading.refused import refusal
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.preprocess.options import InputOptions

FORMATS = (
    "onnx", "openvino", "tensorrt", "tflite", "tensorflow", "savedmodel", "paddle", "caffe", "darknet", "torch7",
    "torchscript",
)  # fmt: skip
COMPANIONS: Final = {
    "openvino": (".xml", ".bin"),
    "paddle": (".pdmodel", ".pdiparams"),
    "caffe": (".prototxt", ".caffemodel"),
    "darknet": (".cfg", ".weights"),
}
"""The formats that come as two files: the network, which `path` names, and its weights."""


def _inside(path: str) -> str:
    if "\0" in path:
        msg = "a path cannot contain the character 0"
        raise ValueError(msg)
    parts = PurePosixPath(path).parts
    if PurePosixPath(path).is_absolute() or ".." in parts:
        msg = "must lie inside the bundle: a relative path without .."
        raise ValueError(msg)
    return path


class WeightsFile(Options):
    """One file of weights."""

    path: str = Field(
        min_length=1,
        description="The file, relative to the bundle; of a format with two the network: .xml, .pdmodel, .prototxt, "
        ".cfg; for savedmodel a folder.",
    )
    weights: str | None = Field(
        None, min_length=1, description="The file with the weights, where a format has two; default: the same stem."
    )
    format: Literal[
        "onnx",
        "openvino",
        "tensorrt",
        "tflite",
        "tensorflow",
        "savedmodel",
        "paddle",
        "caffe",
        "darknet",
        "torch7",
        "torchscript",
    ] = Field(description="What the file is; decides which runtimes can read it. tensorflow is a frozen graph.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Of `path`; checked when given.")
    weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="The same of the weights.")
    precision: Literal["f32", "f16", "int8"] = Field("f32", description="Precision of the weights in this file.")
    made: str | None = Field(None, description="What made this file of another one of the bundle, and how.")
    input: InputOptions | None = Field(None, description="The input of this file, where it is not the bundle's.")
    output: OutputOptions | None = Field(None, description="The output of this file, where it is not the bundle's.")

    @field_validator("format", mode="before")
    @classmethod
    def _say_why_refused(cls, name: Any) -> Any:
        if isinstance(name, str) and (why := refusal(name)) is not None:
            raise ValueError(str(why))
        return name

    @field_validator("path", "weights")
    @classmethod
    def _stays_inside(cls, path: str | None) -> str | None:
        return None if path is None else _inside(path)

    @model_validator(mode="after")
    def _two_files_where_there_are_two(self) -> "WeightsFile":
        if self.format not in COMPANIONS and (self.weights or self.weights_sha256):
            msg = f"format {self.format} is one file: weights and weights_sha256 belong to {', '.join(COMPANIONS)}"
            raise ValueError(msg)
        return self

    @property
    def companion(self) -> str | None:
        """The path of the second file inside the bundle; None for a format that has one."""
        if self.format not in COMPANIONS or self.weights is not None:
            return self.weights
        return str(PurePosixPath(self.path).with_suffix(COMPANIONS[self.format][1]))


class Provenance(Options):
    """Where a model comes from."""

    framework: str | None = Field(None, description="What it was trained with.")
    framework_version: str | None = Field(None, description="And which version of it.")
    opset: Integer | None = Field(None, ge=1, description="ONNX operator set of the export.")
    license: str | None = Field(None, description="License of the weights.")
    url: str | None = Field(None, description="Where they were taken from.")
    script: str | None = Field(None, description="What made them.")
    file: str | None = Field(None, description="Name of the file that was imported.")
    imported_with: str | None = Field(None, description="What imported it, with versions.")
    assumed: tuple[str, ...] = Field((), description="Keys whose values no file told and nobody has confirmed.")
    tried: tuple[str, ...] = Field((), description="What became of the axes that the file leaves open.")


class Evaluation(Options):
    """How well a model did, on what, and the command that shows it again."""

    data: str = Field(description="What it was measured on.")
    images: Integer = Field(ge=1, description="On how many pictures.")
    map50: Fraction | None = Field(None, description="Mean average precision at an overlap of 0.5.")
    map50_95: Fraction | None = Field(None, description="Mean over overlaps from 0.5 to 0.95.")
    iou: dict[str, Fraction] | None = Field(
        None, description="Of a model that segments: for each label the overlap of its pixels with the true ones."
    )
    accuracy: Fraction | None = Field(None, description="Share of pictures, or of parts, that were judged right.")
    confusion: dict[str, dict[str, Integer]] | None = Field(
        None, description="How many of each kind, by what they are, were taken for what."
    )
    command: str | None = Field(None, description="What measures it again.")


class Tolerance(Options):
    """How far a runtime may be from the reference, over all golden pictures together.

    An object is found again by one of its class that overlaps it by half or more: mask and mask where there are masks,
    else box and box. Objects within `score_diff` of the confidence threshold may come and go.
    """

    score_diff: Fraction = Field(description="Greatest difference of the scores of an object found again.")
    mean_iou: Fraction = Field(description="Least mean overlap of the objects found again.")
    point_error: Fraction = Field(description="Greatest distance of a keypoint or corner, as part of the diagonal.")
    missed: Fraction = Field(description="Greatest part of the reference's objects that may be missed.")
    extra: Fraction = Field(description="Greatest number of objects the reference has not, as part of its objects.")
    quality: Fraction = Field(description="Least panoptic quality: overlaps over found, half missed and half extra.")
    text_diff: Fraction = Field(0.0, description="Greatest edit distance of the texts, as part of their characters.")
    embedding_distance: Fraction = Field(0.001, description="Greatest cosine distance of an embedding.")
    attribute_diff: Fraction = Field(0.02, description="Greatest mean difference of an attribute; relative above 1.")


_STRICT = Tolerance(score_diff=0.02, mean_iou=0.99, point_error=0.01, missed=0.0, extra=0.0, quality=0.98)
_HALF = Tolerance(
    score_diff=0.05, mean_iou=0.97, point_error=0.02, missed=0.02, extra=0.02, quality=0.95,
    text_diff=0.01, embedding_distance=0.002, attribute_diff=0.05,
)  # fmt: skip
_BRAIN = Tolerance(
    score_diff=0.15, mean_iou=0.94, point_error=0.04, missed=0.05, extra=0.05, quality=0.90,
    text_diff=0.02, embedding_distance=0.01, attribute_diff=0.10,
)  # fmt: skip
_QUANTIZED = Tolerance(
    score_diff=0.25, mean_iou=0.90, point_error=0.06, missed=0.10, extra=0.10, quality=0.80,
    text_diff=0.05, embedding_distance=0.05, attribute_diff=0.15,
)  # fmt: skip


class Parity(Options):
    """What is allowed at each precision; see docs/adr/008 for where the defaults come from."""

    f32: Tolerance = Field(_STRICT, description="f32 arithmetic on f32 weights.")
    f16: Tolerance = Field(_HALF, description="Arithmetic or weights in f16.")
    bf16: Tolerance = Field(_BRAIN, description="Arithmetic in bf16.")
    int8: Tolerance = Field(_QUANTIZED, description="Weights quantized to int8.")


_TASKS: Final[dict[str, tuple[frozenset[Fact], frozenset[Fact]]]] = {
    "embedding": (frozenset({"embedding"}), frozenset()),
    "recognition": (frozenset({"text"}), frozenset()),
    "segmentation": (frozenset({"mask"}), frozenset()),
    "anomaly": (frozenset({"mask"}), frozenset()),
    "detection": (frozenset({"box"}), frozenset()),
    "classification": (frozenset({"class"}), frozenset({"box"})),
}
"""What the output format must give for each task, and what it must not."""


class BundleFile(Options):
    """A model bundle: a folder with `model.yaml` and weights."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="Name of the model, as it appears in every message."
    )
    task: Literal["detection", "classification", "segmentation", "anomaly", "recognition", "embedding"] = Field(
        description="What the model does; the output format must give what that needs. recognition reads text."
    )
    files: tuple[WeightsFile, ...] = Field(min_length=1, description="The same weights, in one or more formats.")
    input: InputOptions = Field(description="How a picture becomes the network's input.")
    output: OutputOptions = Field(description="How the network's output becomes detections.")
    labels: tuple[str, ...] | None = Field(
        None, min_length=1, description="Names of the classes, in order; the characters of a model that reads."
    )
    labels_file: str | None = Field(
        None, description="The same, one per line, relative to the bundle; a blank may be one of the characters."
    )
    thresholds: Thresholds = Field(Thresholds(), description="What counts as seen.")
    parity: Parity = Field(Parity(), description="How far a runtime may be from the golden data.")
    source: Provenance | None = Field(None, description="Where the model comes from.")
    evaluation: Evaluation | None = Field(None, description="How well it did.")

    @field_validator("labels_file")
    @classmethod
    def _labels_stay_inside(cls, path: str | None) -> str | None:
        return None if path is None else _inside(path)

    @field_validator("files")
    @classmethod
    def _files_once(cls, files: tuple[WeightsFile, ...]) -> tuple[WeightsFile, ...]:
        paths = [PurePosixPath(file.path) for file in files]
        if twice := next((path for number, path in enumerate(paths) if path in paths[:number]), None):
            msg = f"names {twice} twice"
            raise ValueError(msg)
        return files

    @model_validator(mode="after")
    def _labels_once(self) -> "BundleFile":
        named = (self.labels is not None) + (self.labels_file is not None)
        if named > 1 or (named == 0 and self.output.gives & {"class", "text"}):
            msg = "needs exactly one of labels and labels_file"
            raise ValueError(msg)
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that what every output format here gives is enough for, the one that needs most first."""
        outputs = (self.output, *(file.output for file in self.files if file.output is not None))
        gives = frozenset.intersection(*(output.gives for output in outputs))
        return tuple(task for task, (needs, lacks) in _TASKS.items() if needs <= gives and not lacks & gives)

    @property
    def misfit(self) -> str:
        """Why the output format does not fit the task; empty when it does."""
        if self.task in self.tasks:
            return ""
        needs, lacks = _TASKS[self.task]
        return (
            f"task {self.task} needs a model that gives {' and '.join(sorted(needs))}"
            f"{''.join(f' and no {fact}' for fact in sorted(lacks))}; format {self.output.format} gives "
            f"{' and '.join(sorted(self.output.gives))}: that is {', '.join(self.tasks) or 'no task'}"
        )
