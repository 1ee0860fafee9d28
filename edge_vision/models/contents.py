"""Says what is in a bundle: files with sizes and checksums, who can read them here, proof, source, evaluation."""

from typing import Any

from edge_vision.core.document import read_document
from edge_vision.core.files import sha256_of
from edge_vision.core.model import ModelFile
from edge_vision.core.schema_errors import validate
from edge_vision.inference.table import BACKENDS, backend
from edge_vision.models.bundle import Bundle
from edge_vision.models.options import BundleFile


def contents(bundle: Bundle) -> dict[str, Any]:
    """Everything there is to say of a bundle, as plain data; nothing is loaded."""
    golden = bundle.golden
    truth = None if golden is None else golden.file.verified
    proof: dict[str, Any] = {"state": bundle.proof}
    if golden is not None:
        by = golden.file.reference
        proof |= {
            "pictures": len(golden.file.images),
            "objects": golden.objects,
            "reference": f"{by.backend} {by.version}, {by.file} in {by.precision}",
        }
    if truth is not None:
        proof |= {"verified_by": truth.source, "figure": truth.figure}
    file, _ = validate(read_document(bundle.folder / "model.yaml")[0], BundleFile)
    assert file is not None, bundle.folder  # it was read a moment ago
    return {
        "name": bundle.spec.name,
        "folder": str(bundle.folder),
        "task": file.task,
        "labels": list(bundle.spec.labels),
        "files": [_file(bundle, one) for one in bundle.spec.files],
        "input": file.input.model_dump(mode="json"),
        "output": file.output.model_dump(mode="json"),
        "thresholds": file.thresholds.model_dump(mode="json"),
        "proof": proof,
        "source": None if file.source is None else _said(file.source.model_dump(mode="json")),
        "evaluation": None if file.evaluation is None else _said(file.evaluation.model_dump(mode="json")),
    }


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value not in (None, [], "")}


def _file(bundle: Bundle, file: ModelFile) -> dict[str, Any]:
    parts = [file.path, *([] if file.weights is None else [file.weights])]
    return {
        "path": bundle.path_of(file),
        "format": file.format,
        "precision": file.precision,
        "parts": [
            {"path": part.relative_to(bundle.folder).as_posix(), "bytes": _size(part), "sha256": sha256_of(part)}
            for part in parts
        ],
        "runtimes": {name: _reader(name, file.format) for name in BACKENDS},
    }


def _size(path: Any) -> int:
    return sum(part.stat().st_size for part in (path.rglob("*") if path.is_dir() else [path]) if part.is_file())


def _reader(name: str, format_: str) -> str:
    """Whether a runtime reads a format here: "yes", or the reason why not."""
    candidate = backend(name)
    if format_ not in candidate.formats:
        return f"does not read {format_}"
    availability = candidate.probe()
    lacks = dict(availability.lacks)
    return "yes" if availability.available and format_ not in lacks else lacks.get(format_, availability.reason)
