"""Detections of two stages are one list; what only one of them knows is unknown on the other's rows."""

import json

import numpy as np

from edge_vision.core.detections import Detections, masks
from edge_vision.core.scene import Scene
from edge_vision.publish.wire import Wire
from edge_vision.testing.fakes import FakeClock, make_frame

ONE = Detections(
    np.array([[0, 0, 10, 20]], np.float32),
    np.array([0.9], np.float32),
    np.array([1], np.int32),
    track_id=np.array([4], np.int32),
    keypoints=np.ones((1, 5, 3), np.float32),
    mask=masks([np.zeros((3, 2), bool)]),
    embedding=np.array([[0.6, 0.8]], np.float32),
    attributes={"color": np.array(["blue"]), "speed": np.array([3.5], np.float32)},
)
OTHER = Detections(
    np.array([[5, 6, 7, 8], [1, 2, 3, 4]], np.float32),
    np.array([1.0, 0.5], np.float32),
    np.array([2, 3], np.int32),
    quad=np.arange(16, dtype=np.float32).reshape(2, 4, 2),
    text=np.array(["a longer text", ""]),
    attributes={"color": np.array(["dark green", ""]), "size": np.array([1.0, 2.0], np.float32)},
)


def test_rows_of_both_come_in_order_with_their_types() -> None:
    """First those that were there; no column loses its type, no text its end."""
    both = ONE.joined(OTHER)
    assert both.xyxy.tolist() == [[0, 0, 10, 20], [5, 6, 7, 8], [1, 2, 3, 4]]
    assert both.class_id.tolist() == [1, 2, 3]
    types = {name: column.dtype for name, column in both.columns().items() if name != "text"}
    known = {**ONE.columns(), **OTHER.columns()}
    assert types == {name: column.dtype for name, column in known.items() if name != "text"}
    assert both.text is not None
    assert both.text.tolist() == ["", "a longer text", ""]
    assert both.attributes["color"].tolist() == ["blue", "dark green", ""]


def test_what_only_one_side_knows_is_unknown_on_the_other() -> None:
    """Track 0, no keypoints, the whole box as quad and mask, an embedding of zeros, NaN."""
    both = ONE.joined(OTHER)
    assert both.track_id is not None
    assert both.keypoints is not None
    assert both.mask is not None
    assert both.quad is not None
    assert both.embedding is not None
    assert both.track_id.tolist() == [4, 0, 0]
    assert both.keypoints[1:].tolist() == np.zeros((2, 5, 3)).tolist()
    assert [grid.tolist() for grid in both.mask[1:]] == [[[True]], [[True]]]
    assert both.quad[0].tolist() == [[0, 0], [10, 0], [10, 20], [0, 20]]
    assert both.quad[1:].tolist() == np.arange(16).reshape(2, 4, 2).tolist()
    assert both.embedding.tolist()[1:] == [[0, 0], [0, 0]]
    assert np.isnan(both.attributes["speed"][1:]).all()
    assert np.isnan(both.attributes["size"][0])
    assert both.attributes["size"].dtype == np.float32


def test_joined_the_other_way_round_the_attributes_are_the_same() -> None:
    """Texts keep their length whichever side knows them."""
    both = OTHER.joined(ONE)
    assert both.attributes["color"].tolist() == ["dark green", "", "blue"]
    assert set(both.attributes) == {"color", "speed", "size"}


def test_nothing_joined_is_what_there_was() -> None:
    """On either side, and on both."""
    assert ONE.joined(Detections.empty()) is ONE
    assert Detections.empty().joined(OTHER) is OTHER
    assert len(Detections.empty().joined(Detections.empty())) == 0


def test_nobody_of_a_tracker_joined_by_others_leaves_them_without_a_track() -> None:
    """A frame in which nothing is tracked has the columns of all frames: a stage may count on them."""
    nobody = ONE.where(np.zeros(1, bool))
    both = nobody.joined(OTHER)
    assert both.track_id is not None
    assert both.track_id.tolist() == [0, 0]
    assert both.tracked.tolist() == [False, False]
    assert ONE.joined(OTHER).tracked.tolist() == [True, False, False]
    assert OTHER.tracked.tolist() == [False, False]
    assert set(both.attributes) == {"color", "speed", "size"}


def test_what_is_unknown_is_not_published() -> None:
    """No track 0, no empty text, no attribute that is NaN."""
    scene = Scene(make_frame(), ONE.joined(OTHER), labels=("a", "b", "c", "d"))
    message = json.loads(Wire("site", "boot", FakeClock()).detections(scene).body)
    assert [("track_id" in one, "text" in one, one["attributes"]) for one in message["objects"]] == [
        (True, False, {"color": "blue", "speed": 3.5}),
        (False, True, {"color": "dark green", "size": 1.0}),
        (False, False, {"size": 2.0}),
    ]
