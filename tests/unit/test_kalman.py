"""The filter of all tracks at once is the textbook's filter of each."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.analytics.kalman import Kalman

POSITION, VELOCITY = 1 / 20, 1 / 160


def _measured(box: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]])


def _by_matrices(boxes: list[NDArray[np.float64]], seconds: float) -> NDArray[np.float64]:
    """Left, top, right, bottom after all measurements: eight dimensions, with matrices (Kalman 1960)."""
    frames = seconds * 30.0
    step = np.eye(8) + frames * np.eye(8, k=4)
    look = np.eye(4, 8)
    state = np.concatenate([_measured(boxes[0]), np.zeros(4)])
    side = np.tile(state[2:4], 2)
    cover = np.diag(np.concatenate([2 * POSITION * side, 10 * VELOCITY * side]) ** 2)
    for box in boxes[1:]:
        side = np.tile(state[2:4], 2)
        state = step @ state
        cover = step @ cover @ step.T + frames * np.diag(np.concatenate([POSITION * side, VELOCITY * side]) ** 2)
        side = np.tile(state[2:4], 2)
        gain = cover @ look.T @ np.linalg.inv(look @ cover @ look.T + np.diag((POSITION * side) ** 2))
        state = state + gain @ (_measured(box) - look @ state)
        cover = (np.eye(8) - gain @ look) @ cover
    return np.concatenate([state[:2] - state[2:4] / 2, state[:2] + state[2:4] / 2])


@pytest.mark.parametrize("seconds", [1 / 30, 0.1])
def test_it_is_the_filter_of_the_textbook(seconds: float) -> None:
    """Two tracks that wander for thirty frames, against matrices of eight by eight."""
    random = np.random.default_rng(4)
    paths = []
    for start in ([100.0, 80.0, 160.0, 220.0], [400.0, 300.0, 430.0, 320.0]):
        corners = np.array(start) + np.cumsum(random.normal(1.0, 2.0, (30, 1)), axis=0) + random.normal(0, 1, (30, 4))
        paths.append(list(corners))
    kalman = Kalman()
    kalman.add(np.stack([path[0] for path in paths], axis=1))
    for number in range(1, 30):
        kalman.predict(seconds)
        kalman.update(np.arange(2), np.stack([path[number] for path in paths], axis=1))
    expected = np.stack([_by_matrices(path, seconds) for path in paths], axis=1)
    assert kalman.boxes() == pytest.approx(expected, abs=1e-6)


def test_a_box_that_shrinks_does_not_turn_inside_out() -> None:
    """However long nobody sees it."""
    kalman = Kalman()
    kalman.add(np.array([[0.0], [0.0], [60.0], [60.0]]))
    for side in (50.0, 40.0, 30.0, 20.0, 10.0):
        kalman.predict(1 / 30)
        kalman.update(np.arange(1), np.array([[0.0], [0.0], [side], [side]]))
    for _ in range(60):
        kalman.predict(1 / 30)
    left, top, right, bottom = kalman.boxes()[:, 0]
    assert (right - left, bottom - top) == pytest.approx((1.0, 1.0))
