"""What a model file says of itself: inputs, outputs, nodes, where it comes from, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import BackendUnavailableError, ModelError
from edge_vision.core.files import why_not_file
from edge_vision.core.tensor import TensorSpec
from edge_vision.runtime.quarantine import confined

_READERS: Final = {
    "onnx": "edge_vision.models.reading.graph_onnx:describe",
    "openvino": "edge_vision.models.reading.graph_ir:describe",
    "tflite": "edge_vision.models.reading.graph_tflite:describe",
    "caffe": "edge_vision.models.reading.graph_text:describe_caffe",
    "darknet": "edge_vision.models.reading.graph_text:describe_darknet",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a graph: its name (of its first output, when it has none) and its operator."""

    name: str
    operator: str

    def __str__(self) -> str:
        return f"node {self.name} ({self.operator})"


@dataclass(frozen=True, slots=True)
class Graph:
    """What a file says of itself; `inputs` and `outputs` are empty for formats that do not tell.

    `problems` are what no runtime can mend, `doubts` what some runtimes may refuse.
    """

    format: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    nodes: tuple[Node, ...] = ()
    producer: str = ""
    producer_version: str = ""
    opset: int | None = None
    precision: str = "f32"
    metadata: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = [self.format]
        facts += [f"opset {self.opset}"] if self.opset else []
        facts += [f"{len(self.nodes)} nodes"] if self.nodes else []
        facts += [f"weights in {self.precision}"]
        facts += [f"made by {self.producer} {self.producer_version}".rstrip()] if self.producer else []
        sides = (("input", self.inputs), ("output", self.outputs))
        shown = [f"{side} {', '.join(map(str, specs))}" for side, specs in sides if specs]
        return "; ".join([", ".join(facts), *shown])


def read_graph(path: Path, format_: str) -> Graph:
    """Read a file of a known format, in a child process: the parsers are native code, too.

    Raises ModelError that names the file when it cannot be read, MissingLibraryError without the reader's library.
    """
    row = _READERS.get(format_)
    if row is None:  # a SavedModel is a folder
        return Graph(format_)
    if why := why_not_file(path):
        msg = f"{path}: {why}"
        raise ModelError(msg)
    try:
        facts = confined(row, {"path": str(path)})
    except BackendUnavailableError as error:
        msg = f"{path}: cannot be read as {format_}: {error}"
        raise ModelError(msg) from error
    return _graph(format_, facts)


def _graph(format_: str, facts: Mapping[str, Any]) -> Graph:
    made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    for side in ("inputs", "outputs"):
        made[side] = tuple(TensorSpec(name, tuple(shape), dtype) for name, shape, dtype in facts.get(side, ()))
    made["nodes"] = tuple(Node(name, operator) for name, operator in facts.get("nodes", ()))
    return Graph(format_, **made)
