"""What `model.yaml` may say."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge_vision.core.options import Fraction, Integer, Options
from edge_vision.postprocess.options import OutputOptions, Thresholds
from edge_vision.preprocess.options import InputOptions

FORMATS = ("onnx", "openvino")


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

    path: str = Field(min_length=1, description="The file, relative to the bundle. For OpenVINO IR the .xml.")
    format: Literal["onnx", "openvino"] = Field(description="What the file is; decides which runtimes can read it.")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Checked when given.")

    _stays_inside = field_validator("path")(_inside)


class Provenance(Options):
    """Where a model comes from."""

    framework: str | None = Field(None, description="What it was trained with.")
    framework_version: str | None = Field(None, description="And which version of it.")
    opset: Integer | None = Field(None, ge=1, description="ONNX operator set of the export.")
    license: str | None = Field(None, description="License of the weights.")
    url: str | None = Field(None, description="Where they were taken from.")
    script: str | None = Field(None, description="What made them.")


class Evaluation(Options):
    """How well a model did, on what, and the command that shows it again."""

    data: str = Field(description="What it was measured on.")
    images: Integer = Field(ge=1, description="On how many pictures.")
    map50: Fraction = Field(description="Mean average precision at an overlap of 0.5.")
    map50_95: Fraction | None = Field(None, description="Mean over overlaps from 0.5 to 0.95.")
    command: str | None = Field(None, description="What measures it again.")


class BundleFile(Options):
    """A model bundle: a folder with `model.yaml` and weights."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="Name of the model, as it appears in every message."
    )
    task: Literal["detection"] = Field(description="What the model does.")
    files: tuple[WeightsFile, ...] = Field(min_length=1, description="The same weights, in one or more formats.")
    input: InputOptions = Field(description="How a picture becomes the network's input.")
    output: OutputOptions = Field(description="How the network's output becomes detections.")
    labels: tuple[str, ...] | None = Field(None, min_length=1, description="Names of the classes, in order.")
    labels_file: str | None = Field(None, description="The same, one per line, relative to the bundle.")
    thresholds: Thresholds = Field(Thresholds(), description="What counts as seen.")
    source: Provenance | None = Field(None, description="Where the model comes from.")
    evaluation: Evaluation | None = Field(None, description="How well it did.")

    @field_validator("labels_file")
    @classmethod
    def _labels_stay_inside(cls, path: str | None) -> str | None:
        return None if path is None else _inside(path)

    @model_validator(mode="after")
    def _labels_once(self) -> "BundleFile":
        if (self.labels is None) == (self.labels_file is None):
            msg = "needs exactly one of labels and labels_file"
            raise ValueError(msg)
        return self
