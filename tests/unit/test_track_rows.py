"""What a stage remembers of tracks stays with them, whatever the order in which they come."""

import numpy as np

from edge_vision.analytics.rows import TrackRows


def _seen(rows: TrackRows, *ids: int, at: int = 0) -> list[bool]:
    """See tracks, write down ten times their number where they are new, and tell which those are."""
    at_rows, fresh = rows.see(np.array(ids, np.int32), at)
    rows["ten"][at_rows[fresh]] = 10 * np.array(ids)[fresh]
    return [bool(one) for one in fresh]


def test_rows_stay_with_their_tracks() -> None:
    """Lower numbers come after higher ones, as of pairs and of tracks that were forgotten."""
    rows = TrackRows(ten=np.zeros((), np.int64))
    assert _seen(rows, 9, 4) == [True, True]
    assert _seen(rows, 4, 7, 1, 9) == [False, True, True, False]
    assert rows.track_id.tolist() == [1, 4, 7, 9]
    assert rows["ten"].tolist() == [10, 40, 70, 90]


def test_who_comes_twice_in_a_frame_has_one_row() -> None:
    """Then the last one counts."""
    rows = TrackRows(ten=np.zeros((), np.int64))
    assert _seen(rows, 5, 5) == [True, True]
    assert rows.track_id.tolist() == [5]


def test_forgetting_takes_the_row_and_no_other() -> None:
    """A new one begins blank."""
    rows = TrackRows(ten=np.full((), -1, np.int64))
    _seen(rows, 1, 2, 3)
    _seen(rows, 2, at=8)
    assert rows.seen_ns.tolist() == [0, 8, 0]
    rows.forget(rows.seen_ns < 8)
    assert (rows.track_id.tolist(), rows["ten"].tolist()) == ([2], [20])
    rows.see(np.array([1]), 9)
    assert rows["ten"].tolist() == [-1, 20]
