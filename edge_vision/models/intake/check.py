"""Checks a model file or a bundle against every runtime of this machine: who can run it, and who cannot and why."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import BackendError, ModelError
from edge_vision.core.files import why_not_file, why_not_folder
from edge_vision.core.geometry import Letterbox
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.table import BACKENDS, backend
from edge_vision.inference.trial import try_out
from edge_vision.models.bundle import Bundle
from edge_vision.models.intake.culprit import culprit
from edge_vision.models.options import COMPANIONS, FORMATS
from edge_vision.models.proof.gate import decoder_of
from edge_vision.models.reading.graph import Graph, Node, read_graph
from edge_vision.models.reading.recognize import recognize
from edge_vision.models.reading.refused import REFUSED

_DTYPES: Final = {"float32": "float32", "float16": "float32", "uint8": "uint8", "int8": "uint8"}
"""What preprocessing makes for an input of that type."""
_AT_ONCE: Final = 2
"""Trials side by side: more would only be slower on the boxes this is for, and each holds the whole model."""
_CHANNELS_LAST: Final = frozenset({"tensorflow", "savedmodel"})
"""Formats that do not tell their input, of frameworks that keep the channels last."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a runtime made of a file: its outputs, or the reason and, where it can be told, the node.

    `note` says why nothing was tried although nothing is wrong.
    """

    backend: str
    outputs: tuple[TensorSpec, ...] = ()
    reason: str = ""
    node: Node | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the runtime can run it."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Report:
    """A file, what it says of itself, and what each runtime that reads its format makes of it.

    `chosen`: only some of them were asked.
    """

    path: Path
    graph: Graph
    rows: tuple[Row, ...]
    chosen: bool = False

    def problems(self) -> list[str]:
        """A line for each runtime that cannot run it, with those that can."""
        able = ", ".join(row.backend for row in self.rows if row.passed)
        none = "" if self.chosen else "; no runtime of this machine can"
        rest = f"; {able} can" if able else none
        hint = f" ({'; '.join(self.graph.doubts)})" if self.graph.doubts else ""
        return [
            f"{self.path}: {f'{row.node}: ' if row.node else ''}{row.backend} cannot run it{hint}: {row.reason}{rest}"
            for row in self.rows
            if not row.passed
        ]


def recognized(path: Path) -> str:
    """The format of a file. Raises ModelError with what it is instead, and the remedy."""
    if why := (why_not_folder if path.is_dir() else why_not_file)(path):
        msg = f"{path}: {why}"
        raise ModelError(msg)
    found = recognize(path)
    if found.kind in REFUSED:
        msg = f"{path}: {found.detail}: {REFUSED[found.kind]}"
        raise ModelError(msg)
    if found.part == "weights":
        msg = f"{path}: is {found.detail}: name the file with the network instead"
        raise ModelError(msg)
    if found.kind not in FORMATS:
        msg = f"{path}: {found.detail}: is not a model that can be read ({', '.join(FORMATS)}): copy or export it again"
        raise ModelError(msg)
    return found.kind


def check_file(path: Path, backends: Sequence[str], size: tuple[int, int] | None = None) -> Report:
    """Try a file on the runtimes; `size` is (width, height) for sides that the file leaves open.

    Raises ModelError for what no runtime could mend.
    """
    format_ = recognized(path)
    graph = sound(path, format_)
    file = model_file(path, graph, input_shape(path, graph, size))
    return Report(path, graph, _rows(file, graph, readers(path, format_, backends), None), bool(backends))


def check_bundle(bundle: Bundle, backends: Sequence[str]) -> list[Report]:
    """Try every file of a bundle on the runtimes, and decode what comes out as the bundle says.

    Of runtimes that were chosen, a file is tried on those that read its format. Raises ModelError for what no
    runtime could mend.
    """
    known = {format_ for name in backends for format_ in backend(name).formats}
    files = [file for file in bundle.spec.files if file.format in known] or bundle.spec.files
    reports = []
    for file in files:
        graph = sound(file.path, file.format)
        rows = _rows(file, graph, readers(file.path, file.format, backends), bundle)
        reports.append(Report(file.path, graph, rows, bool(backends)))
    return reports


def model_file(path: Path, graph: Graph, shape: tuple[int, ...]) -> ModelFile:
    """A file to be run with an input of that shape. Raises ModelError when its weights are not beside it."""
    weights: Path | None = None
    if graph.format in COMPANIONS:
        weights = path.with_suffix(COMPANIONS[graph.format][1])
        if why := why_not_file(weights):
            msg = f"{path}: the weights beside it, {weights}, are missing ({why}): copy both files"
            raise ModelError(msg)
    return ModelFile(path, graph.format, shape, input_dtype(path, graph), graph.precision, weights)


def sound(path: Path, format_: str) -> Graph:
    """The graph of a file. Raises ModelError with everything that no runtime could mend."""
    graph = read_graph(path, format_)
    if graph.problems:
        msg = "\n".join(f"{path}: {problem}" for problem in graph.problems)
        raise ModelError(msg)
    if len(graph.inputs) > 1:
        msg = f"{path}: has {len(graph.inputs)} inputs ({'; '.join(map(str, graph.inputs))}); one picture is supported"
        raise ModelError(msg)
    return graph


def input_shape(path: Path, graph: Graph, size: tuple[int, int] | None) -> tuple[int, ...]:
    """The shape to run with: open batches are 1, open sides those of `size`. Raises ModelError without it."""
    if not graph.inputs:
        if size is None:
            msg = f"{path}: {graph.format} does not tell the size of its input: say --input-size WIDTH,HEIGHT"
            raise ModelError(msg)
        last = graph.format in _CHANNELS_LAST
        return (1, size[1], size[0], 3) if last else (1, 3, size[1], size[0])
    (spec,) = graph.inputs
    shape = list(spec.shape)
    last = len(shape) == 4 and shape[3] in (1, 3)  # noqa: PLR2004 - batch, height, width, channels
    places = {1: 1, 2: 0} if last and shape[1] not in (1, 3) else {2: 1, 3: 0}
    for place, length in enumerate(shape):
        if length > 0:
            continue
        if place == 0:
            shape[0] = 1
        elif len(shape) == 4 and place in places and size is not None:  # noqa: PLR2004
            shape[place] = size[places[place]]
        elif len(shape) == 4 and place not in places:  # noqa: PLR2004
            shape[place] = 3
        else:
            msg = f"{path}: its input {spec} has open sides: say --input-size WIDTH,HEIGHT"
            raise ModelError(msg)
    return tuple(shape)


def input_dtype(path: Path, graph: Graph) -> str:
    """What preprocessing must make. Raises ModelError for a type no picture has."""
    if not graph.inputs:
        return "float32"
    (spec,) = graph.inputs
    if spec.dtype not in _DTYPES:
        msg = f"{path}: its input is {spec}: pictures are float32 or uint8: export it again with one of those"
        raise ModelError(msg)
    return _DTYPES[spec.dtype]


def readers(path: Path, format_: str, backends: Sequence[str]) -> list[str]:
    """The runtimes of this machine that read a format. Raises ModelError with the reasons when there is none."""
    reasons: list[str] = []
    found: list[str] = []
    for name in backends or list(BACKENDS):
        candidate = backend(name)
        if format_ not in candidate.formats:
            reasons += [f"{name} reads {', '.join(candidate.formats)}"] if backends else []
            continue
        availability = candidate.probe()
        if availability.available and format_ not in dict(availability.lacks):
            found.append(name)
        else:
            reasons.append(f"{name}: {dict(getattr(availability, 'lacks', ())).get(format_, availability.reason)}")
    if not found:
        msg = f"{path}: no runtime of this machine reads {format_}: {'; '.join(reasons) or 'none is for it'}"
        raise ModelError(msg)
    return found


def _rows(file: ModelFile, graph: Graph, names: list[str], bundle: Bundle | None) -> tuple[Row, ...]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # each waits for a process of its own
        return tuple(pool.map(lambda name: _row(name, file, graph, bundle), names))


def _row(name: str, file: ModelFile, graph: Graph, bundle: Bundle | None) -> Row:
    options = LoadOptions("int8" if file.precision == "int8" else "f32")
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(folder) / "outputs.npz"
        try:
            tried = try_out(name, file, options, keep)
        except ModelError as error:  # the input is not as the bundle says: no node is to blame
            return Row(name, (), str(error))
        except BackendError as error:
            if "no engine built" in str(error):  # TensorRT loads only what was built before
                return Row(name, note=str(error))
            return Row(name, (), str(error), culprit(graph, name, file, options, str(error)))
        if bundle is not None:
            try:
                decode(bundle, file, kept(keep))
            except ModelError as error:
                return Row(name, tried.outputs, f"labels and output: do not fit the model: {error}")
    return Row(name, tried.outputs)


def kept(file: Path) -> Tensors:
    """The outputs that a trial wrote down."""
    with np.load(file, allow_pickle=False) as content:
        return {key.removeprefix("output:"): content[key] for key in content.files}


def decode(bundle: Bundle, file: ModelFile, outputs: Tensors) -> Any:
    """Take outputs through the bundle's decoder. Raises ModelError when they do not fit it."""
    size = bundle.ends_of(file).input.size
    return decoder_of(bundle, bundle.thresholds, file)(outputs, Letterbox.fit(size, size))
