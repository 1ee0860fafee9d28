"""Measures how well a model sorts: the classes of labeled pictures."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_folder
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.inference.select import select
from edge_vision.inference.trial import admit
from edge_vision.models.bundle import Bundle
from edge_vision.models.proof.evaluate import ungated
from edge_vision.models.proof.labeling import read_labeling
from edge_vision.models.proof.record import PICTURES, find_pictures, look

_CLASS: Final = ("class", "label")
"""Names that the column of classes may have."""
_FEW: Final = 5
"""How many of the best classes count as a near hit."""


@dataclass(frozen=True, slots=True)
class Sorting:
    """What a picture shows, and what the model took it for, best first."""

    file: str
    label: str
    taken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sorted:
    """What one runtime made of every labeled picture, in the order of their names."""

    backend: str
    device: str
    file: str
    precision: str
    sortings: tuple[Sorting, ...]
    unlabeled: int

    @property
    def right(self) -> int:
        """How many have the right class first."""
        return sum(one.taken[:1] == (one.label,) for one in self.sortings)

    @property
    def near(self) -> int:
        """How many have the right class among the first five."""
        return sum(one.label in one.taken[:_FEW] for one in self.sortings)

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How many of each class were taken for what; of no class for the empty name."""
        counts = Counter((one.label, one.taken[0] if one.taken else "") for one in self.sortings)
        labels = sorted({label for label, _ in counts})
        return {label: {taken: counts[of, taken] for of, taken in sorted(counts) if of == label} for label in labels}


@dataclass(frozen=True, slots=True)
class SortingExam:
    """Labeled pictures with their classes, and how many others lie beside them."""

    pictures: tuple[tuple[Path, str], ...]
    unlabeled: int


def set_sorting(bundle: Bundle, classes: Path, images: Path | None) -> SortingExam:
    """The labeled pictures: those of `images` that a CSV file names, or those of a folder with a folder per class.

    Raises ConfigError for a model that does not sort whole pictures, and for what is no label of it.
    """
    if "class" not in bundle.gives or "box" in bundle.gives:
        gives = " and ".join(sorted(bundle.gives))
        msg = f"{bundle.folder}: model {bundle.spec.name} gives {gives}: it does not sort whole pictures"
        raise ConfigError(msg)
    if images is None:
        if why := why_not_folder(classes):
            msg = f"{classes}: {why}; with a CSV file say with --images where the pictures are"
            raise ConfigError(msg)
        folders = sorted(one for one in classes.iterdir() if one.is_dir())
        for folder in folders:
            _known(f"{folder}", folder.name, bundle.spec.labels)
        found = [
            (file, folder.name)
            for folder in folders
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in PICTURES
        ]
        if not found:
            msg = f"{classes}: holds no folders with pictures, named like the classes"
            raise ConfigError(msg)
        return SortingExam(tuple(found), 0)
    labels = read_labeling(classes, _CLASS, empty=False)
    for name, label in labels.items():
        _known(f"{classes}: {name}", label, bundle.spec.labels)
    pictures = find_pictures(images)
    known = tuple((file, labels[file.name]) for file in pictures if file.name in labels)
    if not known:
        hint = did_you_mean(pictures[0].name, tuple(labels))
        msg = f"{images}: none of the {len(pictures)} pictures is labeled, such as {pictures[0].name}{hint}"
        raise ConfigError(msg)
    return SortingExam(known, len(pictures) - len(known))


def sort_pictures(
    bundle: Bundle,
    exam: SortingExam,
    backends: Sequence[str],
    options: LoadOptions,
    confidence: float = 0.0,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Sorted:
    """Show the pictures to a classifier on the first runtime that can serve it as asked.

    Raises NoBackendError with every reason when no runtime can.
    """
    thresholds = bundle.thresholds.model_copy(update={"confidence": confidence})
    chosen = select(bundle.spec, backends, options, ungated, admit)
    seen = look(bundle, chosen.file, chosen.engine, [file for file, _ in exam.pictures], thresholds, progress=progress)
    return Sorted(
        backend=chosen.backend,
        device=chosen.engine.device,
        file=bundle.path_of(chosen.file),
        precision=options.precision,
        sortings=tuple(
            Sorting(name, label, _taken(found, bundle.spec.labels))
            for (name, found), (_, label) in zip(seen, exam.pictures, strict=True)
        ),
        unlabeled=exam.unlabeled,
    )


def _known(where: str, label: str, labels: tuple[str, ...]) -> None:
    if label not in labels:
        msg = f"{where}: {label} is no label of the model{did_you_mean(label, labels)}"
        raise ConfigError(msg)


def _taken(found: Detections, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of the whole picture, best first."""
    return tuple(labels[number] for number in found.class_id[:_FEW].tolist())
