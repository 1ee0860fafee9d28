"""Golden data: pictures, the tensors they must become, and what the reference runtime saw in them."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from edge_vision.core.detections import Detections, masks
from edge_vision.core.document import DocumentError, Problem, read_document
from edge_vision.core.errors import ModelError
from edge_vision.core.files import why_not_file, why_not_folder
from edge_vision.core.frame import read_only
from edge_vision.core.options import Fraction, Integer, Options
from edge_vision.core.plugin import require
from edge_vision.core.schema_errors import validate
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import Thresholds

FOLDER: Final = "golden"
INDEX: Final = "golden.yaml"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Plain = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Reference(Options):
    """The runtime whose answers are the golden ones."""

    backend: str = Field(description="Name of the runtime.")
    version: str = Field(description="Its version.")
    file: str = Field(description="The file it ran, relative to the bundle.")
    precision: str = Field(description="Its arithmetic.")


class Verified(Options):
    """What showed that the reference's answers are right, and not only its own."""

    by: Literal["labels", "expected"] = Field(description="Labeled pictures, or the answers of the training framework.")
    source: str = Field(description="The file they came from.")
    sha256: _Sha256 = Field(description="Checksum of that file.")
    images: Integer = Field(ge=1, description="On how many pictures.")
    figure: str = Field(description="What was measured.")
    map50: Fraction | None = Field(None, description="Mean average precision at an overlap of 0.5, on labels.")


class GoldenImage(Options):
    """One golden picture."""

    name: str = Field(description="Name of the picture it was made from.")
    picture: _Plain = Field(description="The picture, without loss, in this folder.")
    picture_sha256: _Sha256 = Field(description="Checksum of it.")
    tensors: _Plain = Field(description="Input tensors, raw and decoded outputs, in this folder.")
    tensors_sha256: _Sha256 = Field(description="Checksum of them.")
    objects: Integer = Field(ge=0, description="How many objects the reference saw.")


class GoldenFile(Options):
    """`golden/golden.yaml`, written by `edge-vision models golden`."""

    version: Literal[1] = Field(description="Version of this format.")
    reference: Reference = Field(description="Whose answers these are.")
    thresholds: Thresholds = Field(description="The thresholds they were decoded with.")
    labels: tuple[str, ...] | None = Field(None, description="Names of the classes then, in order.")
    verified: Verified | None = Field(None, description="What they were checked against; unverified without.")
    images: tuple[GoldenImage, ...] = Field(min_length=1, max_length=256, description="The pictures.")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What is known of one golden picture.

    `inputs` holds the input tensor, by the path of the file whose own `input:` made it ("" for the bundle's), and
    `levels` how far apart two grey levels are in it, per channel; `raw` the reference's outputs.
    """

    image: NDArray[np.uint8]
    inputs: Mapping[str, NDArray[Any]]
    levels: Mapping[str, NDArray[np.float32]]
    raw: Tensors
    detections: Detections


@dataclass(frozen=True, slots=True)
class Golden:
    """The golden data of a bundle; `digest` changes when any of it does."""

    folder: Path
    file: GoldenFile
    digest: str

    @property
    def objects(self) -> int:
        """How many objects the reference saw in all pictures."""
        return sum(image.objects for image in self.file.images)

    def read(self, image: GoldenImage) -> Answer:
        """Load one picture and its answers. Raises ModelError when they are not what was written."""
        picture = self._bytes(image.picture, image.picture_sha256)
        tensors = self._bytes(image.tensors, image.tensors_sha256)
        cv2: Any = require("cv2", "cpu")
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            msg = f"{self.folder / image.picture}: is not a picture that can be decoded"
            raise ModelError(msg)
        try:
            return unpack(tensors, read_only(decoded))
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            msg = f"{self.folder / image.tensors}: cannot be read: {error}"
            raise ModelError(msg) from error

    def _bytes(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        if why := why_not_file(path):
            msg = f"{path}: {why}"
            raise ModelError(msg)
        content = path.read_bytes()
        actual = hashlib.sha256(content).hexdigest()
        if actual != sha256:
            msg = f"{path} has sha256 {actual}, {INDEX} says {sha256}"
            raise ModelError(msg)
        return content


def pack(answer: Answer) -> bytes:
    """The tensors of an answer as one compressed archive, free of pickle."""
    parts: dict[str, NDArray[Any]] = {
        **{f"input:{key}": value for key, value in answer.inputs.items()},
        **{f"level:{key}": value for key, value in answer.levels.items()},
        **{f"raw:{key}": value for key, value in answer.raw.items()},
        **_packed(answer.detections),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **parts)  # type: ignore[arg-type] # numpy's stub takes a name for a flag
    return stream.getvalue()


def unpack(tensors: bytes, image: NDArray[np.uint8]) -> Answer:
    """The inverse of `pack`. Raises ValueError, OSError, KeyError or BadZipFile for what it did not write."""
    with np.load(io.BytesIO(tensors), allow_pickle=False) as archive:
        parts = {name: archive[name] for name in archive.files}
    return Answer(image, _part(parts, "input"), _part(parts, "level"), _part(parts, "raw"), _unpacked(parts))


def write_golden(
    bundle: Path,
    seen: Mapping[str, Answer],
    reference: Reference,
    thresholds: Thresholds,
    labels: tuple[str, ...],
    verified: Verified | None,
) -> GoldenFile:
    """Write answers, by the name of their picture, as golden data: whole or not at all. Raises OSError."""
    fresh, final, old = bundle / f".{FOLDER}.new", bundle / FOLDER, bundle / f".{FOLDER}.old"
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        fresh.mkdir()
        images = tuple(_write(fresh, number, name, answer) for number, (name, answer) in enumerate(seen.items()))
        file = GoldenFile(
            version=1, reference=reference, thresholds=thresholds, labels=labels, verified=verified, images=images
        )
        (fresh / INDEX).write_text(yaml.safe_dump(file.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        if final.exists():
            final.rename(old)
        fresh.rename(final)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return file


def _write(folder: Path, number: int, name: str, answer: Answer) -> GoldenImage:
    cv2: Any = require("cv2", "cpu")
    picture, tensors = f"{number:03}.png", f"{number:03}.npz"
    parts = {picture: cv2.imencode(".png", answer.image)[1].tobytes(), tensors: pack(answer)}
    for part, content in parts.items():
        (folder / part).write_bytes(content)
    return GoldenImage(
        name=name,
        picture=picture,
        picture_sha256=hashlib.sha256(parts[picture]).hexdigest(),
        tensors=tensors,
        tensors_sha256=hashlib.sha256(parts[tensors]).hexdigest(),
        objects=len(answer.detections),
    )


def read_golden(bundle: Path) -> tuple[Golden | None, list[Problem]]:
    """The golden data of a bundle's folder; None when there is none or when it has problems.

    The pictures and tensors are looked at when they are used: a warm start never opens them.
    """
    folder = bundle / FOLDER
    if why_not_folder(folder).startswith("no such"):
        return None, []
    try:
        document, problems = read_document(folder / INDEX)
    except DocumentError as error:
        return None, [error.problem]
    file, found = validate(document, GoldenFile)
    problems += found
    if file is None or problems:
        return None, problems
    if not any(image.objects for image in file.images):
        return None, [document.problem(("images",), "no picture shows an object: this proves nothing")]
    digest = hashlib.sha256(document.file.read_bytes()).hexdigest()
    return Golden(folder, file, digest), []


def _packed(seen: Detections) -> dict[str, NDArray[Any]]:
    """Detections as arrays of plain types: of masks the sizes, and their bits one after the other."""
    columns = seen.columns()
    grids = columns.pop("mask", None)
    parts = {f"found:{key}": value for key, value in columns.items()}
    if grids is not None:
        parts["masks:sizes"] = np.array([grid.shape for grid in grids], np.int32).reshape(-1, 2)
        parts["masks:bits"] = np.packbits(np.concatenate([np.empty(0, bool), *(grid.ravel() for grid in grids)]))
    return {**parts, **{f"attribute:{key}": value for key, value in seen.attributes.items()}}


def _unpacked(parts: Mapping[str, NDArray[Any]]) -> Detections:
    """The inverse of `_packed`."""
    columns, packed = _part(parts, "found"), _part(parts, "masks")
    if packed:
        sizes = packed["sizes"].tolist()
        ends = np.cumsum([rows * width for rows, width in sizes])
        bits = np.split(np.unpackbits(packed["bits"]).astype(bool), ends)
        columns["mask"] = masks([one.reshape(size) for one, size in zip(bits, sizes, strict=False)])  # the last pads
    return replace(Detections.of(columns), attributes=_part(parts, "attribute"))


def _part(parts: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    start = f"{kind}:"
    return {name.removeprefix(start): value for name, value in parts.items() if name.startswith(start)}
