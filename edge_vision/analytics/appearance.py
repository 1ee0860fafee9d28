"""What tracked objects look like, where a model before the tracker says so: one vector of unit length for each track.

As in BoT-SORT (arXiv:2206.14651): a track's look is an exponential average of those of its objects, and two looks
are compared by their cosine.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.association import Floats, Indices

_KEPT: Final = 0.9
"""How much of its look a track keeps with each object."""
_UNIT: Final = 0.5
"""A vector shorter than this, or one that is no number, is nobody's look."""


class Looks:
    """The looks of n tracks; a track whose objects never came with one has none."""

    def __init__(self) -> None:
        self._vectors = np.empty((0, 0), np.float32)
        self.known = np.empty(0, bool)
        """Which tracks have a look, (n,)."""

    def keep(self, tracks: NDArray[np.bool_]) -> None:
        """Forget the other tracks."""
        self._vectors, self.known = self._vectors[tracks], self.known[tracks]

    def add(self, count: int) -> None:
        """Begin tracks without a look."""
        self._vectors = np.concatenate([self._vectors, np.zeros((count, self._vectors.shape[1]), np.float32)])
        self.known = np.concatenate([self.known, np.zeros(count, bool)])

    def begin(self, width: int) -> None:
        """Be ready for looks of so many numbers; of another model nothing can be compared with what was."""
        if width != self._vectors.shape[1]:
            self._vectors = np.zeros((len(self.known), width), np.float32)
            self.known[:] = False

    def update(self, tracks: Indices, looks: NDArray[np.float32]) -> None:
        """Take in the looks (m, d) of objects that went on with those tracks (m,)."""
        usable = has_look(looks)
        tracks, looks = tracks[usable], looks[usable]
        kept = np.where(self.known[tracks], np.float32(_KEPT), np.float32(0.0))[:, None]
        mixed = kept * self._vectors[tracks] + (1 - kept) * looks
        length = np.linalg.norm(mixed, axis=1, keepdims=True)
        self._vectors[tracks] = mixed / np.maximum(length, np.float32(1e-6))
        self.known[tracks] = True

    def distance(self, tracks: Indices, looks: NDArray[np.float32]) -> Floats:
        """One minus the cosine between the looks of tracks (p,) and looks (p, d); all must have one."""
        cosine: Floats = np.einsum("pd,pd->p", self._vectors[tracks], looks).astype(np.float64)
        return 1.0 - cosine


def has_look(looks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows (m, d) are looks, and not zeros or NaN for an object that nobody looked at."""
    length_2 = np.einsum("md,md->m", looks, looks)
    return np.asarray((length_2 > _UNIT**2) & np.isfinite(length_2))
