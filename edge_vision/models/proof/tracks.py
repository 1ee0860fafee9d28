"""Measures tracks against known ones, both in the files of the MOT Challenge: one row per object and frame."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.tracker import Tracker, TrackerOptions
from edge_vision.core.detections import Detections
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file
from edge_vision.core.plugin import require

_SAME: Final = 0.5
"""A track is on its object where their boxes overlap by half or more, as in the MOT Challenge (arXiv:1603.00831)."""
_MOST_FRAMES: Final = 1_000_000
_COLUMNS: Final = ("frame", "id", "left", "top", "width", "height")
_CONSIDER: Final = 6
"""The column of the score in a file of detections, and of 0 for rows that do not count in one of known tracks."""
_METRICS: Final = (
    *("mota", "idf1", "num_switches", "num_fragmentations", "num_false_positives", "num_misses"),
    "num_unique_objects",
)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Objects over a whole clip, in the order of their frames, which are counted from 1."""

    frame: NDArray[np.int64]
    track_id: NDArray[np.int64]
    xyxy: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def of(self, frame: int) -> slice:
        """The rows of one frame."""
        return slice(*np.searchsorted(self.frame, [frame, frame + 1]).tolist())


@dataclass(frozen=True, slots=True)
class TrackScore:
    """How well objects were followed (CLEAR MOT, and IDF1 of arXiv:1609.01775), as motmetrics computes it.

    `objects` and `identities` are how many different ones are known, and how many numbers were given.
    """

    mota: float
    idf1: float
    switches: int
    fragmentations: int
    false_positives: int
    misses: int
    objects: int
    identities: int

    def __str__(self) -> str:
        return (
            f"MOTA {self.mota:.4f}, IDF1 {self.idf1:.4f}, {self.switches} switches, {self.identities} identities for "
            f"{self.objects} objects, {self.misses} misses, {self.false_positives} false positives"
        )


def read_rows(file: Path, *, known: bool) -> Rows:
    """A file of the MOT Challenge: frame, id, left, top, width, height, score ...; `known` for one of known tracks.

    Rows of known tracks whose seventh column is 0 do not count and are left out. Raises ConfigError with the line.
    """
    if why := why_not_file(file):
        msg = f"{file}: {why}"
        raise ConfigError(msg)
    rows: list[list[float]] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        msg = f"{file}: is not text"
        raise ConfigError(msg) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            rows.append(_row(f"{file}:{number}", line, known=known))
    table = np.array(rows, np.float64).reshape(-1, _CONSIDER + 1)
    if known:
        table = table[table[:, _CONSIDER] != 0]
    if not len(table):
        msg = f"{file}: holds no object"
        raise ConfigError(msg)
    table = table[np.argsort(table[:, 0], kind="stable")]
    found = Rows(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1),
        table[:, _CONSIDER],
    )
    if known:
        _refuse_doubles(file, found)
    return found


def _row(where: str, line: str, *, known: bool) -> list[float]:
    """Frame, id, box and score of a line; the score is 1 where the line has none. Raises ConfigError."""
    words = line.replace(",", " ").split()
    try:
        values = [float(word) for word in words[: _CONSIDER + 1]]
    except ValueError:
        values = []
    if len(values) < len(_COLUMNS) or not np.isfinite(values).all():
        msg = f"{where}: needs the numbers {', '.join(_COLUMNS)}, has {line.strip()[:60]!r}"
        raise ConfigError(msg)
    if not 1 <= values[0] <= _MOST_FRAMES or values[0] % 1 or (known and values[1] % 1):
        msg = (
            f"{where}: frames are whole numbers from 1 to {_MOST_FRAMES}, ids whole numbers; it has {values[0]:.10g} "
            f"and {values[1]:.10g}"
        )
        raise ConfigError(msg)
    if not all(side > 0 for side in values[4:6]):
        msg = f"{where}: width and height must be more than 0, they are {values[4]:g} and {values[5]:g}"
        raise ConfigError(msg)
    return [*values, 1.0][: _CONSIDER + 1]


def _refuse_doubles(file: Path, rows: Rows) -> None:
    pairs, counts = np.unique(np.stack([rows.frame, rows.track_id], axis=1), axis=0, return_counts=True)
    if (counts > 1).any():
        frame, track_id = pairs[np.argmax(counts > 1)]
        msg = f"{file}: object {track_id} is in frame {frame} twice"
        raise ConfigError(msg)


def follow(seen: Rows, fps: float, options: TrackerOptions) -> Rows:
    """What the tracker makes of detections, all of one class, at so many frames per second."""
    tracker = Tracker(options, StageContext(("object",)))
    found: list[tuple[int, Detections]] = []
    for frame in range(1, int(seen.frame.max()) + 1):
        rows = seen.of(frame)
        confidence = seen.confidence[rows].astype(np.float32)
        objects = Detections(seen.xyxy[rows].astype(np.float32), confidence, np.zeros(len(confidence), np.int32))
        found.append((frame, tracker.update(objects, round(frame / fps * 1e9))))
    return rows_of(found)


def rows_of(found: Sequence[tuple[int, Detections]]) -> Rows:
    """What was tracked, frame by frame."""
    tracked = [(frame, one, one.track_id) for frame, one in found if one.track_id is not None]
    return Rows(
        np.repeat(np.array([frame for frame, _, _ in tracked], np.int64), [len(one) for _, one, _ in tracked]),
        np.concatenate([np.empty(0, np.int64), *(numbers for _, _, numbers in tracked)]),
        np.concatenate([np.empty((0, 4)), *(one.xyxy for _, one, _ in tracked)]),
        np.concatenate([np.empty(0), *(one.confidence for _, one, _ in tracked)]),
    )


def score(truth: Rows, found: Rows) -> TrackScore:
    """Hold tracks against known ones. Raises MissingLibraryError without motmetrics and pycocotools."""
    metrics: Any = require("motmetrics", "models")
    mask: Any = require("pycocotools.mask", "models")
    with warnings.catch_warnings():  # what it uses of pandas is deprecated now and then
        warnings.simplefilter("ignore")
        judge = metrics.MOTAccumulator(auto_id=False)
        for frame in np.union1d(truth.frame, found.frame).tolist():
            one, other = truth.of(frame), found.of(frame)
            known, given = truth.track_id[one], found.track_id[other]
            # The library's own distances call what NumPy 2 no longer has; it takes them from anywhere.
            overlap = np.zeros((len(known), len(given)))
            if overlap.size:
                overlap = mask.iou(_sides(truth.xyxy[one]), _sides(found.xyxy[other]), [0] * len(given))
            judge.update(known, given, np.where(overlap >= _SAME, 1.0 - overlap, np.nan), frameid=frame)
        row = metrics.metrics.create().compute(judge, metrics=list(_METRICS), name="all").loc["all"]
    identities = len(np.unique(found.track_id))
    mota, idf1, *counts = (row[name] for name in _METRICS)
    switches, fragmentations, false_positives, misses, objects = map(int, counts)
    return TrackScore(
        mota=float(mota),
        idf1=float(idf1),
        switches=switches,
        fragmentations=fragmentations,
        false_positives=false_positives,
        misses=misses,
        objects=objects,
        identities=identities,
    )


def _sides(xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left, top, width, height."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
