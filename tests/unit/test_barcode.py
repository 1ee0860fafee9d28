"""The barcode stage: codes become objects with corners and text, and each is told once, when it is sure."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_vision.analytics.barcode import Barcode, BarcodeOptions
from edge_vision.analytics.codes import CodeReader, qr_text
from edge_vision.analytics.context import StageContext
from edge_vision.core.detections import Detections
from edge_vision.core.events import Reading
from edge_vision.core.scene import Scene
from edge_vision.testing.codes import code128_b, draw_aruco, draw_code128, draw_ean, draw_qr
from edge_vision.testing.fakes import make_frame

EAN = "4006381333931"
Gray = NDArray[np.uint8]


def _sheet(*places: tuple[Gray, int, int], wh: tuple[int, int] = (640, 480)) -> Gray:
    """A light gray sheet with codes on it, each at x, y."""
    sheet = np.full((wh[1], wh[0]), 230, np.uint8)
    for code, left, top in places:
        sheet[top : top + code.shape[0], left : left + code.shape[1]] = code
    return sheet


def _stage(labels: tuple[str, ...] = (), **options: Any) -> Barcode:
    return Barcode(BarcodeOptions(kind="barcode", **options), StageContext(labels))


def _scene(sheet: Gray, seconds: float = 0.0, seen: Detections | None = None, labels: tuple[str, ...] = ()) -> Scene:
    image = cv2.cvtColor(sheet, cv2.COLOR_GRAY2BGR)
    frame = make_frame(np.asarray(image, np.uint8), index=round(seconds * 10), media_ns=round(seconds * 1e9))
    return Scene(frame, seen or Detections.empty(), labels=labels)


def _objects(scene: Scene) -> set[tuple[str, str]]:
    seen = scene.detections
    assert seen.text is not None
    return {
        (scene.labels[number], text) for number, text in zip(seen.class_id.tolist(), seen.text.tolist(), strict=True)
    }


SHEET = _sheet(
    (draw_qr("PART 17"), 20, 20), (draw_ean(EAN), 250, 20), (draw_code128(code128_b("BOX-9")), 20, 300),
    (draw_aruco(7), 480, 300),
)  # fmt: skip


def test_every_kind_is_read_in_one_picture() -> None:
    """Four codes of four kinds: class, text, score, and corners around the code."""
    after = _stage(kinds=["qr", "ean13", "code128", "aruco"])(_scene(SHEET))
    assert _objects(after) == {("qr", "PART 17"), ("ean13", EAN), ("code128", "BOX-9"), ("aruco", "7")}
    seen = after.detections
    assert seen.quad is not None
    assert (seen.confidence == 1).all()
    np.testing.assert_allclose(seen.xyxy[:, :2], seen.quad.min(axis=1))
    corners = {after.labels[kind]: quad for kind, quad in zip(seen.class_id.tolist(), seen.quad, strict=True)}
    np.testing.assert_allclose(corners["aruco"], [[500, 320], [579, 320], [579, 399], [500, 399]], atol=2)
    np.testing.assert_allclose(corners["qr"][0], [20 + 24, 20 + 24], atol=2)  # the encoder adds 2 modules of its own
    assert corners["ean13"][0, 0] == pytest.approx(250 + 33, abs=8)
    assert corners["ean13"][1, 0] == pytest.approx(250 + 33 + 285, abs=8)


@pytest.mark.parametrize("kinds", [("qr",), ("ean13", "aruco"), ("code128",)])
def test_only_the_kinds_chosen_are_read(kinds: tuple[str, ...]) -> None:
    """Their classes are those of the stage, in the order given."""
    after = _stage(kinds=kinds)(_scene(SHEET))
    assert after.labels == kinds
    assert {kind for kind, _ in _objects(after)} == set(kinds)


def test_a_upc_is_an_ean_with_a_zero_before_it() -> None:
    """Told by the name that was asked for."""
    sheet = _sheet((draw_ean("0036000291452"), 100, 100))
    assert _objects(_stage(kinds=["upc_a", "ean13"])(_scene(sheet))) == {("upc_a", "036000291452")}
    assert _objects(_stage(kinds=["ean13"])(_scene(sheet))) == {("ean13", "0036000291452")}


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 180, 270])
def test_turned_codes_are_read_and_their_first_corner_turns_with_them(angle: int) -> None:
    """An EAN around its middle; OpenCV finds it, and its corners begin at its own top left."""
    middle = 320.0, 240.0
    turn = cv2.getRotationMatrix2D(middle, angle, 1.0)
    sheet = _sheet((draw_ean(EAN), 145, 170))
    turned = np.asarray(cv2.warpAffine(sheet, turn, (640, 480), borderValue=230), np.uint8)
    after = _stage(kinds=["ean13"])(_scene(turned))
    assert _objects(after) == {("ean13", EAN)}
    assert after.detections.quad is not None
    corner = turn @ [145 + 33, 180, 1]
    assert np.linalg.norm(after.detections.quad[0, 0] - corner) < 40  # of 285: no other corner is nearer than 100


@pytest.mark.parametrize(
    "change",
    [
        lambda gray: 255 - gray,
        lambda gray: cv2.resize(gray, None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA),
        lambda gray: (150 + gray * 0.1).astype(np.uint8),
        lambda gray: cv2.GaussianBlur(gray, (0, 0), 1.5),
    ],
    ids=["inverted", "small", "pale", "blurred"],
)
def test_the_ladder_reads_what_is_not_as_it_should_be(change: Any) -> None:
    """QR codes that are inverted, of 1.8 pixels a module, pale, out of focus."""
    gray = np.asarray(change(_sheet((draw_qr("PART 17"), 100, 100), wh=(320, 320))), np.uint8)
    (code,) = CodeReader(("qr",), "high", "4X4_50")(gray)
    assert code.text == "PART 17"
    side = gray.shape[0] / 320  # 21 modules of 4 pixels, behind margins of 6 modules
    np.testing.assert_allclose(code.quad[0], [124 * side, 124 * side], atol=3)
    np.testing.assert_allclose(code.quad[2], [208 * side, 208 * side], atol=3)


def test_more_effort_reads_more() -> None:
    """An inverted code needs a rung that `low` has not."""
    gray = 255 - _sheet((draw_qr("PART 17"), 100, 100), wh=(320, 320))
    read = {effort: len(CodeReader(("qr",), effort, "4X4_50")(gray)) for effort in ("low", "medium", "high")}
    assert read == {"low": 0, "medium": 1, "high": 1}


def test_much_effort_finds_a_poor_code_beside_a_good_one() -> None:
    """The good one is read at once; the inverted one beside it is not even located on that rung."""
    gray = _sheet((draw_qr("GOOD"), 20, 20), (255 - draw_qr("POOR"), 220, 20), wh=(420, 220))
    read = {
        effort: {code.text for code in CodeReader(("qr",), effort, "4X4_50")(gray)} for effort in ("medium", "high")
    }
    assert read == {"medium": {"GOOD"}, "high": {"GOOD", "POOR"}}


def test_spread_over_frames_every_way_has_its_turn() -> None:
    """Each frame is looked at in one other way; the code is read in the frame whose turn it is."""
    gray = 255 - _sheet((draw_qr("PART 17"), 100, 100), wh=(320, 320))
    stage = _stage(kinds=["qr"], effort="medium", spread=True)
    found = [len(stage(_scene(gray, index / 10)).detections) for index in range(6)]
    assert found == [0, 0, 1, 0, 0, 1]


def _told(stage: Barcode, sheets: Sequence[tuple[float, Gray]]) -> list[tuple[float, str, int]]:
    return [
        (seconds, event.text, event.votes)
        for seconds, sheet in sheets
        for event in stage(_scene(sheet, seconds)).events
        if isinstance(event, Reading)
    ]


ONE, OTHER, NONE = _sheet((draw_qr("one"), 50, 50)), _sheet((draw_qr("other"), 50, 50)), _sheet()


def test_a_code_is_told_once_when_two_frames_read_the_same() -> None:
    """Not with the first, and not again while it is there; another one is another."""
    steps = [(0.0, ONE), (0.1, ONE), (0.2, ONE), (0.3, OTHER), (0.4, OTHER), (0.5, ONE)]
    assert _told(_stage(kinds=["qr"]), steps) == [(0.1, "one", 2), (0.4, "other", 2)]


def test_with_one_vote_a_picture_is_enough() -> None:
    """For single pictures."""
    assert _told(_stage(kinds=["qr"], votes=1), [(0.0, ONE), (0.1, ONE)]) == [(0.0, "one", 1)]


def test_votes_too_far_apart_do_not_count_together() -> None:
    """Two reads, three seconds apart: each may be chance."""
    assert _told(_stage(kinds=["qr"]), [(0.0, ONE), (3.0, ONE), (5.0, ONE)]) == [(5.0, "one", 2)]


def test_a_code_that_was_away_is_told_again() -> None:
    """After `again_s` without it; a second away is none."""
    steps = [(0.0, ONE), (0.1, ONE), (0.2, NONE), (1.2, ONE), (1.3, ONE), (6.4, ONE), (6.5, ONE)]
    assert [when for when, _, _ in _told(_stage(kinds=["qr"], again_s=5), steps)] == [0.1, 6.5]


def test_a_media_clock_that_jumps_back_begins_anew() -> None:
    """As after a reconnection: what was told before is told again, and nothing hangs."""
    steps = [(100.0, ONE), (100.1, ONE), (0.0, ONE), (0.1, ONE), (0.2, ONE)]
    assert [when for when, _, _ in _told(_stage(kinds=["qr"]), steps)] == [100.1, 0.1]


def test_memory_of_texts_is_bounded_by_time() -> None:
    """A thousand codes go by; those of the last seconds are remembered."""
    stage: Any = _stage(kinds=["aruco"], aruco="4X4_1000", votes=1, again_s=1)
    for number in range(60):
        stage(_scene(_sheet((draw_aruco(number, dictionary="4X4_1000"), 60, 60), wh=(240, 240)), number / 10))
    assert len(stage._seen) <= 11


def test_a_zone_leaves_out_what_lies_beside_it() -> None:
    """The left half: two codes of four."""
    half = [[0, 0], [0.38, 0], [0.38, 1], [0, 1]]
    after = _stage(kinds=["qr", "ean13", "code128", "aruco"], zone=half)(_scene(SHEET))
    assert _objects(after) == {("qr", "PART 17"), ("code128", "BOX-9")}
    above_the_diagonal = [[0, 0], [1, 0], [0.02, 1]]
    after = _stage(kinds=["qr", "aruco"], zone=above_the_diagonal)(_scene(SHEET))
    assert _objects(after) == {("qr", "PART 17")}


PARCELS = Detections(
    np.array([[240, 15, 640, 150], [470, 290, 620, 420], [10, 10, 200, 200]], np.float32),
    np.array([0.9, 0.8, 0.7], np.float32),
    np.array([0, 0, 1], np.int32),
    track_id=np.array([5, 6, 7], np.int32),
)


def test_objects_are_looked_at_one_by_one() -> None:
    """Codes on parcels only, each with the track of its parcel; the objects stay, the codes come after them."""
    labels = ("parcel", "person")
    stage = _stage(labels, kinds=["qr", "ean13", "aruco"], within="objects", classes=["parcel"], votes=1)
    after = stage(_scene(SHEET, 0.0, PARCELS, labels))
    assert after.labels == ("parcel", "person", "qr", "ean13", "aruco")
    seen = after.detections
    assert seen.class_id.tolist() == [0, 0, 1, 3, 4]
    assert seen.text is not None
    assert seen.text.tolist() == ["", "", "", EAN, "7"]
    np.testing.assert_allclose(seen.xyxy[4], [500, 320, 579, 399], atol=2)
    assert seen.track_id is not None
    assert seen.track_id.tolist() == [5, 6, 7, 0, 0]
    readings = [event for event in after.events if isinstance(event, Reading)]
    assert [(event.text, event.track_id, event.class_name, event.stage) for event in readings] == [
        (EAN, 5, "ean13", "barcode"),
        ("7", 6, "aruco", "barcode"),
    ]


def test_no_more_objects_are_looked_at_than_allowed() -> None:
    """The surest first: the cost of a frame has a bound."""
    stage = _stage(("parcel", "person"), kinds=["ean13", "aruco"], within="objects", max_objects=1)
    after = stage(_scene(SHEET, 0.0, PARCELS, ("parcel", "person")))
    assert [text for _, text in _objects(after) if text] == [EAN]


@pytest.mark.parametrize(
    "payload, text",
    [
        (b"plain", "plain"),
        ("Müller".encode(), "Müller"),
        ("Müller".encode("latin-1"), "Müller"),
        ("Müller".encode("latin-1").decode("latin-1").encode(), "Müller"),
        ("今度".encode("cp932"), "今度"),
        ("ﾃﾞｻﾞｲﾝ".encode("cp932").decode("latin-1").encode(), "ﾃﾞｻﾞｲﾝ"),
        ("測試".encode(), "測試"),
        ("測試".encode().decode("latin-1").encode(), "測試"),
    ],
)
def test_the_encoding_of_a_qr_code_is_found_out(payload: bytes, text: str) -> None:
    """UTF-8, ISO 8859-1 and Shift JIS, as they are and as OpenCV recodes them."""
    assert qr_text(payload) == text


@pytest.mark.parametrize(
    "options, words",
    [
        ({"kinds": ["qr", "qr"]}, "qr is listed twice"),
        ({"kinds": []}, "at least 1"),
        ({"kinds": ["pdf417"]}, "ean13"),
        ({"classes": ["parcel"]}, "within: objects"),
        ({"aruco": "9X9_50"}, "4X4_50"),
        ({"votes": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    """With what is wrong in the message."""
    with pytest.raises(ValidationError, match=words):
        BarcodeOptions(kind="barcode", **options)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (9, 9), (60, 20)])
def test_tiny_pictures_are_looked_at_without_harm(shape: tuple[int, int]) -> None:
    """A crop at the picture's edge may be of any size."""
    assert CodeReader(("qr", "ean13", "code128", "aruco"), "high", "4X4_50")(np.full(shape, 9, np.uint8)) == []
