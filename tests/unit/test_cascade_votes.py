"""A track is read a few times and voted on; the text then stays with it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from crops import cascade, scene

from edge_vision.analytics.cascade_votes import Ballot, Readings
from edge_vision.core.events import Reading
from edge_vision.core.protocols import Stage

BOX = [10, 10, 50, 30]


def _walk(stage: Stage, times: Sequence[float], box: Sequence[float] = BOX) -> tuple[list[str], list[Reading]]:
    """The text of track 7 in each frame, and every event."""
    texts, events = [], list[Reading]()
    for seconds in times:
        after = stage(scene([box], seconds, track_id=np.array([7], np.int32)))
        assert after.detections.text is not None
        texts.append(str(after.detections.text[0]))
        events += [event for event in after.events if isinstance(event, Reading)]
    return texts, events


def _saying(*texts: str, confidence: float = 1.0) -> Any:
    """Says one text after the other, then nothing."""
    following: Iterator[str] = iter(texts)

    def say(_: Any) -> tuple[str, float] | None:
        text = next(following, "")
        return (text, confidence) if text else None

    return say


TENTHS = [number / 10 for number in range(100)]


def test_readings_that_agree_decide_early_and_the_text_stays() -> None:
    """Of five, three sure ones cannot be outvoted: the model is asked no more, and the track keeps its text."""
    stage, network = cascade(_saying("A1", "A1", "A1"), every_s=0)
    texts, events = _walk(stage, TENTHS)
    assert network.seen == 3
    assert texts == ["A1"] * 100
    assert [(event.text, event.votes, event.track_id, event.confidence) for event in events] == [("A1", 3, 7, 1.0)]


def test_the_text_with_the_greatest_weight_wins() -> None:
    """Three of five, told when it is settled; the confidence is the winner's weight per reading."""
    stage, network = cascade(_saying("A7", "A1", "A1", "A7", "A1", confidence=0.9), every_s=0)
    texts, events = _walk(stage, TENTHS[:10])
    assert texts[:5] == ["A7", "A7", "A1", "A7", "A1"]  # of equal ones the first
    assert network.seen == 5
    assert [(event.text, event.votes) for event in events] == [("A1", 3)]
    assert events[0].confidence == pytest.approx(0.9 * 3 / 5)


def test_a_sure_reading_outweighs_two_unsure_ones() -> None:
    """Votes are weighted by confidence."""
    ballot = Ballot(5)
    for text, confidence in (("A7", 0.4), ("A1", 0.9), ("A7", 0.4)):
        ballot.add(text, confidence)
    assert (ballot.leader, ballot.votes) == ("A1", 1)
    assert ballot.confidence == pytest.approx(0.3)


@pytest.mark.parametrize(
    "readings, settled",
    [
        ([("a", 1.0)], False),
        ([("a", 1.0), ("a", 1.0)], False),
        ([("a", 0.7), ("a", 0.7), ("a", 0.7)], True),
        ([("a", 0.6), ("a", 0.6), ("a", 0.6)], False),
        ([("a", 1.0), ("a", 1.0), ("b", 1.0), ("b", 1.0)], False),
        ([("a", 0.1)] * 5, True),
    ],
)
def test_a_vote_is_settled_when_the_rest_cannot_turn_it(readings: list[tuple[str, float]], settled: bool) -> None:
    """Of five: the lead is more than what is left."""
    ballot = Ballot(5)
    for text, confidence in readings:
        ballot.add(text, confidence)
    assert ballot.settled == settled


def test_readings_are_apart_by_every_s() -> None:
    """0.3 s: at 0, 0.3, 0.6 and 0.9 s; a try that reads nothing counts for the time, not for the vote."""
    stage, network = cascade(_saying("A1", "", "A1", "A1"), every_s=0.3)
    looked, events = [], list[Reading]()
    for seconds in TENTHS[:12]:
        before = network.seen
        events += _walk(stage, [seconds])[1]
        looked += [seconds] * (network.seen - before)
    assert looked == [0.0, 0.3, 0.6, 0.9]
    assert [event.votes for event in events] == [3]


def test_a_track_that_is_gone_is_told_with_what_it_has() -> None:
    """Once it is unseen for `patience_s`, where it was seen last."""
    stage, _ = cascade(_saying("A1"), every_s=10, patience_s=1)
    texts, events = _walk(stage, [0.0, 0.1])
    assert texts == ["A1", "A1"]
    assert events == []
    assert stage(scene([], 0.9, track_id=np.empty(0, np.int32))).events == ()
    (event,) = stage(scene([], 1.2, track_id=np.empty(0, np.int32))).events
    assert isinstance(event, Reading)
    assert (event.text, event.votes, event.quad[0]) == ("A1", 1, [10, 10])
    assert stage(scene([], 1.3, track_id=np.empty(0, np.int32))).events == ()


def test_a_track_that_is_read_again_and_changes_is_told_again() -> None:
    """After `again_after_s`; the better supported text wins in time."""
    stage, network = cascade(_saying("A7", *["A1"] * 9), reads=1, every_s=0, again_after_s=1)
    _, events = _walk(stage, TENTHS)
    assert network.seen == 10
    assert [event.text for event in events] == ["A7", "A1"]


def test_the_last_readings_count() -> None:
    """A display that shows something else is told when most of the last three readings say so."""
    stage, _ = cascade(_saying("10", "10", *["20"] * 9), reads=3, every_s=0, again_after_s=0.1)
    texts, events = _walk(stage, TENTHS[:8])
    assert texts == ["10", "10", "10", "20", "20", "20", "20", "20"]
    assert [(event.text, event.votes) for event in events] == [("10", 2), ("20", 2)]


def test_a_text_stays_where_its_track_cannot_be_looked_at() -> None:
    """Too small by now, but the same track; it is not gone, either."""
    stage, network = cascade(_saying("A1"), every_s=0, min_side_px=15, patience_s=1)
    _walk(stage, [0.0])
    texts, events = _walk(stage, TENTHS[1:20], [10, 10, 20, 20])
    assert network.seen == 1
    assert set(texts) == {"A1"}
    assert events == []


def test_a_track_that_has_grown_is_read_again() -> None:
    """Twice as wide and high, after it was settled."""
    stage, network = cascade(_saying("A7", "A1", "A1"), reads=1, every_s=0)
    _walk(stage, [0.0, 0.1])
    assert network.seen == 1
    _walk(stage, [0.2, 0.3], [10, 10, 91, 51])
    assert network.seen == 2


def test_the_largest_are_read_first_and_the_others_in_the_next_frame() -> None:
    """Two at once of three; none is forgotten."""
    stage, network = cascade(lambda image: (f"w{image.shape[1]}", 0.9), most=2, reads=1, name="plates")
    boxes, tracks = [[0, 0, 10, 10], [0, 20, 30, 50], [50, 0, 70, 20]], np.array([1, 2, 3], np.int32)
    first = stage(scene(boxes, 0.0, track_id=tracks))
    assert first.detections.text is not None
    assert first.detections.text.tolist() == ["", "w30", "w20"]
    assert first.measures == {"plates_left_out": 1.0}
    second = stage(scene(boxes, 0.1, track_id=tracks))
    assert second.detections.text is not None
    assert second.detections.text.tolist() == ["w10", "w30", "w20"]
    assert [len(call) for call in network.calls] == [2, 1]


def test_a_clock_that_jumps_back_does_not_stop_the_reading() -> None:
    """As after a reconnection."""
    stage, network = cascade(_saying("A1", "A1", "A1"), every_s=1)
    _walk(stage, [100.0, 5.0, 6.0])
    assert network.seen == 3


def test_a_class_is_voted_on_like_a_text() -> None:
    """The attribute of a track is that of most of its looks."""
    stage, network = cascade(_saying("red", "blue", "blue", "blue"), "class", attribute="color", every_s=0, reads=4)
    colors = []
    for number in range(6):
        after = stage(scene([BOX], number / 10, track_id=np.array([7], np.int32)))
        colors.append(after.detections.attributes["color"].tolist())
    assert colors == [["red"], ["red"], ["blue"], ["blue"], ["blue"], ["blue"]]
    assert network.seen == 4


def test_the_embedding_of_a_track_is_the_mean_of_its_looks() -> None:
    """Of unit length; after `reads` looks it stays."""
    vectors = iter([np.array([1, 0], np.float32), np.array([0, 1], np.float32)])
    stage, network = cascade(lambda _: next(vectors), "embedding", every_s=0, reads=2)
    for number in range(4):
        found = stage(scene([BOX], number / 10, track_id=np.array([7], np.int32))).detections
    assert network.seen == 2
    assert found.embedding is not None
    assert found.embedding[0] == pytest.approx([0.5**0.5, 0.5**0.5])


def test_old_tracks_are_forgotten() -> None:
    """Memory is bounded by a minute of tracks."""
    stage: Any
    stage, _ = cascade(("A1", 0.9), reads=1)
    for number in range(200):
        stage(scene([BOX], float(number), track_id=np.array([number], np.int32)))
    assert len(stage._readings) <= 62
    assert len(stage._readings._ballots) <= 62


def test_a_track_that_has_shrunk_and_grown_again_has_not_grown() -> None:
    """What counts is the largest it was read at."""
    readings = Readings(reads=1, every_s=0, again_after_s=None)
    rows = readings.see(np.array([3], np.int32), np.zeros(1, np.int32), np.zeros((1, 4, 2), np.float32), 0)
    for area in (100.0, 10.0):
        readings.add(0, "A1", 0.9, area)
    due = [bool(readings.due(rows, np.array([area], np.float32), 1)[0]) for area in (50, 399, 400)]
    assert due == [False, False, True]
