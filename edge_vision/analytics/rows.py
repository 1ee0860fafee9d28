"""What a stage remembers of tracks, as columns with a row for each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class TrackRows:
    """Columns that grow with new tracks, or pairs of tracks, and shrink when old ones are forgotten.

    `track_id` is sorted.
    `columns` holds the arrays by name; a row begins with the values of `blank`.
    """

    def __init__(self, **blank: NDArray[Any]) -> None:
        self.track_id = np.empty(0, np.int64)
        self.seen_ns = np.empty(0, np.int64)
        self._blank = blank
        self.columns = {name: np.empty((0, *value.shape), value.dtype) for name, value in blank.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.track_id)

    def see(self, track_id: NDArray[np.integer[Any]], media_ns: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The rows of tracks that are seen now, and which of them are new."""
        at = np.searchsorted(self.track_id, track_id)
        known = at < len(self.track_id)
        known[known] = self.track_id[at[known]] == track_id[known]
        if not known.all():
            fresh = np.unique(track_id[~known])
            places = np.searchsorted(self.track_id, fresh)
            self.track_id = np.insert(self.track_id, places, fresh)
            self.seen_ns = np.insert(self.seen_ns, places, media_ns)
            for name, column in self.columns.items():
                self.columns[name] = np.insert(column, places, self._blank[name], axis=0)
            at = np.searchsorted(self.track_id, track_id)
        self.seen_ns[at] = media_ns
        return at, ~known

    def forget(self, rows: NDArray[np.bool_]) -> None:
        """Drop the rows that are true."""
        if rows.any():
            keep = ~rows
            self.track_id, self.seen_ns = self.track_id[keep], self.seen_ns[keep]
            self.columns = {name: column[keep] for name, column in self.columns.items()}
