"""Remembers verdicts, so that a warm start proves nothing twice."""

import hashlib
import json
import logging
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

import edge_vision
from edge_vision.core.files import cache_folder, sha256_of, write_whole
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.table import backend
from edge_vision.models.bundle import Bundle
from edge_vision.models.golden import Golden
from edge_vision.models.proof.gate import Verdict, prove

_log = logging.getLogger(__name__)

_PACKAGE: Final = Path(edge_vision.__file__).parent
_STEPS: Final = ("core", "preprocess", "inference", "postprocess", "models")


def proven(bundle: Bundle, golden: Golden, name: str, file: ModelFile, engine: Engine, options: LoadOptions) -> Verdict:
    """The verdict on an engine of the runtime `name`: the remembered one, or that of a proof made now.

    Raises what `prove` raises; such an end is not remembered.
    """
    path = cache_folder() / "verdicts" / f"{_key(bundle, golden, name, file, engine, options)}.json"
    remembered = _recall(path)
    if remembered is not None:
        return remembered
    verdict = prove(bundle, golden, file, engine, options.precision)
    try:
        write_whole(path, json.dumps(asdict(verdict)).encode())
    except OSError as error:
        _log.info("%s: the verdict cannot be kept: %s", path, error.strerror)
    return verdict


def _recall(path: Path) -> Verdict | None:
    try:
        return TypeAdapter(Verdict).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None  # never written, or damaged: prove again


def _key(bundle: Bundle, golden: Golden, name: str, file: ModelFile, engine: Engine, options: LoadOptions) -> str:
    """A checksum of everything a verdict depends on; the bundle's name and the order of its keys are not of it."""
    ends = bundle.ends_of(file)
    facts: dict[str, Any] = {
        "weights": [sha256_of(part) for part in file.parts()],
        "input": ends.input.model_dump(mode="json"),
        "output": ends.output.model_dump(mode="json"),
        "labels": list(bundle.spec.labels),
        "parity": bundle.parity.model_dump(mode="json"),
        "golden": golden.digest,
        "backend": [name, backend(name).probe().version, engine.device, getattr(engine, "digest", "")],
        "options": asdict(options),
        "versions": [
            edge_vision.__version__,
            *(require(name, "cpu").__version__ for name in ("cv2", "numpy")),
            _code(),
        ],
        "machine": [platform.machine(), _processor()],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    """A checksum of the code that a verdict speaks of: an update of it is proven again."""
    digest = hashlib.sha256()
    for step in _STEPS:
        for file in sorted((_PACKAGE / step).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("model name", "CPU part"))), "")
