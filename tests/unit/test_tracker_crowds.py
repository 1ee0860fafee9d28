"""Tracks of crowds that hide each other, held to numbers that an outside library counts."""

from typing import Any

import numpy as np
import pytest
from crowds import FPS, Crowd, crowd

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.tracker import Tracker, TrackerOptions
from edge_vision.core.detections import Detections
from edge_vision.models.proof.tracks import Rows, TrackScore, rows_of, score


def _judged(shown: Crowd, **options: Any) -> TrackScore:
    tracker = Tracker(TrackerOptions.model_validate({"kind": "tracker", **options}), StageContext(("person",)))
    found = [(frame, tracker.update(seen, round(frame / FPS * 1e9))) for frame, seen in enumerate(shown.seen, 1)]
    return score(shown.truth, rows_of(found))


# People, how many of a hundred turn around in a second; most switches and extra numbers, least IDF1: what the tracker
# reaches today. It may only get better.
CROWDS = [(4, 0.0, 1, 2, 0.97), (8, 0.0, 10, 4, 0.88), (16, 0.0, 42, 12, 0.67)]


@pytest.mark.parametrize("people, turning, switches, extra, idf1", CROWDS)
def test_people_who_hide_each_other_keep_their_numbers(
    people: int, turning: float, switches: int, extra: int, idf1: float
) -> None:
    """Twenty seconds of 4, 8 and 16 people in one picture: by motion alone."""
    found = _judged(crowd(people, 20, 1, turning=turning))
    print(found)
    assert found.switches <= switches
    assert found.identities - found.objects <= extra
    assert found.idf1 >= idf1


LOOKS = [(8, 0.0, 0, 0, 0.93), (16, 20.0, 5, 4, 0.86)]


@pytest.mark.parametrize("people, turning, switches, extra, idf1", LOOKS)
def test_what_they_look_like_keeps_people_apart(
    people: int, turning: float, switches: int, extra: int, idf1: float
) -> None:
    """The same with a look for each of them, and three seconds of patience, also where they turn around."""
    shown = crowd(people, 20, 1, looks=32, turning=turning)
    plain, found = _judged(shown, appearance=0.0, max_lost_s=3.0), _judged(shown, max_lost_s=3.0)
    print(plain, found, sep="\n")
    assert found.switches <= switches < plain.switches
    assert found.identities - found.objects <= extra
    assert found.idf1 >= max(idf1, plain.idf1)


def _meeting(looks: str) -> Crowd:
    """Two people who meet, stand behind one another for half a second, and go back where each came from.

    By motion they have passed each other. `looks` says how they look: "own", "same", or "none" for no look at all.
    """
    rng = np.random.default_rng(0)
    faces = np.eye(2, 16) if looks == "own" else np.ones((2, 16))
    known: list[tuple[float, ...]] = []
    seen = []
    for frame in range(1, 81):
        away = 6.0 * max(abs(frame - 40) - 5, 0)
        boxes = [(400 - away - 40, 100, 400 - away + 40, 300), (400 + away - 40, 104, 400 + away + 40, 304)]
        shown = [0, 1] if away > 40 else [1]  # the first stands behind
        known += [(frame, one + 1, *boxes[one]) for one in shown]
        vectors = faces[shown] + 0.05 * rng.normal(size=(len(shown), 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        seen.append(
            Detections(
                np.array([boxes[one] for one in shown], np.float32),
                np.full(len(shown), 0.9, np.float32),
                np.zeros(len(shown), np.int32),
                embedding=None if looks == "none" else vectors.astype(np.float32),
            )
        )
    table = np.array(known)
    return Crowd(Rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:], np.ones(len(table))), seen)


def test_two_people_who_meet_and_turn_back_are_told_apart_by_their_looks() -> None:
    """Motion alone takes each for the other; looks that are the same, or left out, change nothing of that."""
    found = _judged(_meeting("own"))
    assert (found.switches, found.identities) == (0, 2)
    assert found.idf1 >= 0.95
    for confused in (_judged(_meeting("none")), _judged(_meeting("same")), _judged(_meeting("own"), appearance=0.0)):
        assert confused.switches >= 1
        assert confused.idf1 < 0.8


@pytest.mark.parametrize("nobody", [0.0, float("nan")])
def test_objects_that_nobody_looked_at_are_followed_by_motion(nobody: float) -> None:
    """Rows of zeros or NaN are no looks: a cascade that looks at some objects only leaves such rows."""
    tracker = Tracker(TrackerOptions(kind="tracker", min_hits=1), StageContext())
    ids = []
    for number in range(12):
        vector = np.zeros((1, 4), np.float32) + np.float32(nobody) if number % 3 else np.eye(1, 4, dtype=np.float32)
        box = np.array([[50 + number, 50, 90 + number, 90]], np.float32)
        seen = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32), embedding=vector)
        ids.append(tracker.update(seen, number * 40_000_000).track_id)
    assert ids == [[1]] * 12
    assert np.isfinite(tracker._looks._vectors).all()


def test_looks_of_another_model_begin_anew() -> None:
    """Vectors of another length cannot be compared with those before."""
    tracker = Tracker(TrackerOptions(kind="tracker", min_hits=1), StageContext())
    for number, width in enumerate([4, 4, 8, 8, 4]):
        box = np.array([[50 + number, 50, 90 + number, 90]], np.float32)
        look = np.eye(1, width, number % 2, dtype=np.float32) if width == 4 else np.eye(1, width, dtype=np.float32)
        seen = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32), embedding=look)
        last = tracker.update(seen, number * 40_000_000).track_id
        assert last == ([1] if number == 0 else [2]), "the second look was another's"
