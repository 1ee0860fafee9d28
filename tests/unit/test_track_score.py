"""Tracks of a real clip, held against the known ones by an outside library."""

from pathlib import Path

import numpy as np
import pytest

from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.core.errors import ConfigError
from edge_vision.models.proof.tracks import Rows, follow, read_rows, score

FPS = 10.0
"""Of the clip that the files were made from."""


def test_six_people_keep_their_numbers_over_a_whole_clip(data: Path) -> None:
    """IDF1 of 0.95 or more, one number for each of them, none that switches; as motmetrics counts."""
    folder = data / "tracking/one-by-one"
    truth, seen = read_rows(folder / "gt.txt", known=True), read_rows(folder / "det.txt", known=False)
    found = score(truth, follow(seen, FPS, TrackerOptions(kind="tracker")))
    print(found)
    assert (found.objects, found.identities, found.switches) == (6, 6, 0)
    assert found.idf1 >= 0.95
    assert found.mota >= 0.98  # what the first tracker reached: it may only get better


def _rows(*rows: tuple[int, int, float]) -> Rows:
    """Boxes of 10x10 by frame, number and left side."""
    table = np.array(sorted(rows), float).reshape(-1, 3)
    corner = np.stack([table[:, 2], np.zeros(len(table))], axis=1)
    boxes = np.concatenate([corner, corner + 10], axis=1)
    return Rows(table[:, 0].astype(int), table[:, 1].astype(int), boxes, np.ones(len(table)))


def test_a_switch_a_miss_and_a_false_positive_are_counted() -> None:
    """Ten frames of one object: its number changes after four, one frame is missed, one box is where nobody is.

    MOTA = 1 - (1 miss + 1 false + 1 switch) / 10. IDF1: the better number covers 5 of 10; 2 * 5 / (10 + 10).
    """
    truth = _rows(*((frame, 1, 0.0) for frame in range(1, 11)))
    right = [(frame, 1 if frame < 5 else 2, 1.0) for frame in range(1, 11) if frame != 7]
    found = score(truth, _rows(*right, (3, 9, 100.0)))
    assert (found.switches, found.misses, found.false_positives) == (1, 1, 1)
    assert (found.objects, found.identities, found.fragmentations) == (1, 3, 1)
    assert found.mota == pytest.approx(0.7)
    assert found.idf1 == pytest.approx(2 * 5 / 20)


@pytest.mark.parametrize("left, misses", [(3.0, 0), (3.4, 1)])
def test_a_track_is_on_its_object_from_half_an_overlap_on(left: float, misses: int) -> None:
    """7/13 and 6.6/13.4 of intersection over union."""
    assert score(_rows((1, 1, 0.0)), _rows((1, 4, left))).misses == misses


def test_nothing_found_is_nothing_right() -> None:
    """Every object missed, and no division by it."""
    found = score(_rows((1, 1, 0.0), (2, 1, 0.0)), _rows())
    assert (found.mota, found.idf1, found.misses, found.identities) == (0.0, 0.0, 2, 0)


def test_rows_are_read_with_commas_or_spaces_and_those_that_do_not_count_are_left_out(tmp_path: Path) -> None:
    """The files of the challenge, with and without the columns behind the box."""
    file = tmp_path / "gt.txt"
    file.write_text("1,7,10,20,30,40,1,1,1\n2 7 11 20 30 40\n\n2,8,0,0,5,5,0,-1,-1\n")
    rows = read_rows(file, known=True)
    assert rows.frame.tolist() == [1, 2]
    assert rows.track_id.tolist() == [7, 7]
    assert rows.xyxy.tolist() == [[10, 20, 40, 60], [11, 20, 41, 60]]


@pytest.mark.parametrize(
    "text, words",
    [
        ("1,7,10,20,30", ":1: needs the numbers frame, id, left, top, width, height, has '1,7,10,20,30'"),
        ("1,7,1,1,9,9\nframe,id,x,y,w,h", ":2: needs the numbers"),
        ("1,7,1,1,9,nan", ":1: needs the numbers"),
        ("0,7,1,1,9,9", ":1: frames are whole numbers from 1 to 1000000"),
        ("1e9,7,1,1,9,9", "it has 1000000000 and 7"),
        ("1,7.5,1,1,9,9", "it has 1 and 7.5"),
        ("1,7,1,1,9,0", ":1: width and height must be more than 0, they are 9 and 0"),
        ("1,7,1,1,9,9\n1,7,5,1,9,9", ": object 7 is in frame 1 twice"),
        ("", "holds no object"),
        (None, "no such file"),
        (b"\xff\xfe", "is not text"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str | bytes | None, words: str, tmp_path: Path) -> None:
    """Named with the line and what stands there."""
    file = tmp_path / "gt.txt"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as failed:
        read_rows(file, known=True)
    assert words in str(failed.value)
    assert str(file) in str(failed.value)
