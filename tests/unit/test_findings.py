"""Checks how far apart masks, texts, embeddings and attributes are, and that golden data keep them."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.detections import Detections, masks
from edge_vision.models.golden import Answer, pack, unpack
from edge_vision.models.options import Parity
from edge_vision.models.proof.agreement import Agreement, compare
from edge_vision.models.proof.findings import edit_distance, mask_overlap

STRICT = Parity().f32
WHOLE = [0.0, 0.0, 100.0, 100.0]
DISK = np.hypot(*(np.mgrid[0:40, 0:40] - 19.5)) < 15


def _seen(box: list[float] = WHOLE, **columns: Any) -> Detections:
    return Detections(np.array([box], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32), **columns)


def _masked(grid: NDArray[np.bool_], box: list[float] = WHOLE) -> Detections:
    return _seen(box, mask=masks([grid]))


def _compared(reference: Detections, found: Detections) -> tuple[Agreement, list[str]]:
    agreement = compare([reference], [found], 0.3, STRICT.score_diff)
    return agreement, agreement.breaches(STRICT)


def test_the_same_mask_overlaps_wholly() -> None:
    """Also on a grid of another resolution, and in a box that is cut closer."""
    assert mask_overlap(_masked(DISK), 0, _masked(DISK), 0) == 1.0
    assert mask_overlap(_masked(DISK), 0, _masked(np.repeat(np.repeat(DISK, 3, 0), 3, 1)), 0) == 1.0
    rows, columns = np.flatnonzero(DISK.any(1)), np.flatnonzero(DISK.any(0))
    inner = DISK[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = [columns[0] * 2.5, rows[0] * 2.5, (columns[-1] + 1) * 2.5, (rows[-1] + 1) * 2.5]
    assert mask_overlap(_masked(DISK), 0, _masked(inner, box), 0) == 1.0


def test_a_shifted_mask_overlaps_less() -> None:
    """Two squares of 20 that lie 5 apart: 15 of 25 columns are common."""
    square = np.zeros((40, 40), bool)
    square[10:30, 10:30] = True
    assert mask_overlap(_masked(square), 0, _masked(np.roll(square, 5, axis=1)), 0) == pytest.approx(15 / 25)
    assert mask_overlap(_masked(square), 0, _masked(square, [12.5, 0.0, 112.5, 100.0]), 0) == pytest.approx(15 / 25)
    assert mask_overlap(_masked(square), 0, _masked(~square), 0) == 0.0


def test_a_runtime_whose_masks_are_shifted_is_refused() -> None:
    """The box is the same to the last digit; the overlap of the masks gives it away."""
    agreement, breaches = _compared(_masked(DISK), _masked(np.roll(DISK, 2, axis=0)))
    assert agreement.mean_iou < 0.9
    assert breaches[0].startswith("mean overlap 0.8")
    assert _compared(_masked(DISK), _masked(DISK))[1] == []


def test_a_runtime_without_masks_is_refused_where_the_reference_has_them() -> None:
    """Nothing overlaps what is not there; what the reference does not have is nobody's fault."""
    agreement, breaches = _compared(_masked(DISK), _seen())
    assert (agreement.found, breaches[0]) == (0, "0 of 1 objects found (limit 50%)")
    assert _compared(_seen(), _masked(DISK))[1] == []


def test_a_speck_weighs_little_beside_whole_masks() -> None:
    """A mask of four pixels that lost one of them is rounding; alone it would still be looked at."""
    speck = np.zeros((40, 40), bool)
    speck[5:7, 5:7] = True
    worn = speck.copy()
    worn[5, 5] = False
    plate = np.ones((40, 40), bool)

    def pair(small: NDArray[np.bool_]) -> Detections:
        classes = np.array([0, 1], np.int32)
        return Detections(
            np.array([WHOLE, WHOLE], np.float32), np.array([0.9, 0.9], np.float32), classes, mask=masks([plate, small])
        )

    agreement, breaches = _compared(pair(speck), pair(worn))
    assert (agreement.least_iou, breaches) == (0.75, [])
    assert agreement.mean_iou == pytest.approx((1.0 + 0.75 * 4 / 1024) / (1.0 + 4 / 1024))
    assert _compared(_masked(speck), _masked(worn))[1][0].startswith("mean overlap 0.750")


def test_a_speck_that_only_one_side_has_is_borderline() -> None:
    """A class of a few pixels appears and disappears with a rounding error; a larger one is missed or extra."""
    plate = _seen(mask=masks([np.ones((40, 40), bool)]))
    for side, counted in ((7, 0), (8, 1)):
        grid = np.zeros((40, 40), bool)
        grid[:side, :side] = True
        both = Detections(
            np.array([WHOLE, WHOLE], np.float32),
            np.array([0.9, 0.9], np.float32),
            np.array([0, 1], np.int32),
            mask=masks([np.ones((40, 40), bool), grid]),
        )
        agreement, breaches = _compared(both, plate)
        assert (agreement.missed, agreement.borderline) == (counted, 1 - counted)
        assert bool(breaches) == bool(counted)
        assert _compared(plate, both)[0].extra == counted


@pytest.mark.parametrize(
    "one, other, distance",
    [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)],
)
def test_the_edit_distance_is_that_of_the_textbooks(one: str, other: str, distance: int) -> None:
    """Insertions, deletions, replacements."""
    assert edit_distance(one, other) == distance


def test_a_runtime_that_reads_something_else_is_refused() -> None:
    """By the part of the characters that differ, over all pictures together."""
    known = [_seen(text=np.array([text])) for text in ("AB123", "CD456")]
    read = [_seen(text=np.array([text])) for text in ("AB123", "CD45")]
    agreement = compare(known, read, 0.3, 0.02)
    assert agreement.text_diff == pytest.approx(0.1)
    assert agreement.breaches(STRICT) == ["text difference 0.1000 (limit 0)"]
    assert compare(known, known, 0.3, 0.02).breaches(STRICT) == []
    assert _compared(known[0], _seen())[0].text_diff == 1.0


@pytest.mark.parametrize(
    "vector, distance", [([1.0, 0.0], 0.0), ([0.6, 0.8], 0.4), ([-1.0, 0.0], 2.0), ([math.nan, 0.0], 2.0), ([1.0], 2.0)]
)
def test_embeddings_are_compared_by_their_cosine(vector: list[float], distance: float) -> None:
    """What is no vector of that length is as far as can be."""
    known = _seen(embedding=np.array([[1.0, 0.0]], np.float32))
    agreement, breaches = _compared(known, _seen(embedding=np.array([vector], np.float32)))
    assert agreement.embedding_distance == pytest.approx(distance)
    assert breaches == ([f"embedding distance {distance:.4f} (limit 0.001)"] if distance else [])
    assert _compared(known, _seen())[0].embedding_distance == 2.0


@pytest.mark.parametrize(
    "known, found, difference",
    [
        ("red", "red", 0.0),
        ("red", "blue", 1.0),
        (0.5, 0.51, 0.01),
        (200.0, 190.0, 0.05),
        (-1.0, 1.0, 2.0),
        (math.nan, math.nan, 0.0),
        (math.nan, 0.5, 1.0),
    ],
)
def test_attributes_are_compared_by_their_values(known: Any, found: Any, difference: float) -> None:
    """Words are equal or not; numbers by their distance, large ones by their ratio."""

    def of(value: Any) -> Detections:
        return _seen(attributes={"it": np.array([value], None if isinstance(value, str) else np.float32)})

    agreement, breaches = _compared(of(known), of(found))
    assert agreement.attribute_diff == pytest.approx(difference, abs=1e-6)
    assert bool(breaches) == (difference > STRICT.attribute_diff)
    assert _compared(of(known), _seen())[0].attribute_diff == 1.0


def test_golden_data_keep_every_column_without_pickle() -> None:
    """Masks of different sizes, texts of different lengths, attributes of both kinds, and none of them."""
    whole = Detections(
        np.array([WHOLE, WHOLE, WHOLE], np.float32),
        np.array([0.9, 0.8, 0.7], np.float32),
        np.array([0, 1, 2], np.int32),
        mask=masks([DISK, np.array([[True, False, True]]), np.ones((5, 3), bool)]),
        text=np.array(["川A", "", "long one"]),
        embedding=np.eye(3, 4, dtype=np.float32),
        attributes={"color": np.array(["red", "", "blue"]), "coverage": np.array([0.1, np.nan, 1.0], np.float32)},
    )
    for seen in (whole, whole.where(np.array([1])), whole.where(np.zeros(0, int)), Detections.empty(), _seen()):
        answer = Answer(np.zeros((2, 2, 3), np.uint8), {}, {}, {}, seen)
        back = unpack(pack(answer), answer.image).detections
        assert back.columns().keys() == seen.columns().keys()
        for name, column in seen.columns().items():
            if name == "mask":
                for one, other in zip(column, back.columns()[name], strict=True):
                    assert np.array_equal(one, other)
            else:
                assert np.array_equal(column, back.columns()[name])
        assert back.attributes.keys() == seen.attributes.keys()
        for name, column in seen.attributes.items():
            assert np.array_equal(column, back.attributes[name], equal_nan=column.dtype.kind == "f")
