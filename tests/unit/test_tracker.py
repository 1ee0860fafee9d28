"""Checks that objects keep their number."""

from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from pydantic import ValidationError

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.tracker import Tracker, TrackerOptions
from edge_vision.core.detections import Detections

STEP_NS = 40_000_000


def _tracker(**options: Any) -> Tracker:
    return Tracker(TrackerOptions.model_validate({"kind": "tracker", **options}), StageContext())


def _boxes(*rows: tuple[float, float, float, int]) -> Detections:
    """Boxes of 20x20 by center x, center y, confidence and class."""
    centers = np.array([row[:2] for row in rows], np.float32).reshape(-1, 2)
    return Detections(
        np.concatenate([centers - 10, centers + 10], axis=1),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int32),
    )


def _ids(found: Detections) -> list[int]:
    assert found.track_id is not None
    return [int(number) for number in found.track_id]


def _run(tracker: Tracker, frames: list[Detections]) -> list[list[int]]:
    return [_ids(tracker.update(seen, number * STEP_NS)) for number, seen in enumerate(frames)]


def test_an_object_is_numbered_when_it_has_been_seen_often_enough() -> None:
    """Three frames by default; numbers begin at 1 and are given to nobody twice."""
    frames = [_boxes((50 + number, 50, 0.9, 0)) for number in range(4)]
    assert _run(_tracker(), frames) == [[], [], [1], [1]]
    assert _run(_tracker(min_hits=1), frames) == [[1], [1], [1], [1]]


def test_two_objects_that_pass_each_other_keep_their_numbers() -> None:
    """One to the right, one to the left, on neighboring lanes; their rows change places."""
    frames = []
    for number in range(40):
        pair = [(20 + 4 * number, 50, 0.9, 0), (180 - 4 * number, 62, 0.8, 0)]
        frames.append(_boxes(*(pair if number % 2 else reversed(pair))))
    found = _run(_tracker(min_hits=1), frames)
    first = [ids[0 if number % 2 else 1] for number, ids in enumerate(found)]
    assert set(first) == {first[0]}
    assert all(sorted(ids) == [1, 2] for ids in found)


def test_a_moving_object_that_is_hidden_for_a_while_comes_back_as_itself() -> None:
    """Half a second without it: it is looked for where it must be by then, 13 frames times 3 pixels further on."""
    frames = [_boxes((50 + 3 * number, 50, 0.9, 0)) if not 20 <= number < 33 else _boxes() for number in range(50)]
    found = _run(_tracker(), frames)
    assert found[19] == found[33] == found[49] == [1]


def test_what_moves_by_more_than_its_size_is_followed_within_its_reach() -> None:
    """A flat plate that goes up by more than its height per frame, with the shipped options, beside one that rests."""
    stages = yaml.safe_load((ROOT / "pipelines/plate_reading.yaml").read_text())["stages"]
    (options,) = (stage for stage in stages if stage["kind"] == "tracker")
    assert options["reach"] > 0
    up = [
        [[100 - number, 300 - 14 * number, 130 - number, 311 - 14 * number], [200, 300, 230, 311]]
        for number in range(9)
    ]
    frames = [Detections(np.array(xyxy, np.float32), np.full(2, 0.6, np.float32), np.zeros(2, np.int32)) for xyxy in up]
    assert _run(_tracker(**options), frames) == [[1, 2]] * 9
    apart = _run(_tracker(**{**options, "reach": 0}), frames)
    assert [ids[1] for ids in apart] == [2] * 9
    assert len({ids[0] for ids in apart}) == 9


def test_an_object_that_is_away_for_too_long_is_another_one() -> None:
    """More than `max_lost_s` of media time."""
    tracker = _tracker(min_hits=1, max_lost_s=1.0)
    assert _ids(tracker.update(_boxes((50, 50, 0.9, 0)), 0)) == [1]
    assert _ids(tracker.update(_boxes((50, 50, 0.9, 0)), 1_001_000_000)) == [2]


def test_weak_objects_go_on_with_a_track_and_begin_none() -> None:
    """ByteTrack's idea: a person behind a pole scores low and is still the same."""
    strong, weak = _boxes((50, 50, 0.9, 0)), _boxes((50, 50, 0.2, 0))
    assert _run(_tracker(min_hits=2), [weak] * 5) == [[]] * 5
    assert _run(_tracker(min_hits=2), [strong, strong, weak, weak, weak]) == [[], [1], [1], [1], [1]]
    assert _run(_tracker(min_hits=2), [strong, strong, _boxes((50, 50, 0.05, 0))])[-1] == []


def test_an_object_seen_twice_as_two_classes_is_one_track() -> None:
    """A van that is a car and a truck at once."""
    frames = [_boxes((50, 50, 0.9, 0), (50.5, 50, 0.6, 1))] * 5
    assert _run(_tracker(), frames)[-1] == [1]


def test_a_class_that_flickers_does_not_break_a_track_and_the_more_sure_one_wins() -> None:
    """The handed-on class is the one with the most confidence behind it."""
    tracker = _tracker(min_hits=1)
    classes = [0, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    found = [
        tracker.update(_boxes((50, 50, 0.75, class_id)), number * STEP_NS) for number, class_id in enumerate(classes)
    ]
    assert {tuple(_ids(one)) for one in found} == {(1,)}
    assert [int(one.class_id[0]) for one in found] == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_a_clock_that_jumps_back_begins_anew() -> None:
    """A camera that reconnected shows other objects; nothing is matched across."""
    tracker = _tracker(min_hits=1)
    tracker.update(_boxes((50, 50, 0.9, 0)), 10_000_000_000)
    assert _ids(tracker.update(_boxes((50, 50, 0.9, 0)), 0)) == [2]


def test_frames_that_are_missing_do_not_matter_only_time_does() -> None:
    """At a third of the frame rate the same object moves three times as far from frame to frame."""
    tracker = _tracker(min_hits=2)
    numbers = [*range(20), *range(20, 60, 3)]
    seen = [(number, _boxes((20 + 2 * number, 50, 0.9, 0))) for number in numbers]
    found = [_ids(tracker.update(boxes, number * STEP_NS)) for number, boxes in seen]
    assert found[1:] == [[1]] * (len(found) - 1)


def test_columns_come_along() -> None:
    """Rows that are tracked keep whatever is known of them."""
    seen = _boxes((50, 50, 0.9, 0), (90, 50, 0.2, 0))
    found = _tracker(min_hits=1).update(seen.with_attribute("color", np.array(["red", "blue"])), 0)
    assert found.attributes["color"].tolist() == ["red"]


def test_a_track_says_where_it_began() -> None:
    """The box of the first frame of its trial, as long as it lives."""
    tracker = _tracker()
    found = [tracker.update(_boxes((50 + 3 * number, 50, 0.9, 0)), number * STEP_NS) for number in range(6)]
    for one in found[2:]:
        assert one.began is not None
        assert one.began.tolist() == [[40, 40, 60, 60]]


def test_low_above_high_is_refused() -> None:
    """It would leave nothing to match second."""
    with pytest.raises(ValidationError, match=r"low 0\.6 is more than high 0\.5"):
        TrackerOptions.model_validate({"kind": "tracker", "low": 0.6})


def test_a_trial_ends_with_the_first_frame_without_its_object() -> None:
    """Three frames in a row are asked for: what flickers has to begin again."""
    seen, nobody = _boxes((50, 50, 0.9, 0)), _boxes()
    assert _run(_tracker(), [seen, seen, nobody, seen, seen, seen]) == [[], [], [], [], [], [1]]


def test_the_class_of_a_track_changes_back_only_when_the_other_one_leads_again() -> None:
    """Votes are weighed by confidence: 0.6 for a car, 1.8 for a truck, and one more for a car is not enough."""
    tracker = _tracker(min_hits=1)
    given = [(0, 0.6), (1, 0.9), (1, 0.9), (0, 0.9), (0, 0.9)]
    found = [
        tracker.update(_boxes((50, 50, confidence, class_id)), number * STEP_NS).class_id.tolist()
        for number, (class_id, confidence) in enumerate(given)
    ]
    assert found == [[0], [1], [1], [1], [0]]


def test_of_two_tracks_that_are_as_near_the_one_of_its_class_has_the_object() -> None:
    """It lies a little nearer to the car, and is a person."""
    frames = [_boxes((50, 50, 0.9, 0), (56, 50, 0.8, 1)) for _ in range(6)]
    found = _run(_tracker(min_hits=1), [*frames, _boxes((53.2, 50, 0.9, 0))])
    assert found[5] == [1, 2]
    assert found[6] == [1]
