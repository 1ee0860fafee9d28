"""Checks that the make-believe conveyor is the same every time and that its truth matches its pixels."""

import tracemalloc

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.capture.conveyor import LABELS, MIN_VISIBLE, Conveyor
from edge_vision.capture.conveyor_art import draw_part
from edge_vision.capture.conveyor_defects import DEFECTS, STAIN

SIZES = [(640, 360), (64, 64), (161, 97), (97, 203), (333, 222)]


def _frame(conveyor: Conveyor, wh: tuple[int, int], index: int) -> NDArray[np.uint8]:
    """Return frame `index` in a new array."""
    out = np.empty((wh[1], wh[0], 3), np.uint8)
    conveyor.draw(index, out)
    return out


def test_the_same_arguments_draw_the_same_frames() -> None:
    """Two lines built alike agree pixel by pixel; another seed is another line."""
    wh = (320, 180)
    first, second, other = Conveyor(wh, 25.0, 7), Conveyor(wh, 25.0, 7), Conveyor(wh, 25.0, 8)
    for index in (0, 100, 333):
        assert np.array_equal(_frame(first, wh, index), _frame(second, wh, index))
        assert not np.array_equal(_frame(first, wh, index), _frame(other, wh, index))


def test_any_order_draws_the_same_frames() -> None:
    """Frames asked for out of order, far apart or twice equal those of a straight run."""
    wh = (160, 120)
    straight = Conveyor(wh, 25.0, 3)
    expected = [_frame(straight, wh, index) for index in range(120)]
    jumping = Conveyor(wh, 25.0, 3)
    for index in (119, 0, 60, 60, 7, 118, 1):
        jumping.draw(100_000 + index, np.empty((wh[1], wh[0], 3), np.uint8))
        assert np.array_equal(_frame(jumping, wh, index), expected[index])


def test_draw_fills_the_array_it_is_given() -> None:
    """Every pixel of the caller's array is written, and no other array of that size is made."""
    wh = (1280, 720)
    conveyor = Conveyor(wh, 25.0)
    low, high = np.zeros((720, 1280, 3), np.uint8), np.full((720, 1280, 3), 255, np.uint8)
    conveyor.draw(200, low)
    conveyor.draw(200, high)
    assert np.array_equal(low, high)
    tracemalloc.start()
    try:
        conveyor.draw(200, low)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < low.nbytes / 20


@pytest.mark.parametrize("out", [np.empty((64, 65, 3), np.uint8), np.empty((64, 64, 3), np.float32)])
def test_draw_refuses_an_array_that_does_not_fit(out: NDArray[np.uint8]) -> None:
    """A wrong shape or type is an error, not half a picture."""
    with pytest.raises(ValueError, match="draw"):
        Conveyor((64, 64), 25.0).draw(0, out)


@pytest.mark.parametrize("wh,fps", [((63, 100), 25.0), ((100, 63), 25.0), ((64, 64), 0.0)])
def test_a_line_that_cannot_be_drawn_is_refused(wh: tuple[int, int], fps: float) -> None:
    """Too small a picture or no frame rate is an error at once."""
    with pytest.raises(ValueError, match="conveyor needs"):
        Conveyor(wh, fps)


@pytest.mark.parametrize("wh", SIZES)
def test_truth_is_well_formed_at_every_size(wh: tuple[int, int]) -> None:
    """Boxes lie inside the picture, columns have one row per part, parts are in order of their number."""
    conveyor = Conveyor(wh, 25.0, 1)
    seen = 0
    for index in range(0, 900, 45):
        truth = conveyor.truth(index)
        count = len(truth.part_id)
        seen += count
        columns = (truth.xyxy, truth.class_id, truth.part_id, truth.defect_id, truth.defective)
        assert [column.dtype.name for column in columns] == ["float32", "int32", "int32", "int32", "bool"]
        assert [column.shape for column in columns] == [(count, 4), (count,), (count,), (count,), (count,)]
        assert np.all(np.diff(truth.part_id) > 0)
        assert np.all(truth.xyxy >= 0)
        assert np.all(truth.xyxy <= (*wh, *wh))
        assert np.all(truth.xyxy[:, 2:] > truth.xyxy[:, :2])
        assert set(truth.class_id.tolist()) <= set(range(len(LABELS)))
    assert seen > 10


@pytest.mark.parametrize("wh", SIZES)
def test_truth_is_where_the_picture_differs_from_an_empty_belt(wh: tuple[int, int]) -> None:
    """Each box holds a part that fills it to its edges, and outside all boxes there is hardly anything."""
    line = Conveyor(wh, 25.0, 5)
    empty = Conveyor(wh, 25.0, 5, part_rate=0.0)
    for index in (150, 410, 700):
        assert len(empty.truth(index).part_id) == 0
        changed = np.abs(_frame(line, wh, index).astype(int) - _frame(empty, wh, index)).max(axis=2) > 24
        outside = changed.copy()
        for x0, y0, x1, y1 in line.truth(index).xyxy.astype(int):
            inside = changed[y0:y1, x0:x1]
            assert inside.mean() > 0.2
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            slack = 2 + 0.06 * max(inside.shape)
            assert rows[0] <= slack
            assert columns[0] <= slack
            assert rows[-1] >= inside.shape[0] - 1 - slack
            assert columns[-1] >= inside.shape[1] - 1 - slack
            outside[y0:y1, x0:x1] = False
        middle = outside[:, wh[0] // 3 : -(wh[0] // 3)]  # parts leaving or entering have no box
        assert middle.mean() < 0.02


def test_a_part_keeps_its_number_and_moves_with_the_belt() -> None:
    """While a part travels, its number, class and verdict stay, and it moves by the belt's speed alone."""
    wh, fps = (640, 360), 25.0
    conveyor = Conveyor(wh, fps, 2)
    step = 0.36 * min(wh) / fps
    facts: dict[int, tuple[int, bool]] = {}
    last: dict[int, tuple[int, NDArray[np.float32]]] = {}
    for index in range(0, 400, 5):
        truth = conveyor.truth(index)
        for box, class_id, part_id, defective in zip(
            truth.xyxy, truth.class_id.tolist(), truth.part_id.tolist(), truth.defective.tolist(), strict=True
        ):
            assert facts.setdefault(part_id, (class_id, defective)) == (class_id, defective)
            before, old = last.get(part_id, (index, box))
            if old[0] > 0 and box[2] < wh[0]:
                assert np.allclose(box - old, np.array([1, 0, 1, 0]) * step * (index - before), atol=1.01)
            last[part_id] = (index, box)
    assert len(facts) > 10


def test_parts_do_not_touch() -> None:
    """No two parts overlap, not even two abreast."""
    conveyor = Conveyor((640, 360), 25.0, 4)
    for index in range(150, 3000, 95):
        boxes = conveyor.truth(index).xyxy
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                common = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
                assert np.prod(common.clip(0)) < 0.15 * smaller


def test_a_part_is_listed_once_two_fifths_of_it_are_seen() -> None:
    """At the left edge a part appears with a narrow box only when enough of it has come in."""
    conveyor = Conveyor((640, 360), 25.0, 6)
    full: dict[int, float] = {}
    first: dict[int, float] = {}
    for index in range(500):
        truth = conveyor.truth(index)
        for box, part_id in zip(truth.xyxy.tolist(), truth.part_id.tolist(), strict=True):
            first.setdefault(part_id, box[2] - box[0])
            full[part_id] = max(full.get(part_id, 0.0), box[2] - box[0])
    shares = np.array([first[part_id] / full[part_id] for part_id in sorted(full)[8:-8]])
    assert len(shares) >= 10
    assert np.all(shares > MIN_VISIBLE - 0.3)
    assert np.all(shares < MIN_VISIBLE + 0.35)


def test_the_share_of_defective_parts_is_a_setting() -> None:
    """By default about one part in six is defective; 0 and 1 mean none and all."""

    def share(conveyor: Conveyor) -> float:
        found: dict[int, bool] = {}
        for index in range(0, 6000, 100):
            truth = conveyor.truth(index)
            found.update(zip(truth.part_id.tolist(), truth.defective.tolist(), strict=True))
        return sum(found.values()) / len(found)

    assert share(Conveyor((96, 64), 25.0, 1, defect_rate=0.0)) == 0.0
    assert share(Conveyor((96, 64), 25.0, 1, defect_rate=1.0)) == 1.0
    assert 0.10 < share(Conveyor((96, 64), 25.0, 1)) < 0.26


def test_all_classes_occur_equally_often() -> None:
    """Over a long run every label makes up about a third of the parts."""
    conveyor = Conveyor((96, 64), 25.0, 9)
    found: dict[int, int] = {}
    for index in range(0, 9000, 100):
        truth = conveyor.truth(index)
        found.update(zip(truth.part_id.tolist(), truth.class_id.tolist(), strict=True))
    counts = np.bincount(list(found.values()), minlength=len(LABELS)) / len(found)
    assert np.all(counts > 0.25)
    assert np.all(counts < 0.42)


def test_surfaces_are_where_the_parts_are() -> None:
    """Box by box what belongs to a part reaches to all four sides, and outside the boxes only cut-off parts show."""
    wh = (640, 360)
    line = Conveyor(wh, 25.0, 12, defect_rate=0.5)
    seen = 0
    for index in (150, 333, 520, 710):
        surfaces, truth = line.surfaces(index), line.truth(index)
        assert surfaces.shape == (360, 640)
        assert surfaces.dtype == np.uint8
        for (x0, y0, x1, y1), defect in zip(truth.xyxy.astype(int).tolist(), truth.defect_id.tolist(), strict=True):
            piece = surfaces[y0:y1, x0:x1]
            assert all(side.any() for side in (piece[0], piece[-1], piece[:, 0], piece[:, -1]))
            whole = x0 > 0 and x1 < wh[0]
            kinds = set(np.unique(piece).tolist()) - {0, 1}
            assert kinds == ({2 + defect} if defect >= 0 else set()) or not whole
            surfaces[y0:y1, x0:x1] = 0
            seen += whole
        middle = surfaces[:, 120:-120]
        assert not middle.any()
    assert seen > 12


@pytest.mark.parametrize("defect", range(len(DEFECTS)))
@pytest.mark.parametrize("class_id", range(len(LABELS)))
def test_every_defect_can_be_seen_on_every_part(defect: int, class_id: int) -> None:
    """Of forty drawn, each covers at least a hundredth of its part, and never half of it."""
    rng = np.random.default_rng((defect, class_id))
    for _ in range(40):
        sprite = draw_part(rng, class_id, 45.0, 1.0, defect)
        share = sprite.flaw.sum() / (sprite.solid | sprite.flaw).sum()
        assert 0.009 < share < 0.5
        assert not draw_part(rng, class_id, 45.0, 1.0, None).flaw.any()


def test_a_defect_changes_nothing_but_its_part() -> None:
    """Good or bad, a part has the same shape, turn and tint: outside the defect the sprites agree."""
    for seed in range(6):
        good, stained = (draw_part(np.random.default_rng(seed), seed % 3, 45.0, 1.0, kind) for kind in (None, STAIN))
        assert np.array_equal(good.solid, stained.solid)
        near = cv2.dilate(stained.flaw.astype(np.uint8), np.ones((7, 7))) > 0
        assert np.array_equal(good.add[~near], stained.add[~near])
