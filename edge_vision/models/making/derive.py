"""Makes a bundle of another one and a file made of it; it is put in place only when it has been proven."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_vision.core.document import read_document
from edge_vision.core.errors import BackendError, ConfigError
from edge_vision.core.files import sha256_of
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import usable_files
from edge_vision.inference.table import BACKENDS
from edge_vision.models.bundle import Bundle
from edge_vision.models.golden import FOLDER, Golden
from edge_vision.models.proof.verify import Row, judge
from edge_vision.models.writing import write_bundle

_INDEX = "model.yaml"


@dataclass(frozen=True, slots=True)
class Made:
    """A file made of `source`: its name in the bundle, format and precision, and what made it.

    `parts` is where it lies now, the file itself first.
    """

    source: ModelFile
    name: str
    format: str
    precision: str
    maker: str
    parts: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Staged:
    """A bundle that is whole but not in place yet, and the new file in it."""

    bundle: Bundle
    file: ModelFile

    def put(self, target: Path) -> None:
        """Move it to its place. Raises ConfigError when something is there by now."""
        refuse_existing(target)
        try:
            self.bundle.folder.rename(target)
        except OSError as error:
            msg = f"{target}: cannot be written: {error}"
            raise ConfigError(msg) from error


def golden_of(bundle: Bundle) -> Golden:
    """The golden data, without which nothing can be proven. Raises ConfigError with the remedy."""
    if bundle.golden is None:
        msg = (
            f"{bundle.folder}: has no golden data, so that nothing could show what a new file loses; make some: "
            f"edge-vision models golden {bundle.folder} --images DIR"
        )
        raise ConfigError(msg)
    return bundle.golden


def refuse_existing(target: Path) -> None:
    """Raise ConfigError when there is something at `target`: a bundle is never written over."""
    if target.exists() or target.is_symlink():
        msg = f"{target}: exists already; a bundle is never written over: name a new folder"
        raise ConfigError(msg)


def source_of(bundle: Bundle, formats: tuple[str, ...], tool: str) -> ModelFile:
    """The first f32 file in one of the formats that takes the bundle's own input. Raises ConfigError."""
    for file in bundle.spec.files_in(formats):
        if file.precision == "f32" and not bundle.ends_of(file).key:
            return file
    have = ", ".join(f"{bundle.path_of(file)} ({file.format}, {file.precision})" for file in bundle.spec.files)
    msg = f"{bundle.folder}: {tool} needs an f32 file in {' or '.join(formats)} with the bundle's input; it has {have}"
    raise ConfigError(msg)


def refuse_double(bundle: Bundle, name: str) -> None:
    """Raise ConfigError when the bundle has a file of that name already."""
    if (bundle.folder / name).exists():
        msg = f"{bundle.folder}: has {name} already: nothing to make"
        raise ConfigError(msg)


@contextmanager
def workshop(target: Path, bundle: Bundle) -> Iterator[Path]:
    """An empty folder beside `target`, gone at the end with whatever was not put in place.

    Raises ConfigError, also when there is no room for a second bundle: converters fail then without saying why.
    """
    refuse_existing(target)
    needed = 2 * sum(part.stat().st_size for part in bundle.folder.rglob("*") if part.is_file())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < needed:
            msg = f"{target}: no room: {free / 1e6:.1f} MB are free, about {needed / 1e6:.1f} MB are needed"
            raise ConfigError(msg)
        temporary = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        msg = f"{target}: cannot be written: {error}"
        raise ConfigError(msg) from error
    with temporary as folder:
        yield Path(folder)


def stage(bundle: Bundle, made: Made, folder: Path) -> Staged:
    """Write all the bundle has, and the new file, as a bundle in `folder`. Raises ConfigError."""
    content = dict(read_document(bundle.folder / _INDEX)[0].data)
    source = next(row for row in content["files"] if row["path"] == bundle.path_of(made.source))
    row: dict[str, Any] = {
        "path": made.name,
        "format": made.format,
        "precision": made.precision,
        "sha256": sha256_of(made.parts[0]),
        "made": f"{made.maker}, from {bundle.path_of(made.source)}",
    }
    if len(made.parts) > 1:
        row["weights_sha256"] = sha256_of(made.parts[1])
    if "output" in source:
        row["output"] = source["output"]
    content["files"] = [*content["files"], row]
    files = {**_old_files(bundle), **_new_files(made)}
    golden = None if bundle.golden is None else bundle.golden.folder
    staged = write_bundle(folder / "bundle", content, files, golden)
    return Staged(staged, staged.spec.files[-1])


def _old_files(bundle: Bundle) -> dict[str, Path]:
    """Everything in the bundle's folder but what is written anew; licenses and notes go along."""
    return {
        path.name: path
        for path in sorted(bundle.folder.iterdir())
        if path.name not in {_INDEX, FOLDER} and not path.name.startswith(".")
    }


def _new_files(made: Made) -> Mapping[str, Path]:
    parent = Path(made.name).parent
    return {(parent / part.name).as_posix(): part for part in made.parts}


def readers_of(staged: Staged, precision: str) -> list[str]:
    """The runtimes of this machine that read the new file, in the order of preference."""
    return [name for name in BACKENDS if _reads(name, staged, precision)]


def prove_new(staged: Staged, backends: Sequence[str], precision: str) -> tuple[Row, ...]:
    """The gate's verdicts on the new file, one per runtime."""
    golden = golden_of(staged.bundle)
    return tuple(judge(staged.bundle, golden, name, staged.file, LoadOptions(precision)) for name in backends)


def _reads(name: str, staged: Staged, precision: str) -> bool:
    try:
        return staged.file in usable_files(name, staged.bundle.spec, precision)
    except BackendError:
        return False
