"""Reads a model bundle and checks that everything it names is there and unchanged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_vision.core.document import Document, DocumentError, Problem, read_document
from edge_vision.core.files import sha256_of, why_not_file, why_not_folder
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.schema_errors import validate
from edge_vision.core.stages import Fact
from edge_vision.models.golden import Golden, read_golden
from edge_vision.models.options import COMPANIONS, FORMATS, BundleFile, Parity, WeightsFile
from edge_vision.models.reading.recognize import recognize
from edge_vision.models.reading.refused import REFUSED
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.preprocess.options import InputOptions


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a file of weights: how pictures go in and detections come out.

    `key` names its input tensors in the golden data: empty for the bundle's input, the file's path for one of its own.
    """

    input: InputOptions
    output: OutputOptions
    key: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model, how pictures go in and detections come out, and what proves that it sees."""

    folder: Path
    spec: ModelSpec
    ends: tuple[Ends, ...]
    thresholds: Thresholds
    parity: Parity
    golden: Golden | None

    def ends_of(self, file: ModelFile) -> Ends:
        """How pictures go into one of the files, and how detections come out."""
        return self.ends[self.spec.files.index(file)]

    def path_of(self, file: ModelFile) -> str:
        """The path of one of the files inside the bundle."""
        return file.path.relative_to(self.folder).as_posix()

    @property
    def gives(self) -> frozenset[Fact]:
        """What the model finds out, whichever of its files runs."""
        return frozenset.intersection(*(end.output.gives for end in self.ends))

    @property
    def draws_boxes(self) -> bool:
        """Whether its objects are things that people draw boxes around: not regions of a map, nor whole pictures."""
        return "box" in self.gives and not any(end.output.uncut for end in self.ends)

    @property
    def frames(self) -> int:
        """How many frames its clips have, where it looks at clips; else 1."""
        return max(end.input.frames or 1 for end in self.ends)

    @property
    def proof(self) -> str:
        """What its golden data can prove: verified, unverified (made without ground truth), or none."""
        if self.golden is None:
            return "none"
        return "unverified" if self.golden.file.verified is None else "verified"


def read_bundle(folder: Path, *, golden: bool = True) -> tuple[Bundle | None, list[Problem]]:
    """Read `folder`/model.yaml, and its golden data unless they are about to be made anew.

    The bundle is None when the list of problems is not empty.
    """
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
    problems += _misfits(file, document, None if found else len(labels))
    for number, weights in enumerate(file.files):
        problems += _check_weights(weights, folder, document, number)
    proof: Golden | None = None
    if golden:
        proof, found = read_golden(folder)
        problems += found
    if problems:
        return None, problems
    ends = tuple(
        Ends(one.input or file.input, one.output or file.output, one.path if one.input else "") for one in file.files
    )
    files = tuple(
        ModelFile(
            folder / one.path,
            one.format,
            end.input.shape,
            end.input.dtype,
            one.precision,
            None if one.companion is None else folder / one.companion,
        )
        for one, end in zip(file.files, ends, strict=True)
    )
    spec = ModelSpec(file.name, files, labels)
    return Bundle(folder, spec, ends, file.thresholds, file.parity, proof), []


def _misfits(file: BundleFile, document: Document, labels: int | None) -> Iterator[Problem]:
    """Where task, output formats and the number of labels, where it is known, do not go together."""
    if file.misfit:
        yield document.problem(("task",), file.misfit)
    outputs = [
        (("output",), file.output),
        *((("files", at, "output"), one.output) for at, one in enumerate(file.files)),
    ]
    for place, output in outputs:
        if output is not None and labels is not None and (why := output.misfit(labels)):
            yield document.problem(place, f"format {output.format}: {why}")


def _labels(file: BundleFile, folder: Path, document: Document) -> tuple[tuple[str, ...], list[Problem]]:
    if file.labels is not None or file.labels_file is None:
        return file.labels or (), []
    path = folder / file.labels_file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        return (), [document.problem(("labels_file",), f"{path}: {reason}")]
    if "text" in file.output.gives:  # characters: a blank is one, too, and none of them ends a line but this
        labels = tuple(line.strip() or line[:1] for line in text.split("\n"))
    else:
        labels = tuple(line.strip() for line in text.splitlines())
    labels = labels[: max((number + 1 for number, line in enumerate(labels) if line), default=0)]
    if not labels:
        return (), [document.problem(("labels_file",), f"{path}: holds no labels")]
    if "" in labels:  # dropped, it would shift every class behind it
        return (), [document.problem(("labels_file",), f"{path}: line {labels.index('') + 1} is empty")]
    return labels, []


def _check_weights(weights: WeightsFile, folder: Path, document: Document, number: int) -> list[Problem]:
    path = folder / weights.path
    if why := (why_not_folder if weights.format == "savedmodel" else why_not_file)(path):
        return [document.problem(("files", number, "path"), f"{path}: {why}")]
    if why := _why_not_format(path, weights.format):
        return [document.problem(("files", number, "format"), f"{path}: {why}")]
    sums = [("sha256", path, weights.sha256)]
    if weights.companion is not None:
        companion = folder / weights.companion
        if why := why_not_file(companion):
            where = "path" if weights.weights is None else "weights"
            beside = COMPANIONS[weights.format][0]
            text = f"{companion}: the weights beside the {beside} are missing ({why})"
            return [document.problem(("files", number, where), text)]
        sums.append(("weights_sha256", companion, weights.weights_sha256))
    problems: list[Problem] = []
    for key, part, wanted in sums:
        if wanted is not None and (actual := sha256_of(part)) != wanted:
            problems.append(
                document.problem(("files", number, key), f"{part} has sha256 {actual}, not the one written here")
            )
    return problems


def _why_not_format(path: Path, format_: str) -> str:
    """Why a file cannot be of a format, by its content; nothing when it is, or when the content does not tell."""
    found = recognize(path)
    if found.kind in REFUSED:
        return f"is {found.detail}, not {format_}: {REFUSED[found.kind].remedy}"
    if found.kind in FORMATS and found.kind != format_:
        return f"is {found.detail} by its content, not {format_}"
    telling = "known here" not in found.detail and found.detail != "is empty"
    if found.kind == "unknown" and telling:  # a web page, a pointer of Git LFS, a program
        return f"is {found.detail}, not {format_}"
    return ""
