"""Reads a model bundle and checks that everything it names is there and unchanged."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge_vision.core.document import Document, DocumentError, Problem, read_document
from edge_vision.core.files import why_not_file
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.schema_errors import validate
from edge_vision.models.options import BundleFile, WeightsFile
from edge_vision.postprocess.options import OutputOptions, Thresholds
from edge_vision.preprocess.options import InputOptions


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model, and how pictures go in and detections come out."""

    folder: Path
    spec: ModelSpec
    input: InputOptions
    output: OutputOptions
    thresholds: Thresholds


def read_bundle(folder: Path) -> tuple[Bundle | None, list[Problem]]:
    """Read `folder`/model.yaml. The bundle is None when the list of problems is not empty."""
    try:
        document, problems = read_document(folder / "model.yaml")
    except DocumentError as error:
        return None, [error.problem]
    file, found = validate(document, BundleFile)
    problems += found
    if file is None:
        return None, problems
    labels, found = _labels(file, folder, document)
    problems += found
    for number, weights in enumerate(file.files):
        problems += _check_weights(weights, folder, document, number)
    if problems:
        return None, problems
    spec = ModelSpec(
        name=file.name,
        files=tuple(ModelFile(folder / weights.path, weights.format) for weights in file.files),
        input_shape=file.input.shape,
        input_dtype=file.input.dtype,
        labels=labels,
    )
    return Bundle(folder, spec, file.input, file.output, file.thresholds), []


def _labels(file: BundleFile, folder: Path, document: Document) -> tuple[tuple[str, ...], list[Problem]]:
    if file.labels is not None:
        return file.labels, []
    path = folder / str(file.labels_file)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        return (), [document.problem(("labels_file",), f"{path}: {reason}")]
    labels = tuple(line.strip() for line in lines)
    labels = labels[: max((number + 1 for number, line in enumerate(labels) if line), default=0)]
    if not labels:
        return (), [document.problem(("labels_file",), f"{path}: holds no labels")]
    if "" in labels:  # dropped, it would shift every class behind it
        text = f"{path}: line {labels.index('') + 1} is empty"
        return (), [document.problem(("labels_file",), text)]
    return labels, []


def _check_weights(weights: WeightsFile, folder: Path, document: Document, number: int) -> list[Problem]:
    place = ("files", number, "path")
    path = folder / weights.path
    if why := why_not_file(path):
        return [document.problem(place, f"{path}: {why}")]
    if weights.format == "openvino" and why_not_file(path.with_suffix(".bin")):
        return [document.problem(place, f"{path.with_suffix('.bin')}: the weights beside the .xml are missing")]
    if weights.sha256 is not None:
        actual = _sha256(path)
        if actual != weights.sha256:
            text = f"{path} has sha256 {actual}, not the one written here"
            return [document.problem(("files", number, "sha256"), text)]
    return []


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
