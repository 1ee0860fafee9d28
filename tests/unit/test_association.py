"""Checks which pairs may belong together, and that the best of them are taken."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.analytics.association import Assigner, near


def _pairs(gain: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """The pairs of a matrix whose gain is more than 0."""
    rows, columns = np.nonzero(gain > 0)
    return rows, columns, gain[rows, columns]


def _most(gain: NDArray[np.float64]) -> float:
    """The greatest sum that is possible, by trying everything: row by row, with a column that is free or none."""

    def best(row: int, free: frozenset[int]) -> float:
        if row == len(gain):
            return 0.0
        options = [best(row + 1, free)]
        options += [gain[row, column] + best(row + 1, free - {column}) for column in free if gain[row, column] > 0]
        return max(options)

    return best(0, frozenset(range(gain.shape[1])))


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_assignments_gain_most(seed: int, share: float) -> None:
    """Against every assignment of small problems, sparse and dense; every third has gains that are equal."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.05, 1.1, (5, 6))
    if seed % 3 == 0:
        gain = np.ceil(gain * 3) / 3
    gain[rng.uniform(size=gain.shape) >= share] = 0.0
    rows, columns, worth = _pairs(gain)
    taken = Assigner()(rows, columns, worth)
    assert len(set(rows[taken])) == len(taken) == len(set(columns[taken]))
    assert worth[taken].sum() == pytest.approx(_most(gain))


def test_a_chain_of_rivals_is_solved_as_a_whole() -> None:
    """The greatest gain, of the second row, would leave the first and the third with nothing: 1.0 against 0.7 + 0.7."""
    gain = np.array([[0.7, 0.0], [1.0, 0.7]])
    rows, columns, worth = _pairs(gain)
    assert sorted(zip(rows[taken := Assigner()(rows, columns, worth)], columns[taken], strict=True)) == [(0, 0), (1, 1)]


def test_nothing_and_one_are_assigned() -> None:
    """No pair, one pair."""
    nothing = np.empty(0, np.intp)
    assert Assigner()(nothing, nothing, np.empty(0)).tolist() == []
    assert Assigner()(np.array([3]), np.array([9]), np.array([0.1])).tolist() == [0]


def test_more_rivals_than_can_be_solved_take_the_greatest_gain_first() -> None:
    """Six hundred that all compete with each other: an answer in time, each row and column at most once."""
    gain = np.random.default_rng(0).uniform(0.5, 1.0, (600, 600))
    rows, columns, worth = _pairs(gain)
    taken = Assigner()(rows, columns, worth)
    assert len(set(rows[taken])) == len(taken) == len(set(columns[taken])) == 600
    assert worth[taken].max() == worth.max()
    assert worth[taken].mean() > 0.97  # at random it is 0.75


def test_overlaps_are_intersection_over_union() -> None:
    """Worked by hand; boxes that only touch are not near."""
    one = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [100, 100, 120, 110]], float).T
    other = np.array([[5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10], [100, 100, 110, 110]], float).T
    first, second, overlap = near(one, other, 0.0)
    found = {(int(a), int(b)): round(float(c), 6) for a, b, c in zip(first, second, overlap, strict=True)}
    assert found == {(0, 0): 0.333333, (0, 2): 1.0, (1, 0): 0.333333, (2, 3): 0.5}
    assert near(one, other, 0.5)[2].round(6).tolist() == [1.0, 0.5]


def test_pairs_are_found_in_portions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are looked at in one go, the pairs and their order are the same."""
    corner = np.random.default_rng(1).uniform(0, 400, (2, 60))
    boxes = np.concatenate([corner, corner + 50])
    whole = near(boxes, boxes[:, :40], 0.1)
    monkeypatch.setattr("edge_vision.analytics.association._AT_ONCE", 100)
    portions = near(boxes, boxes[:, :40], 0.1)
    assert len(whole[0]) > 40
    assert all(np.array_equal(a, b) for a, b in zip(whole, portions, strict=True))


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (0, 3)])
def test_nothing_is_near_nothing(counts: tuple[int, int]) -> None:
    """No tracks, no objects."""
    one, other = (np.tile([[0.0], [0.0], [9.0], [9.0]], count) for count in counts)
    assert [len(column) for column in near(one, other, 0.1)] == [0, 0, 0]
