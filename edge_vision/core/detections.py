"""What a network saw in one frame, as columns."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in a frame; row i of every column speaks of object i.

    `xyxy` is float32 (n, 4), left, top, right, bottom in source pixels; `confidence` float32 (n,) in 0..1;
    `class_id` int32 (n,), an index into the model's labels. Optional columns are None where the model has none:
    `track_id` int32 (n,), `keypoints` float32 (n, k, 3) as x, y, confidence; `quad` float32 (n, 4, 2).
    """

    xyxy: NDArray[np.float32]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int32]
    track_id: NDArray[np.int32] | None = None
    keypoints: NDArray[np.float32] | None = None
    quad: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        for field in fields(self):
            column = getattr(self, field.name)
            if column is not None and len(column) != count:
                msg = f"column {field.name} has {len(column)} rows, xyxy has {count}"
                raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> "Detections":
        """No objects."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are, by name."""
        present = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: column for name, column in present if column is not None}

    def where(self, index: NDArray[Any]) -> "Detections":
        """The rows chosen by a boolean mask (n,) or by integer positions (m,), in that order."""
        return Detections(*(_rows(getattr(self, field.name), index) for field in fields(self)))


def _rows(column: NDArray[Any] | None, index: NDArray[Any]) -> Any:
    return None if column is None else column[index]
