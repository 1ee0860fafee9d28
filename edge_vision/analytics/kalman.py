"""Where tracked boxes will be: a constant-velocity Kalman filter for all tracks at once.

The state of a track is center x, center y, width, height and their velocities, as in BoT-SORT (arXiv:2206.14651).
Because motion, measurement and noise treat each of the four coordinates alone, the filter of eight dimensions falls
apart into four of two, exactly: three numbers of covariance per coordinate, and no matrix is ever inverted. Noise
grows with the size of the box; its weights are those of SORT's successors, per frame of a camera of 30 a second.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.association import Floats, Indices

_POSITION: Final = 1 / 20
"""Standard deviation of a position, as part of the box's side."""
_VELOCITY: Final = 1 / 160
"""The same of a velocity, per frame."""
_FRAMES_PER_S: Final = 30.0


class Kalman:
    """The states of n tracks, as columns. Times are in seconds, boxes (4, n) left, top, right, bottom in pixels."""

    def __init__(self) -> None:
        # (5, 4, n): position, velocity per frame of 1/30 s; variance of the position, covariance of both, variance of
        # the velocity. One array, so that tracks come and go in one step.
        self._state = np.empty((5, 4, 0))

    def __len__(self) -> int:
        return self._state.shape[2]

    def keep(self, tracks: NDArray[np.bool_]) -> None:
        """Forget the other tracks."""
        self._state = self._state[:, :, tracks]

    def add(self, boxes: Floats) -> None:
        """Begin tracks at boxes (4, m); nobody knows yet how they move."""
        new = np.zeros((5, *boxes.shape))
        new[0] = _from_corners(boxes)
        np.maximum(new[0, 2:], 1.0, out=new[0, 2:])
        side = _sides(new[0])
        new[2], new[4] = (2 * _POSITION * side) ** 2, (10 * _VELOCITY * side) ** 2
        self._state = np.concatenate([self._state, new], axis=2)

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        frames = seconds * _FRAMES_PER_S
        mean, velocity, place, both, speed = self._state
        side_2 = frames * _sides(mean) ** 2
        mean += frames * velocity
        np.maximum(mean[2:], 1.0, out=mean[2:])  # a box that shrinks does not turn inside out
        place += frames * (2 * both + frames * speed) + _POSITION**2 * side_2
        both += frames * speed
        speed += _VELOCITY**2 * side_2

    def update(self, tracks: Indices, boxes: Floats) -> None:
        """Correct some of the tracks by what was measured, boxes (4, m)."""
        mean, velocity, place, both, speed = state = self._state[:, :, tracks]
        total = place + (_POSITION * _sides(mean)) ** 2
        gain, drive = place / total, both / total
        off = _from_corners(boxes) - mean
        mean += gain * off
        velocity += drive * off
        speed -= drive * both
        rest = 1 - gain
        place *= rest
        both *= rest
        self._state[:, :, tracks] = state

    def boxes(self) -> Floats:
        """Where the tracks are, (4, n)."""
        mean = self._state[0]
        half = mean[2:] / 2
        return np.concatenate([mean[:2] - half, mean[:2] + half])

    def gates(self, surprise: float) -> Floats:
        """Where the center of each track's box must be for a squared Mahalanobis distance of at most `surprise`."""
        mean, _, place, _, _ = self._state[:, :2]
        reach = np.sqrt(surprise * (place + (_POSITION * self._state[0, 2:]) ** 2))
        return np.concatenate([mean - reach, mean + reach])

    def surprise(self, tracks: Indices, boxes: Floats) -> Floats:
        """How far boxes (4, m) are from where those tracks (m,) should be: the squared Mahalanobis distance."""
        mean, _, place, _, _ = self._state[:, :, tracks]
        off = _from_corners(boxes) - mean
        return np.asarray((off**2 / (place + (_POSITION * _sides(mean)) ** 2)).sum(axis=0))


def _from_corners(boxes: Floats) -> Floats:
    """Left, top, right, bottom → center x, center y, width, height."""
    low, high = boxes[:2], boxes[2:]
    return np.concatenate([(low + high) / 2, high - low])


def _sides(mean: Floats) -> Floats:
    """The side that each coordinate is measured against: width for x and width, height for y and height."""
    return np.concatenate([mean[2:], mean[2:]])
