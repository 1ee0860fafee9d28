"""Keeps engines that were built ahead, each under everything it depends on."""

import glob
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.files import cache_folder, sha256_of, write_whole


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine depends on: another model, runtime, device, driver, precision or shape needs another engine.

    `model` is the checksum of the model's files, `shapes` the least, usual and greatest shape of its input.
    """

    model: str
    runtime: str
    device: str
    driver: str
    precision: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def digest(self) -> str:
        """A checksum of all of them."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """An engine on the disk: the file, its size in bytes, the name of the model's file, how long building took."""

    path: Path
    size: int
    model: str
    build_s: float


def engines_folder() -> Path:
    """Where engines are kept; it may be absent."""
    return cache_folder() / "engines"


def model_digest(path: Path) -> str:
    """The checksum of a model's file and of those that begin with its name: weights of ONNX may lie beside it."""
    parts = sorted(path.parent.glob(f"{glob.escape(path.name)}*"))
    try:
        sums = [f"{part.name[len(path.name) :]} {sha256_of(part)}" for part in parts if part.is_file()]
    except OSError as error:
        msg = f"cannot read {error.filename}: {error.strerror}"
        raise BackendUnavailableError(msg) from error
    if not sums:
        msg = f"cannot read {path}: no such file"
        raise BackendUnavailableError(msg)
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def find(key: EngineKey) -> Entry | None:
    """The engine of that key, or None when none was built, or not all of it is there."""
    return _read(engines_folder() / f"{key.digest}.json")


def keep(key: EngineKey, plan: bytes, model: str, build_s: float) -> Entry:
    """Write an engine and the facts beside it. Raises BackendUnavailableError when the disk does not take it."""
    path = engines_folder() / f"{key.digest}.engine"
    facts = {**asdict(key), "file": model, "size": len(plan), "build_s": round(build_s, 3)}
    try:
        write_whole(path, plan)
        write_whole(path.with_suffix(".json"), json.dumps(facts, indent=2).encode())  # last: it says the rest is there
    except OSError as error:
        msg = f"{path}: the engine of {model} cannot be kept: {error.strerror}"
        raise BackendUnavailableError(msg) from error
    return Entry(path, len(plan), model, build_s)


def entries() -> list[Entry]:
    """Every engine that is there whole, by the name of the model's file."""
    found = [_read(path) for path in engines_folder().glob("*.json")]
    return sorted((entry for entry in found if entry is not None), key=lambda entry: (entry.model, entry.path))


def timing_cache(runtime: str, device: str, driver: str) -> Path:
    """Where the times of a device's kernels are kept, which make the next build on it faster."""
    named = hashlib.sha256(f"{runtime}\n{device}\n{driver}".encode()).hexdigest()
    return engines_folder() / f"{named}.timing"


def _read(facts_file: Path) -> Entry | None:
    path = facts_file.with_suffix(".engine")
    try:
        facts = json.loads(facts_file.read_bytes())
        entry = Entry(path, int(facts["size"]), str(facts["file"]), float(facts["build_s"]))
        whole = path.stat().st_size == entry.size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if whole else None
