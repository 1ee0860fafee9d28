"""Measures how well a model does on labeled pictures, through the real road and on one runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_vision.core.errors import ConfigError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.select import select
from edge_vision.inference.trial import admit
from edge_vision.models.bundle import Bundle
from edge_vision.models.proof.record import EVALUATION, find_pictures, look
from edge_vision.models.proof.truth import Labeled, Precision
from edge_vision.postprocess.format import Thresholds


@dataclass(frozen=True, slots=True)
class Exam:
    """Labeled pictures, and from where on an object counts as seen.

    `unlabeled` counts pictures of the folder that the annotations do not know: they are left out.
    """

    truth: Labeled
    pictures: tuple[Path, ...]
    unlabeled: int
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one runtime achieved with one file."""

    backend: str
    device: str
    file: str
    precision: str
    images: int
    figures: Precision


def set_exam(
    bundle: Bundle, annotations: Path, images: Path, confidence: float = EVALUATION, iou: float | None = None
) -> Exam:
    """The labeled pictures of a folder, with the bundle's thresholds but for those given.

    Raises ConfigError for a model whose objects nobody labels with boxes, and when the annotations cannot be used or
    know none of the pictures.
    """
    if not bundle.draws_boxes:
        gives = " and ".join(sorted(bundle.gives))
        other = "; --texts does" if "text" in bundle.gives else "; --classes does" if gives == "class" else ""
        msg = f"{bundle.folder}: model {bundle.spec.name} gives {gives}: labeled boxes do not measure that{other}"
        raise ConfigError(msg)
    truth = Labeled(annotations, bundle.spec.labels)
    pictures = find_pictures(images)
    known = tuple(picture for picture in pictures if picture.name in truth)
    if not known:
        msg = f"{annotations}: knows none of the {len(pictures)} pictures in {images}, such as {pictures[0].name}"
        raise ConfigError(msg)
    changed = {"confidence": confidence} if iou is None else {"confidence": confidence, "iou": iou}
    thresholds = bundle.thresholds.model_copy(update=changed)
    return Exam(truth, known, len(pictures) - len(known), thresholds)


def average_precision(
    bundle: Bundle,
    exam: Exam,
    file: ModelFile,
    engine: Engine,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Precision:
    """COCO average precision of an engine that has loaded `file`. Raises InferenceError or ModelError."""
    seen = look(bundle, file, engine, exam.pictures, exam.thresholds, progress=progress)
    return exam.truth.average_precision(dict(seen))


def evaluate(
    bundle: Bundle,
    exam: Exam,
    backends: Sequence[str],
    options: LoadOptions,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Evaluated:
    """Evaluate on the first of the runtimes that can serve the model as asked, whether it agrees with others or not.

    Raises NoBackendError with every reason when none can.
    """
    chosen = select(bundle.spec, backends, options, ungated, admit)
    figures = average_precision(bundle, exam, chosen.file, chosen.engine, progress)
    return Evaluated(
        backend=chosen.backend,
        device=chosen.engine.device,
        file=bundle.path_of(chosen.file),
        precision=options.precision,
        images=len(exam.pictures),
        figures=figures,
    )


def ungated(name: str, file: ModelFile, engine: Engine) -> None:
    """An exam is taken without the gate: it is what shows how good or bad an engine is."""
    del name, file, engine
