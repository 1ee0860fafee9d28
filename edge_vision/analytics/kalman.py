"""Where tracked boxes will be: a constant-velocity Kalman filter for all tracks at once.

The state of a track is center x, center y, width, height and their velocities, as in BoT-SORT (arXiv:2206.14651).
Because motion, measurement and noise treat each of the four coordinates alone, the filter of eight dimensions falls
apart into four of two, exactly: three numbers of covariance per coordinate, and no matrix is ever inverted. Noise
grows with the size of the box; its weights are those of SORT's successors, per frame of a camera of 30 a second.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_POSITION: Final = 1 / 20
"""Standard deviation of a position, as part of the box's side."""
_VELOCITY: Final = 1 / 160
"""The same of a velocity, per frame."""
_FRAMES_PER_S: Final = 30.0


class Kalman:
    """The states of n tracks, as rows. Times are in seconds, boxes xyxy in pixels."""

    def __init__(self) -> None:
        self.mean = np.empty((0, 4))
        self.velocity = np.empty((0, 4))
        """Per frame of 1/30 s."""
        self._cov = np.empty((3, 0, 4))
        """Variance of the position, covariance of both, variance of the velocity."""

    def __len__(self) -> int:
        return len(self.mean)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget the other tracks."""
        self.mean, self.velocity, self._cov = self.mean[rows], self.velocity[rows], self._cov[:, rows]

    def add(self, xyxy: NDArray[np.floating]) -> None:
        """Begin tracks at boxes (m, 4); nobody knows yet how they move."""
        mean = _from_corners(xyxy)
        side = _sides(mean)
        cov = np.stack([(2 * _POSITION * side) ** 2, np.zeros_like(side), (10 * _VELOCITY * side) ** 2])
        self.mean = np.concatenate([self.mean, mean])
        self.velocity = np.concatenate([self.velocity, np.zeros_like(mean)])
        self._cov = np.concatenate([self._cov, cov], axis=1)

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        frames = seconds * _FRAMES_PER_S
        side = _sides(self.mean)
        place, both, speed = self._cov
        self.mean = self.mean + frames * self.velocity
        np.maximum(self.mean[:, 2:], 1.0, out=self.mean[:, 2:])  # a box that shrinks does not turn inside out
        place += frames * (2 * both + frames * speed) + frames * (_POSITION * side) ** 2
        both += frames * speed
        speed += frames * (_VELOCITY * side) ** 2

    def update(self, rows: NDArray[np.intp], xyxy: NDArray[np.floating]) -> None:
        """Correct the tracks at `rows` by what was measured, boxes (m, 4)."""
        measured = _from_corners(xyxy)
        place, both, speed = self._cov[:, rows]
        total = place + (_POSITION * _sides(self.mean[rows])) ** 2
        gain, drive = place / total, both / total
        off = measured - self.mean[rows]
        self.mean[rows] += gain * off
        self.velocity[rows] += drive * off
        self._cov[:, rows] = np.stack([place * (1 - gain), both * (1 - gain), speed - drive * both])

    def boxes(self) -> NDArray[np.float64]:
        """Where the tracks are, xyxy (n, 4)."""
        half = self.mean[:, 2:] / 2
        return np.concatenate([self.mean[:, :2] - half, self.mean[:, :2] + half], axis=1)


def _from_corners(xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Xyxy → center x, center y, width, height."""
    low, high = xyxy[:, :2].astype(np.float64), xyxy[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _sides(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The side that each coordinate is measured against: width for x and width, height for y and height."""
    return np.tile(mean[:, 2:], 2)
