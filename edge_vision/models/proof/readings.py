"""Measures how well a model reads: the texts of labeled pictures, letter by letter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.inference.select import select
from edge_vision.inference.trial import admit
from edge_vision.models.bundle import Bundle
from edge_vision.models.proof.evaluate import ungated
from edge_vision.models.proof.labeling import read_labeling
from edge_vision.models.proof.record import find_pictures, look

_TEXT: Final = ("text", "plate")
"""Names that the column of texts may have."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is written in a picture, and what was read; both empty for nothing."""

    file: str
    text: str
    read: str


@dataclass(frozen=True, slots=True)
class Read:
    """What one runtime read of every labeled picture, in the order of their names."""

    backend: str
    device: str
    file: str
    precision: str
    readings: tuple[Reading, ...]
    unlabeled: int

    @property
    def exact(self) -> int:
        """How many were read without a mistake."""
        return sum(one.read == one.text for one in self.readings)

    @property
    def error_rate(self) -> float:
        """Characters to insert, to take out or to change, as part of all that are written (CER)."""
        written = sum(len(one.text) for one in self.readings)
        return sum(edits(one.read, one.text) for one in self.readings) / max(written, 1)


def read_texts(file: Path) -> dict[str, str]:
    """The text of each picture: a CSV file with the columns `file` and `text` (or `plate`), in UTF-8; it may be empty.

    Raises ConfigError that names the file, the line and what it needs.
    """
    return read_labeling(file, _TEXT, empty=True)


def read_pictures(
    bundle: Bundle,
    texts: Mapping[str, str],
    images: Path,
    backends: Sequence[str],
    options: LoadOptions,
    confidence: float | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Read:
    """Show the labeled pictures of a folder to a model that reads, on the first runtime that can serve it as asked.

    Raises ConfigError for a model that does not read, and when none of the pictures is labeled; NoBackendError with
    every reason when no runtime can.
    """
    if "text" not in bundle.gives:
        msg = f"{bundle.folder}: model {bundle.spec.name} gives {' and '.join(sorted(bundle.gives))}, and reads no text"
        raise ConfigError(msg)
    pictures = find_pictures(images)
    known = [picture for picture in pictures if picture.name in texts]
    if not known:
        hint = did_you_mean(pictures[0].name, tuple(texts))
        msg = f"{images}: none of the {len(pictures)} pictures is labeled, such as {pictures[0].name}{hint}"
        raise ConfigError(msg)
    thresholds = bundle.thresholds
    if confidence is not None:
        thresholds = thresholds.model_copy(update={"confidence": confidence})
    chosen = select(bundle.spec, backends, options, ungated, admit)
    seen = look(bundle, chosen.file, chosen.engine, known, thresholds, progress=progress)
    return Read(
        backend=chosen.backend,
        device=chosen.engine.device,
        file=bundle.path_of(chosen.file),
        precision=options.precision,
        readings=tuple(Reading(name, texts[name], best_text(found)) for name, found in seen),
        unlabeled=len(pictures) - len(known),
    )


def best_text(found: Detections) -> str:
    """What was read with the most confidence; empty for nothing."""
    if found.text is None or not len(found):
        return ""
    return str(found.text[int(found.confidence.argmax())])


def edits(read: str, text: str) -> int:
    """How many characters must be inserted, taken out or changed to make one text of another (Levenshtein, 1965)."""
    costs = list(range(len(text) + 1))
    for row, letter in enumerate(read, 1):
        diagonal, costs[0] = costs[0], row
        for column, other in enumerate(text, 1):
            cost = min(costs[column] + 1, costs[column - 1] + 1, diagonal + (letter != other))
            diagonal, costs[column] = costs[column], cost
    return costs[-1]
