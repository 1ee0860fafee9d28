"""What a network saw in one frame, as columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.geometry import corners_of


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in a frame; row i of every column speaks of object i.

    `xyxy` is float32 (n, 4), left, top, right, bottom in source pixels; `confidence` float32 (n,) in 0..1;
    `class_id` int32 (n,), an index into the labels of the scene. Optional columns are None where nobody gave them:
    `track_id` int32 (n,), unique per source and run, 0 where there is none; `keypoints` float32 (n, k, 3) as x, y,
    confidence; `quad` float32 (n, 4, 2), corners in source pixels, clockwise from the object's own top left; `mask`
    object (n,) of bool arrays (rows, columns), each a grid laid over the object's box, whatever its resolution; `text`
    str (n,), empty where nothing was read; `embedding` float32 (n, d), of unit length; `began` float32 (n, 4), the box
    with which the object's track began, before the tracker was sure of it. `attributes` are further columns by name:
    str (n,), empty where unknown, or float32 (n,), NaN where unknown.
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]
    track_id: NDArray[np.int32] | None = None
    keypoints: NDArray[np.float32] | None = None
    quad: NDArray[np.float32] | None = None
    mask: NDArray[np.object_] | None = None
    text: NDArray[np.str_] | None = None
    embedding: NDArray[np.float32] | None = None
    began: NDArray[np.float32] | None = None
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        for name, column in (*self.columns().items(), *self.attributes.items()):
            if len(column) != count:
                msg = f"column {name} has {len(column)} rows, xyxy has {count}"
                raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> "Detections":
        """No objects."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> "Detections":
        """What `columns` gave."""
        return cls(*(columns.get(name) for name in _COLUMNS))  # type: ignore[arg-type] # the first three are there

    @property
    def tracked(self) -> NDArray[np.bool_]:
        """Which objects (n,) a tracker has numbered: not those that a stage behind it found."""
        return np.zeros(len(self), bool) if self.track_id is None else self.track_id > 0

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are, by name, without the attributes."""
        present = ((name, getattr(self, name)) for name in _COLUMNS)
        return {name: column for name, column in present if column is not None}

    def where(self, index: NDArray[Any]) -> "Detections":
        """The rows chosen by a boolean mask (n,) or by integer positions (m,), in that order."""
        attributes = {name: column[index] for name, column in self.attributes.items()}
        rows = {name: column[index] for name, column in self.columns().items()}
        return replace(Detections.of(rows), attributes=attributes)

    def with_attribute(self, name: str, column: NDArray[Any]) -> "Detections":
        """The same objects with one more attribute, or another value of it: str (n,) or float32 (n,)."""
        return replace(self, attributes={**self.attributes, name: column})

    def joined(self, other: "Detections") -> "Detections":
        """The objects of both, these first. What only one side knows is unknown on the other.

        Unknown is an empty text, a `track_id` of 0, keypoints of no confidence at 0, 0, an embedding of zeros, and an
        attribute that is empty or NaN; quad and mask are those of the whole box.
        """
        mine, others = self.columns(), other.columns()
        if len(other) == 0:
            return self
        if len(self) == 0 and mine.keys() <= others.keys() and self.attributes.keys() <= other.attributes.keys():
            return other  # else what this side tells of objects is unknown of those
        columns = {
            name: np.concatenate(
                [
                    side[name] if name in side else _unknown(name, whose.xyxy, (mine | others)[name])
                    for side, whose in ((mine, self), (others, other))
                ]
            )
            for name in mine | others
        }
        attributes = {
            name: np.concatenate(
                [
                    side.attributes[name] if name in side.attributes else _unknown_attribute(len(side), sample)
                    for side in (self, other)
                ]
            )
            for name, sample in {**other.attributes, **self.attributes}.items()
        }
        return replace(Detections.of(columns), attributes=attributes)


_COLUMNS = tuple(column.name for column in fields(Detections) if column.name != "attributes")


def _unknown(name: str, xyxy: NDArray[np.float32], sample: NDArray[Any]) -> NDArray[Any]:
    """A column for boxes (n, 4) of which this is not known, of the kind of `sample`."""
    if name == "quad":
        return corners_of(xyxy)
    if name == "mask":
        return masks([np.ones((1, 1), bool)] * len(xyxy))
    return np.zeros((len(xyxy), *sample.shape[1:]), sample.dtype)


def _unknown_attribute(count: int, sample: NDArray[Any]) -> NDArray[Any]:
    return np.full(count, "" if sample.dtype.kind == "U" else np.nan, sample.dtype)


def masks(grids: list[NDArray[np.bool_]]) -> NDArray[np.object_]:
    """A column of masks (n,); NumPy itself would stack grids of one size."""
    column = np.empty(len(grids), object)
    column[:] = grids
    return column
