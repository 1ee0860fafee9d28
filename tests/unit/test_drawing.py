"""Checks that what is known of a scene is drawn where it belongs, and that nothing else of the picture changes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.detections import Detections, masks
from edge_vision.core.events import Event, LineCrossed, ZoneEntered
from edge_vision.core.scene import Scene
from edge_vision.publish.annotate import Annotator
from edge_vision.publish.drawing import canvas
from edge_vision.publish.drawing.colors import LINE, ZONE, color_of
from edge_vision.publish.drawing.letters import drawable
from edge_vision.publish.drawing.places import Places
from edge_vision.testing.fakes import make_frame

WH = (640, 480)
GRAY = 128
CROSSED = LineCrossed(
    line="gate", direction="in", class_name="person", track_id=7, counts={"in": 3, "out": 1}, class_counts={}
)


def _scene(
    boxes: Any = (), *, wh: tuple[int, int] = WH, ms: int = 0, events: tuple[Event, ...] = (), **columns: Any
) -> Scene:
    count = len(boxes)
    seen = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.arange(count, dtype=np.int32),
        **columns,
    )
    frame = make_frame(np.full((wh[1], wh[0], 3), GRAY, np.uint8), media_ns=ms * 1_000_000)
    return Scene(frame, seen, events, labels=("person", "car"))


def _drawn(scene: Scene, places: Places | None = None) -> NDArray[np.uint8]:
    return Annotator(places)(scene)


def _is(image: NDArray[np.uint8], x: float, y: float, color: tuple[int, int, int]) -> bool:
    """Whether a color is within a pixel of a place: lines are drawn with soft edges."""
    around = image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].reshape(-1, 3).astype(int)
    return bool((np.abs(around - np.array(color)).max(axis=1) < 40).any())


@pytest.fixture(name="labels")
def _labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is drawn, in its order."""
    texts: list[str] = []
    draw = canvas.Canvas._label

    def heard(self: canvas.Canvas, text: str, *rest: Any) -> None:
        texts.append(text)
        draw(self, text, *rest)

    monkeypatch.setattr(canvas.Canvas, "_label", heard)
    return texts


def test_nothing_seen_is_the_picture_as_it_was() -> None:
    """The frame itself is never drawn on."""
    scene = _scene()
    image = _drawn(scene)
    assert image is not scene.frame.image
    assert (image == GRAY).all()


def test_a_box_is_outlined_in_the_color_of_its_class() -> None:
    """All four sides, and not what is inside."""
    image = _drawn(_scene([[100, 200, 300, 400]]))
    for x, y in ((200, 200), (200, 400), (100, 300), (300, 300)):
        assert _is(image, x, y, color_of(0))
    assert (image[250:350, 150:250] == GRAY).all()


def test_a_tracked_object_has_the_color_of_its_track(labels: list[str]) -> None:
    """So that a track that changes its number is seen to."""
    image = _drawn(_scene([[100, 200, 300, 400]], track_id=np.array([5], np.int32)))
    assert _is(image, 200, 400, color_of(5))
    assert labels == ["person #5 0.90"]


def test_an_object_without_a_track_has_no_number(labels: list[str]) -> None:
    """0 is none: its color is that of its class, and there is no trail."""
    image = _drawn(_scene([[100, 200, 300, 400]], track_id=np.zeros(1, np.int32)))
    assert _is(image, 200, 400, color_of(0))
    assert labels == ["person 0.90"]
    annotate = Annotator()
    for x in (100, 300, 500):
        image = annotate(_scene([[x - 20, 220, x + 20, 260]], ms=x, track_id=np.zeros(1, np.int32)))
    assert (image[230:250, 150:400] == GRAY).all()


def test_a_judged_part_is_green_or_red() -> None:
    """Whatever its class and track; one that was not inspected keeps its color."""
    verdicts = np.array(["OK", "NG", "NOT_INSPECTED"])
    boxes = [[10, 200, 110, 300], [210, 200, 310, 300], [410, 200, 510, 300]]
    tracks = np.array([1, 2, 9], np.int32)
    image = _drawn(_scene(boxes, track_id=tracks, attributes={"verdict": verdicts}))
    for box, color in zip(boxes, [(60, 190, 40), (40, 40, 235), color_of(9)], strict=True):
        assert _is(image, box[0] + 50, box[3], color)


def test_corners_are_drawn_in_place_of_the_box() -> None:
    """The quad, with a dot at the object's own top left."""
    quad = np.array([[[150, 150], [250, 170], [240, 260], [140, 240]]], np.float32)
    image = _drawn(_scene([[100, 100, 300, 300]], quad=quad))
    assert _is(image, 200, 160, color_of(0))
    assert _is(image, 190, 250, color_of(0))
    assert (image[148:153, 148:153].reshape(-1, 3) == color_of(0)).all(axis=1).sum() > 9
    assert (image[200:290, 290:310] == GRAY).all()


def test_a_mask_is_a_veil_over_its_box() -> None:
    """The grid is stretched over the box whatever its resolution: the left half veiled, the right half not."""
    grid = np.array([[True, False]])
    image = _drawn(_scene([[100, 100, 300, 300]], mask=masks([grid])))
    veiled = np.rint(np.full(3, GRAY) * 0.6 + np.array(color_of(0)) * 0.4).astype(np.uint8)
    assert (image[120:280, 110:190] == veiled).all()
    assert (image[120:280, 210:290] == GRAY).all()


@pytest.mark.parametrize("box", [[-100, -100, 100, 100], [600, 400, 900, 900], [-9e9, 10, 9e9, 20], [700, 10, 900, 90]])
def test_what_reaches_beyond_the_picture_is_cut(box: list[float]) -> None:
    """Boxes, masks and corners that lie partly or wholly outside raise nothing."""
    left, top, right, bottom = box
    quad = np.array([[[left, top], [right, top], [right, bottom], [left, bottom]]], np.float32)
    given: list[dict[str, Any]] = [{}, {"quad": quad}, {"mask": masks([np.ones((3, 4), bool)])}]
    for columns in given if right < 1e6 else given[:2]:
        assert _drawn(_scene([box], **columns)).shape == (480, 640, 3)


def test_seventeen_keypoints_are_joined_as_a_person_is() -> None:
    """Those of COCO: a shoulder to its elbow; five points are points; one of low confidence is not drawn."""
    points = np.zeros((1, 17, 3), np.float32)
    points[0, 5], points[0, 7], points[0, 9] = (200, 200, 0.9), (300, 200, 0.9), (300, 300, 0.1)
    image = _drawn(_scene([[10, 10, 630, 470]], keypoints=points))
    assert _is(image, 250, 200, color_of(0))
    assert not _is(image, 300, 250, color_of(0))
    image = _drawn(_scene([[10, 10, 630, 470]], keypoints=points[:, 5:10]))
    assert _is(image, 200, 200, color_of(0))
    assert not _is(image, 250, 200, color_of(0))


def test_a_label_says_all_that_is_known(labels: list[str]) -> None:
    """Class, track, score, what was read, and the attributes that are known."""
    attributes = {
        "color": np.array(["blue", ""]),
        "color_confidence": np.array([0.5, np.nan], np.float32),
        "speed_kmh": np.array([np.nan, 12.345], np.float32),
    }
    columns: dict[str, Any] = {"text": np.array(["皖A1", ""]), "attributes": attributes}
    _drawn(_scene([[10, 100, 200, 200], [300, 100, 500, 200]], **columns))
    assert labels == ['person 0.90 "<U+7696>A1" color blue', "car 0.90 speed_kmh 12.3"]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A-12 ~", "A-12 ~"),
        ("Gerät", "Gerat"),
        ("京A8", "<U+4EAC>A8"),
        ("a\nb\x1b", "a b "),
        ("①½", "1<U+00BD>"),
        ("", ""),
    ],
)
def test_letters_that_opencv_has_not_are_written_out(text: str, expected: str) -> None:
    """Never a question mark, which could have been read; always in ASCII."""
    assert drawable(text) == expected
    assert drawable(text).isascii()


def test_a_trail_shows_where_a_track_came_from() -> None:
    """Two seconds of it; a media clock that jumps back begins anew."""
    annotate = Annotator()
    track = np.array([3], np.int32)
    for number in range(5):
        x = 100 + number * 100
        image = annotate(_scene([[x - 20, 220, x + 20, 260]], ms=number * 400, track_id=track))
    assert _is(image, 150, 240, color_of(3))
    image = annotate(_scene([[480, 220, 520, 260]], ms=2600, track_id=track))
    assert not _is(image, 150, 240, color_of(3))
    assert _is(image, 350, 240, color_of(3))
    image = annotate(_scene([[480, 220, 520, 260]], ms=0, track_id=track))
    assert not _is(image, 350, 240, color_of(3))


def test_a_line_has_an_arrow_to_its_right_and_its_counts(labels: list[str]) -> None:
    """From left to right across the picture, "in" is down."""
    annotate = Annotator(Places(lines={"gate": ((0.0, 0.5), (1.0, 0.5))}, counted=frozenset({"gate"})))
    image = annotate(_scene())
    assert _is(image, 100, 240, LINE)
    assert _is(image, 320, 265, LINE)
    assert (image[200:235, 300:340] == GRAY).all()
    assert labels == ["gate: 0 in, 0 out"]
    annotate(_scene(events=(CROSSED,)))
    assert labels[1:] == ["gate: person 7 in (3 in, 1 out)", "gate: 3 in, 1 out"]


def test_a_zone_is_tinted_and_says_who_is_in_it(labels: list[str]) -> None:
    """Its name, and the number once an event told it."""
    annotate = Annotator(Places(zones={"bay": ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))}))
    image = annotate(_scene())
    assert _is(image, 320, 120, ZONE)
    assert (image[200:300, 200:400] != GRAY).any(axis=2).all()
    assert (image[400:, 500:] == GRAY).all()
    entered = ZoneEntered(zone="bay", class_name="person", track_id=1, occupancy=2)
    annotate(_scene(events=(entered,)))
    annotate(_scene(ms=1500))
    assert labels == ["bay", "bay: person 1 entered (occupancy 2)", "bay: 2", "bay: 2"]


def test_events_stay_for_a_second_of_media_time(labels: list[str]) -> None:
    """And no longer; at most five, the newest."""
    annotate = Annotator()
    for ms in (0, 900, 1000):
        annotate(_scene(ms=ms, events=(CROSSED,) if ms == 0 else ()))
    assert len(labels) == 2
    annotate(_scene(ms=2000, events=(CROSSED,) * 9))
    assert len(labels) == 7
    annotate(_scene(ms=1500))  # the clock of the recording began anew
    assert len(labels) == 7


def test_measures_stand_in_the_corner(labels: list[str]) -> None:
    """Figures about the whole picture."""
    scene = _scene()
    object.__setattr__(scene, "measures", {"coverage": 0.123456})
    _drawn(scene)
    assert labels == ["coverage 0.1235"]


def test_labels_do_not_cover_each_other() -> None:
    """Ten answers about one picture stand one below the other."""
    one = canvas.Canvas(np.zeros((480, 640, 3), np.uint8))
    for number in range(10):
        one.tag(f"class {number}", (0, 0, 640, 480), (0, 200, 0))
    spots = one._taken
    assert len(spots) == 10
    assert spots == sorted(spots, key=lambda spot: spot[1]), "the best comes first"
    assert not any(canvas._overlap(a, b) for number, a in enumerate(spots) for b in spots[:number])
    assert all(spot[0] >= 0 and spot[1] >= 0 and spot[2] <= 640 and spot[3] <= 480 for spot in spots)


def test_a_long_label_is_cut_to_the_picture(labels: list[str]) -> None:
    """What does not fit is not drawn beyond the edge; a little of it is better than none."""
    one = canvas.Canvas(np.zeros((480, 640, 3), np.uint8))
    one.tag("x" * 500, (600, 100, 640, 200), (0, 200, 0))
    one.corner(["y" * 500], (0, 200, 0), bottom=True)
    assert all(text.endswith("...") and len(text) > 30 for text in labels)
    assert all(spot[0] >= 0 and spot[2] <= 640 and spot[3] <= 480 for spot in one._taken)


def test_a_label_keeps_clear_of_other_objects() -> None:
    """Above its box lies another one: it goes inside its own."""
    one = canvas.Canvas(np.zeros((480, 640, 3), np.uint8))
    boxes = [[100, 100, 300, 200], [100, 202, 300, 300]]
    one.keep_clear(boxes)
    for box in boxes:
        one.tag("class", box, (0, 200, 0))
    above, inside = one._taken
    assert above[3] <= 100
    assert inside[1] >= 202
    assert inside[3] <= 300


@pytest.mark.parametrize("wh, expected", [((94, 24), (376, 96)), ((320, 200), (320, 200)), ((1, 1), (320, 320))])
def test_a_tiny_picture_is_enlarged(wh: tuple[int, int], expected: tuple[int, int]) -> None:
    """Else the letters would be all there is; boxes go with it."""
    image = _drawn(_scene([[0, 0, wh[0] / 2, wh[1] / 2]], wh=wh))
    assert image.shape == (expected[1], expected[0], 3)
    if wh == (94, 24):
        assert _is(image, 188, 40, color_of(0))
