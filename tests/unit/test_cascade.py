"""A second model on parts of the picture: what is cut out, what is attached, and what is told."""

from typing import Any

import cv2
import numpy as np
import pytest
from crops import OPTIONS, WH, cascade, scene
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.analytics.cascade_crops import laid, similarity, turned
from edge_vision.core.errors import ModelError
from edge_vision.core.events import Reading
from edge_vision.core.geometry import corners_of

RNG = np.random.default_rng(3)
NOISE: NDArray[np.uint8] = RNG.integers(0, 256, (WH[1], WH[0], 3), np.uint8)
QUAD = [[30, 20], [150, 35], [140, 80], [25, 60]]


def _flag(wh: tuple[int, int] = (64, 32)) -> NDArray[np.uint8]:
    """A picture of four quarters of different colors."""
    flag = np.zeros((wh[1], wh[0], 3), np.uint8)
    for number, color in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        rows = slice(0, wh[1] // 2) if number < 2 else slice(wh[1] // 2, wh[1])
        columns = slice(0, wh[0] // 2) if number % 2 == 0 else slice(wh[0] // 2, wh[0])
        flag[rows, columns] = color
    return flag


def _painted(quad: Any) -> NDArray[np.uint8]:
    """A frame with the flag painted onto a quad."""
    flag = _flag()
    target = np.array(quad, np.float32)
    source = corners_of(np.array([[0, 0, 64, 32]], np.float32))[0]
    return np.asarray(cv2.warpPerspective(flag, cv2.getPerspectiveTransform(source, target), WH), np.uint8)


def _quarters(image: NDArray[np.uint8]) -> list[list[int]]:
    """The color in the middle of each quarter, rounded to 0 or 255."""
    height, width = image.shape[:2]
    places = [(height // 4, width // 4), (height // 4, width * 3 // 4)]
    places += [(height * 3 // 4, width // 4), (height * 3 // 4, width * 3 // 4)]
    return [(np.rint(image[place] / 255.0) * 255).astype(int).tolist() for place in places]


@pytest.mark.parametrize(
    "grow, box, rows, columns",
    [
        (0.0, [10, 20, 60, 50], slice(20, 50), slice(10, 60)),
        (0.1, [10, 20, 60, 50], slice(17, 53), slice(5, 65)),
        (0.0, [10.6, 20.2, 60.1, 50.9], slice(20, 51), slice(10, 61)),
        (0.5, [0, 0, 100, 100], slice(0, 100), slice(0, 150)),
        (0.0, [190, 90, 230, 140], slice(90, 100), slice(190, 200)),
    ],
)
def test_a_box_is_cut_out_as_it_is(grow: float, box: list[float], rows: slice, columns: slice) -> None:
    """With a margin as part of its sides, and never beyond the picture."""
    stage, network = cascade(("x", 0.9), grow=grow)
    stage(scene([box], image=NOISE))
    assert np.array_equal(network.calls[0][0], NOISE[rows, columns])


@pytest.mark.parametrize("size", [None, [64, 32], [33, 50]])
def test_a_quad_is_straightened(size: list[int] | None) -> None:
    """Every quarter of what was painted onto it is where it belongs; the size is that asked for, or its own."""
    stage, network = cascade(("x", 0.9), region="quad", size=size)
    stage(scene([[25, 20, 150, 80]], image=_painted(QUAD), quad=np.array([QUAD], np.float32)))
    (crop,) = network.calls[0]
    assert list(crop.shape[1::-1]) == (size or [121, 46])
    assert _quarters(crop) == _quarters(_flag())


def test_a_quad_on_the_grid_is_the_picture_itself() -> None:
    """Straightening what is straight moves nothing, not even by half a pixel."""
    stage, network = cascade(("x", 0.9), region="quad")
    stage(scene([[10, 20, 60, 50]], image=NOISE, quad=corners_of(np.array([[10, 20, 60, 50]], np.float32))))
    assert np.array_equal(network.calls[0][0], NOISE[20:50, 10:60])


def test_a_quad_that_is_shrunk_is_sampled_between_its_pixels() -> None:
    """At half the size as `cv2.resize` has it: every pixel the mean of four, not the first of them."""
    stage, network = cascade(("x", 0.9), region="quad", size=[50, 30])
    stage(scene([[10, 20, 110, 80]], image=NOISE, quad=corners_of(np.array([[10, 20, 110, 80]], np.float32))))
    expected = cv2.resize(NOISE[20:80, 10:110], (50, 30), interpolation=cv2.INTER_LINEAR)
    assert np.abs(network.calls[0][0].astype(int) - expected.astype(int)).max() <= 1


def test_a_margin_around_a_quad_follows_its_sides() -> None:
    """A tenth on each side, of a straight one."""
    stage, network = cascade(("x", 0.9), region="quad", grow=0.1)
    stage(scene([[10, 20, 60, 50]], image=NOISE, quad=corners_of(np.array([[10, 20, 60, 50]], np.float32))))
    assert np.array_equal(network.calls[0][0], NOISE[17:53, 5:65])


def test_keypoints_are_laid_on_their_template() -> None:
    """Two bright dots of a slanted object come out where the template has them."""
    image = np.zeros((WH[1], WH[0], 3), np.uint8)
    points = [[60, 40], [80, 60], [60, 70]]
    for x, y in points[:2]:
        cv2.circle(image, (x, y), 3, (255, 255, 255), -1)
    template = [[0.25, 0.3], [0.75, 0.3], [0.4, 0.6]]
    stage, network = cascade(("x", 0.9), region="keypoints", size=[80, 80], template=template)
    keypoints = np.array([[[x, y, 0.9] for x, y in points]], np.float32)
    stage(scene([[50, 30, 90, 80]], image=image, keypoints=keypoints))
    (crop,) = network.calls[0]
    matrix = similarity(np.array(points, np.float32), np.array(template, np.float32) * 80)
    for point in points[:2]:
        x, y = np.rint(matrix @ [*point, 1]).astype(int)
        assert crop[y, x].min() > 200
    assert (crop > 128).mean() < 0.1


@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_the_similarity_of_points_that_were_moved_is_found(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    """Turn, scale and shift, of five points."""
    points = np.array([[30, 51], [65, 51], [48, 71], [33, 92], [62, 92]], np.float32)
    cosine, sine = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    moved = points @ np.array([[cosine, sine], [-sine, cosine]]) + shift
    matrix = similarity(points, moved.astype(np.float32))
    assert np.abs(points @ matrix[:, :2].T + matrix[:, 2] - moved).max() < 1e-2


def test_another_number_of_keypoints_than_the_template_is_a_model_error() -> None:
    """Not a crop of something else."""
    stage, _ = cascade(("x", 0.9), region="keypoints", size=[80, 80], template=[[0, 0], [1, 1]])
    with pytest.raises(ModelError, match="template has 2 points, the objects have 3 keypoints"):
        stage(scene([[50, 30, 90, 80]], keypoints=np.zeros((1, 3, 3), np.float32)))


@pytest.mark.parametrize(
    "quad",
    [
        [[10, 10], [10, 10], [10, 10], [10, 10]],
        [[10, 10], [50, 10], [10, 30], [50, 30]],
        [[10, 10], [50, 10], [30, 12], [10, 30]],
        [[10, 10], [float("nan"), 10], [50, 30], [10, 30]],
    ],
)
def test_what_cannot_be_straightened_is_not_looked_at(quad: list[list[float]]) -> None:
    """Without area, crossed, dented, not a number; the others are."""
    stage, network = cascade(("x", 0.9), region="quad")
    after = stage(scene([[0, 0, 50, 50]] * 2, quad=np.array([quad, QUAD], np.float32)))
    assert network.seen == 1
    assert after.detections.text is not None
    assert after.detections.text.tolist() == ["", "x"]


def test_lines_that_stand_on_their_side_are_laid() -> None:
    """One more than 1.5 times taller than wide begins at its top right: it is read from there downwards."""
    tall = corners_of(np.array([[0, 0, 10, 30], [0, 0, 20, 29]], np.float32))
    found = laid(tall)
    assert found[0].tolist() == [[10, 0], [10, 30], [0, 30], [0, 0]]
    assert np.array_equal(found[1], tall[1])


@pytest.mark.parametrize("degrees, quarter_turns", [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_a_turned_quad_is_cut_out_turned_back(degrees: int, quarter_turns: int) -> None:
    """A picture that lies 90 degrees clockwise is turned counterclockwise."""
    quad = corners_of(np.array([[10, 20, 60, 50]], np.float32))
    stage, network = cascade(("x", 0.9), region="quad")
    stage(scene([[10, 20, 60, 50]], image=NOISE, quad=turned(quad, np.array([degrees]))))
    assert np.array_equal(network.calls[0][0], np.rot90(NOISE[20:50, 10:60], quarter_turns))


def test_a_direction_turns_the_quad_for_the_stages_behind() -> None:
    """Of those objects of which the model says so."""
    stage, _ = cascade(
        lambda image: ("blue", 0.9) if image[0, 0, 0] else ("red", 0.9), "class", region="quad", turn={"blue": 180}
    )
    image = np.zeros((WH[1], WH[0], 3), np.uint8)
    image[:, 100:] = 255
    quads = corners_of(np.array([[10, 20, 60, 50], [110, 20, 160, 50]], np.float32))
    found = stage(scene([[10, 20, 60, 50], [110, 20, 160, 50]], image=image, quad=quads)).detections
    assert found.quad is not None
    assert np.array_equal(found.quad[0], quads[0])
    assert np.array_equal(found.quad[1], np.roll(quads[1], 2, axis=0))


def test_a_text_is_attached_with_its_confidence() -> None:
    """Empty and not a number where nothing was read."""
    stage, _ = cascade(lambda image: ("A1", 0.75) if image.shape[1] == 30 else None)
    found = stage(scene([[0, 0, 30, 20], [0, 0, 50, 20]])).detections
    assert found.text is not None
    assert found.text.tolist() == ["A1", ""]
    assert found.attributes["text_confidence"].dtype == np.float32
    assert np.array_equal(found.attributes["text_confidence"], np.array([0.75, np.nan], np.float32), equal_nan=True)


def test_a_class_becomes_an_attribute() -> None:
    """Named by the option, by the stage, or by its kind."""
    for options, name in (({"attribute": "color"}, "color"), ({"name": "paint"}, "paint"), ({}, "cascade")):
        stage, _ = cascade(("blue", 0.75), "class", **options)
        after = stage(scene([[0, 0, 30, 20]]))
        assert after.detections.text is None
        assert after.detections.attributes[name].tolist() == ["blue"]
        assert after.detections.attributes[f"{name}_confidence"].tolist() == [0.75]
        assert after.events == ()


def test_an_embedding_becomes_the_column() -> None:
    """Zeros for objects that were not looked at."""
    vector = np.array([0.6, 0.8], np.float32)
    stage, _ = cascade(vector, "embedding", min_side_px=20)
    found = stage(scene([[0, 0, 30, 20], [0, 0, 50, 10]])).detections
    assert found.embedding is not None
    assert found.embedding.dtype == np.float32
    assert found.embedding == pytest.approx(np.array([[0.6, 0.8], [0, 0]], np.float32))


def test_what_an_earlier_cascade_read_stays() -> None:
    """Where this one reads nothing."""
    stage, _ = cascade(lambda image: ("new", 0.9) if image.shape[1] == 30 else None)
    found = stage(scene([[0, 0, 30, 20], [0, 0, 50, 20]], text=["old", "older"])).detections
    assert found.text is not None
    assert found.text.tolist() == ["new", "older"]


def test_only_chosen_classes_large_enough_and_sharp_are_looked_at() -> None:
    """A plate, not a person; 20 pixels high; noise, not a plain face."""
    image = np.full((WH[1], WH[0], 3), 90, np.uint8)
    image[:50, :50] = NOISE[:50, :50]
    boxes = [[0, 0, 50, 30], [0, 0, 50, 15], [100, 0, 150, 40], [0, 0, 40, 40]]
    stage, network = cascade(("x", 0.9), classes=["plate"], min_side_px=20, min_sharpness=10)
    found = stage(scene(boxes, image=image, class_id=np.array([0, 0, 0, 1], np.int32))).detections
    assert network.seen == 1
    assert found.text is not None
    assert found.text.tolist() == ["x", "", "", ""]


def test_of_too_many_the_surest_are_looked_at_and_the_rest_counted() -> None:
    """In a figure of the picture, named after the stage."""
    stage, _ = cascade(("x", 0.9), name="reader", most=2)
    boxes = [[0, 0, 20, 20], [30, 0, 50, 20], [60, 0, 80, 20]]
    after = stage(scene(boxes, confidence=np.array([0.5, 0.9, 0.7], np.float32)))
    assert after.detections.text is not None
    assert after.detections.text.tolist() == ["", "x", "x"]
    assert after.measures == {"reader_left_out": 1.0}
    assert stage(scene(boxes[:2])).measures == {}


def test_a_text_that_does_not_match_was_not_read() -> None:
    """All of it must; no text, and no event."""
    stage, _ = cascade(lambda image: ("AB12" if image.shape[1] == 30 else "AB12?", 0.9), pattern="[A-Z]+[0-9]+")
    after = stage(scene([[0, 0, 30, 20], [0, 0, 50, 20]]))
    assert after.detections.text is not None
    assert after.detections.text.tolist() == ["AB12", ""]
    assert [event.text for event in after.events if isinstance(event, Reading)] == ["AB12"]


def test_the_model_is_named_in_the_scene_and_an_empty_one_is_no_work() -> None:
    """Also where there was nothing to look at."""
    stage, network = cascade(("x", 0.9))
    after = stage(scene([]))
    assert [model.name for model in after.models] == ["reader"]
    assert network.calls == []


@pytest.mark.parametrize("region", ["quad", "keypoints"])
@pytest.mark.parametrize("tracks", [{}, {"track_id": [7]}])
def test_where_nothing_has_corners_nothing_is_looked_at(region: str, tracks: dict[str, Any]) -> None:
    """The stage before it gives them to what it finds: frames in which it finds nothing have none."""
    laid_on: dict[str, Any] = {"template": [[0.2, 0.2], [0.8, 0.8]], "size": [9, 9]} if region == "keypoints" else {}
    stage, network = cascade(("x", 0.9), region=region, **laid_on)
    assert len(stage(scene([])).detections) == 0
    assert len(stage(scene([[0, 0, 50, 50]], **tracks)).detections) == 1
    assert network.calls == []


def test_what_was_found_behind_the_tracker_is_no_track() -> None:
    """Codes on a parcel have the number 0, all of them: they are not read as one object."""
    stage, network = cascade(("x", 0.9), reads=1)
    after = stage(scene([[0, 0, 50, 50], [60, 0, 90, 30], [100, 0, 130, 30]], track_id=[7, 0, 0]))
    assert network.seen == 1
    assert [event.track_id for event in after.events if isinstance(event, Reading)] == [7]


def test_without_tracks_a_text_is_told_once_while_it_stays() -> None:
    """And again when it was away for `same_text_s`; every frame is read."""
    stage, network = cascade(("A1", 0.9), same_text_s=2)
    times = [0.0, 0.5, 1.0, 2.5, 4.0, 6.1, 6.2]
    events = [event for seconds in times for event in stage(scene([[5, 6, 30, 20]], seconds)).events]
    assert [event.text for event in events if isinstance(event, Reading)] == ["A1", "A1"]
    assert network.seen == len(times)
    assert events[0] == Reading(
        text="A1",
        confidence=0.9,
        votes=1,
        quad=[[5, 6], [30, 6], [30, 20], [5, 20]],
        track_id=None,
        class_name="plate",
        stage="cascade",
    )


@pytest.mark.parametrize(
    "options, said",
    [
        ({"region": "keypoints", "size": [80, 80]}, "needs a template"),
        ({"region": "quad", "template": [[0, 0], [1, 1]]}, "template belongs to region keypoints"),
        ({"size": [80, 80]}, "a box is cut out as it is"),
        ({"turn": {"180": 180}}, "lay and turn belong to region quad"),
        ({"lay": True}, "lay and turn belong to region quad"),
        ({"pattern": "("}, "is not a regular expression"),
        ({"turn": {"180": 45}, "region": "quad"}, "turn"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    """Each with the reason."""
    with pytest.raises(ValidationError, match=said):
        OPTIONS.validate_python({"kind": "cascade", "model": "m", **options})


def test_a_text_is_told_again_when_the_media_clock_begins_anew() -> None:
    """Behind a reconnection it is another visit."""
    stage, _ = cascade(("A1", 0.9), same_text_s=2)
    assert [len(stage(scene([[5, 6, 30, 20]], seconds)).events) for seconds in (100.0, 101.0, 0.0, 1.0)] == [1, 0, 1, 0]
