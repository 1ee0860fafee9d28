"""Parts are judged once, by the rules given, from the views that count, and the reasons say what was wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.inspect_rules import owners
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections, masks
from edge_vision.core.events import Verdict
from edge_vision.core.protocols import Stage
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

LABELS = ("part", "scratch", "hole", "stain")
PART, SCRATCH, HOLE, STAIN = range(4)
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)
WH = (200, 100)

Seen = tuple[float, ...]
"""Class, left, top, right, bottom, and the track's number where it is a part."""
GOOD: Seen = (PART, 50, 20, 90, 60, 7)
FLAW: Seen = (SCRATCH, 60, 30, 68, 35)
"""40 of 1600 square pixels: 2.5 %."""


def _stage(**options: Any) -> Stage:
    options = {"parts": ["part"], **options}
    return build_stage(OPTIONS.validate_python({"kind": "inspect", **options}), StageContext(LABELS))


def _scene(
    seen: list[Seen],
    seconds: float,
    image: NDArray[np.uint8] | None = None,
    attributes: dict[str, NDArray[Any]] | None = None,
    texts: list[str] | None = None,
    measures: dict[str, float] | None = None,
) -> Scene:
    found = Detections(
        np.array([one[1:5] for one in seen], np.float32).reshape(-1, 4),
        np.full(len(seen), 0.9, np.float32),
        np.array([one[0] for one in seen], np.int32),
        track_id=np.array([one[5] if len(one) > 5 else 100 + row for row, one in enumerate(seen)], np.int32),
        text=None if texts is None else np.array(texts, str),
        attributes=attributes or {},
    )
    picture = np.full((WH[1], WH[0], 3), 90, np.uint8) if image is None else image
    frame = make_frame(picture, media_ns=round(seconds * 1e9))
    return Scene(frame, found, labels=LABELS, measures=measures or {})


def _told(stage: Stage, steps: list[list[Seen]], **given: Any) -> list[Verdict]:
    """What is told of frames a tenth of a second apart, and two seconds of nothing after them."""
    scenes = [_scene(seen, 0.1 * number, **given) for number, seen in enumerate(steps)]
    scenes += [_scene([], 0.1 * len(steps) + number) for number in range(3)]
    events = [event for scene in scenes for event in stage(scene).events]
    return [event for event in events if isinstance(event, Verdict)]


def test_a_part_without_a_defect_is_ok_once() -> None:
    """Told when it has left, with its track, its views and the counts so far."""
    (one,) = _told(_stage(), [[GOOD]] * 5)
    assert (one.verdict, one.reasons, one.views) == ("OK", (), 5)
    assert (one.part.track_id, one.part.class_name) == (7, "part")
    assert one.counts == {"ok": 1, "ng": 0, "not_inspected": 0}


def test_without_limits_any_defect_is_bad() -> None:
    """Each kind is a reason of its own."""
    (one,) = _told(_stage(), [[GOOD, FLAW, (STAIN, 70, 40, 80, 50)]] * 3)
    assert one.verdict == "NG"
    assert one.reasons == ("scratch 1, none may be there", "stain 1, none may be there")
    assert one.counts == {"ok": 0, "ng": 1, "not_inspected": 0}


@pytest.mark.parametrize(
    "limit, reason",
    [
        ({"max_coverage": 0.024}, "defects cover 2.50% of it, at most 2.40% (scratch)"),
        ({"max_area_px": 39}, "defects of 40 px2, at most 39 (scratch)"),
        ({"max_area_mm2": 9.9, "mm_per_px": 0.5}, "defects of 10 mm2, at most 9.9 (scratch)"),
    ],
)
def test_defects_have_a_limit(limit: dict[str, float], reason: str) -> None:
    """Just above it is bad; at or below it is good."""
    (one,) = _told(_stage(**limit), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NG", (reason,))
    name = next(iter(limit))
    (one,) = _told(_stage(**{**limit, name: limit[name] * 1.05}), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("OK", ())


def test_the_area_is_that_of_the_mask_or_what_the_model_says() -> None:
    """A mask that fills a quarter of its box counts a quarter; the attribute area_px counts before both."""
    scene = _scene([GOOD, FLAW], 0.0)
    quarter = np.array([[True, False], [False, False]])
    found = scene.detections
    whole = Detections(
        found.xyxy,
        found.confidence,
        found.class_id,
        track_id=found.track_id,
        mask=masks([np.ones((1, 1), bool), quarter]),
    )
    for seen, area in ((whole, 10), (whole.with_attribute("area_px", np.array([1600, 3], np.float32)), 3)):
        for limit, verdict in ((area - 0.5, "NG"), (area + 0.5, "OK")):
            stage = _stage(max_area_px=limit)
            after = stage(Scene(scene.frame, seen, labels=LABELS))
            assert after.detections.attributes["verdict"].tolist() == [verdict, ""]


def test_specks_do_not_count() -> None:
    """Below min_area_px a defect is none, by number and by area."""
    assert _told(_stage(min_area_px=41), [[GOOD, FLAW]] * 3)[0].verdict == "OK"
    assert _told(_stage(min_area_px=40), [[GOOD, FLAW]] * 3)[0].verdict == "NG"
    assert _told(_stage(min_area_px=41, max_coverage=0.001), [[GOOD, FLAW]] * 3)[0].verdict == "OK"


def test_a_forbidden_class_is_bad_however_small() -> None:
    """Also within the limit that the others have."""
    rules: dict[str, Any] = {"max_coverage": 0.1, "forbidden": ["hole"]}
    assert _told(_stage(**rules), [[GOOD, FLAW]] * 3)[0].verdict == "OK"
    (one,) = _told(_stage(**rules), [[GOOD, (HOLE, 60, 30, 62, 32)]] * 3)
    assert (one.verdict, one.reasons) == ("NG", ("hole 1, none may be there",))


def test_what_is_counted_is_no_defect() -> None:
    """Three holes belong to a part: two are too few, four too many."""
    rules: dict[str, Any] = {"counts": {"hole": {"min": 3, "max": 3}}}
    holes: list[Seen] = [(HOLE, 52 + 9 * number, 30, 57 + 9 * number, 35) for number in range(4)]
    told = {count: _told(_stage(**rules), [[GOOD, *holes[:count]]] * 3)[0] for count in (2, 3, 4)}
    assert {count: one.verdict for count, one in told.items()} == {2: "NG", 3: "OK", 4: "NG"}
    assert told[2].reasons == ("hole 2, at least 3",)
    assert told[4].reasons == ("hole 4, at most 3",)


def test_a_defect_belongs_to_the_part_it_lies_on() -> None:
    """Beside two parts a third object is on the one that holds most of it, or on none."""
    other: Seen = (PART, 100, 20, 140, 60, 8)
    steps = [[GOOD, other, (STAIN, 104, 30, 110, 36), (STAIN, 150, 30, 160, 40)]] * 3
    told = {one.part.track_id: one.verdict for one in _told(_stage(), steps)}
    assert told == {7: "OK", 8: "NG"}


def test_owners_by_overlap() -> None:
    """Half of the smaller box decides, and the part that holds most."""
    parts = np.array([[0, 0, 10, 10], [5, 0, 20, 10]], np.float32)
    boxes = np.array([[0, 0, 4, 4], [6, 0, 12, 4], [18, 0, 23, 4], [30, 0, 31, 1]], np.float32)
    assert owners(parts, boxes).tolist() == [0, 1, -1, -1]
    assert owners(parts[:0], boxes).tolist() == [-1] * 4
    assert owners(parts, boxes[:0]).tolist() == []


def test_views_vote() -> None:
    """Half of the views or more make it NG; with `worst` one does."""
    flickering = [[GOOD, FLAW]] * 2 + [[GOOD]] * 3
    assert _told(_stage(), flickering)[0].verdict == "OK"
    assert _told(_stage(), [*flickering, [GOOD, FLAW]])[0].verdict == "NG"
    (one,) = _told(_stage(decide="worst"), flickering)
    assert (one.verdict, one.reasons) == ("NG", ("scratch 1, none may be there",))


def test_the_worst_figure_is_told() -> None:
    """Of several bad views, that with most."""
    larger: Seen = (SCRATCH, 60, 30, 76, 40)
    (one,) = _told(_stage(max_coverage=0.01), [[GOOD, FLAW], [GOOD, larger], [GOOD, FLAW]])
    assert one.reasons == ("defects cover 10.00% of it, at most 1.00% (scratch)",)


def test_a_kind_seen_in_few_of_the_bad_views_is_not_told() -> None:
    """One stain in one of four bad views is noise; what was there in half of them is a reason."""
    stain: Seen = (STAIN, 70, 40, 72, 42)
    (one,) = _told(_stage(), [[GOOD, FLAW]] * 3 + [[GOOD, FLAW, stain]])
    assert one.reasons == ("scratch 1, none may be there",)


def test_a_part_cut_off_by_the_edge_is_not_judged_from_that_view() -> None:
    """It comes in with a defect that is a trick of the edge; inside it has none."""
    coming: list[list[Seen]] = [[(PART, 0, 20, 30, 60, 7), (SCRATCH, 5, 30, 20, 40)]] * 4
    (one,) = _told(_stage(), [*coming, [GOOD]])
    assert (one.verdict, one.views) == ("OK", 1)
    (one,) = _told(_stage(), coming)
    assert (one.verdict, one.views, one.reasons) == ("NOT_INSPECTED", 0, ("at the edge of the picture in 4 views",))
    assert one.counts == {"ok": 0, "ng": 0, "not_inspected": 1}


def test_too_few_views_are_no_verdict() -> None:
    """A part seen in two views of three that are wanted."""
    (one,) = _told(_stage(min_views=3), [[GOOD]] * 2)
    assert (one.verdict, one.reasons) == ("NOT_INSPECTED", ("seen in 2 views that count, at least 3",))


@pytest.mark.parametrize(
    "rule, reason",
    [
        ({"min_brightness": 100}, "brightness 90, at least 100"),
        ({"max_brightness": 80}, "brightness 90, at most 80"),
        ({"min_sharpness": 5}, "sharpness 0, at least 5"),
    ],
)
def test_a_picture_too_dark_or_blurred_is_no_view(rule: dict[str, float], reason: str) -> None:
    """Whatever is seen in it: the part is not inspected, and the reason says why."""
    (one,) = _told(_stage(**rule), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NOT_INSPECTED", (reason,))
    assert _told(_stage(min_brightness=80, max_brightness=100), [[GOOD]] * 3)[0].verdict == "OK"


def test_only_the_part_has_to_be_light() -> None:
    """The rest of the picture may be as dark as it likes."""
    image = np.zeros((WH[1], WH[0], 3), np.uint8)
    image[20:60, 50:90] = 120
    assert _told(_stage(min_brightness=100), [[GOOD]], image=image)[0].verdict == "OK"


@pytest.mark.parametrize(
    "limits, verdict, reasons",
    [
        ({"width_mm": {"min": 19, "max": 21}}, "OK", ()),
        ({"width_mm": {"max": 19}}, "NG", ("width_mm 20, at most 19",)),
        ({"short_px": {"min": 41}}, "NG", ("short_px 40, at least 41",)),
        ({"gap_px": {"min": 3}}, "OK", ()),
        ({"gap_px": {"min": 4}}, "NG", ("gap_px 3.5, at least 4",)),
        ({"light": {"max": 50}}, "NG", ("light 60, at most 50",)),
        ({"weight": {"max": 50}}, "NOT_INSPECTED", ("weight is not known",)),
    ],
)
def test_measures_have_limits(limits: dict[str, Any], verdict: str, reasons: tuple[str, ...]) -> None:
    """Sides of the box, attributes of the part, measures of the picture; one that is not known is no view."""
    gap = {"gap_px": np.array([3.5], np.float32)}
    stage = _stage(measures=limits, mm_per_px=0.5)
    (one,) = _told(stage, [[GOOD]] * 2, attributes=gap, measures={"light": 60.0})
    assert (one.verdict, one.reasons) == (verdict, reasons)


@pytest.mark.parametrize(
    "rule, text, verdict, reasons",
    [
        ({"equals": "A12"}, "A12", "OK", ()),
        ({"equals": "A12"}, "A13", "NG", ("text is 'A13', not 'A12'",)),
        ({"pattern": r"[A-Z]\d{2}"}, "B77", "OK", ()),
        ({"pattern": r"[A-Z]\d{2}"}, "B777", "NG", (r"text is 'B777', which '[A-Z]\\d{2}' does not match",)),
        ({"equals": "A12"}, "", "NOT_INSPECTED", ("no text is read",)),
    ],
)
@pytest.mark.parametrize("on_the_part", [True, False])
def test_a_text_must_be_as_wanted(
    rule: dict[str, str], text: str, verdict: str, reasons: tuple[str, ...], on_the_part: bool
) -> None:
    """Read of the part itself, or of something on it; what is not read is not judged."""
    label: Seen = (STAIN, 60, 30, 80, 40)
    texts = [text, ""] if on_the_part else ["", text]
    (one,) = _told(_stage(texts={"text": rule}, defects=[]), [[GOOD, label]] * 3, texts=texts)
    assert (one.verdict, one.reasons) == (verdict, reasons)


def test_an_attribute_is_a_text_too() -> None:
    """What a classifier says of a part is matched like what is read of it."""
    stage = _stage(texts={"color": {"equals": "blue"}})
    (one,) = _told(stage, [[GOOD]] * 2, attributes={"color": np.array(["red"])})
    assert (one.verdict, one.reasons) == ("NG", ("color is 'red', not 'blue'",))


def test_a_part_is_told_when_it_crosses_the_line() -> None:
    """At once, once, from the views up to there; one that never crosses is not told."""
    stage = _stage(line=[[0.5, 0.0], [0.5, 1.0]])
    told = []
    for number in range(20):
        left = 40.0 + 5 * number
        seen: list[Seen] = [(PART, left, 20, left + 40, 60, 7), (PART, 10, 62, 40, 92, 8)]
        seen += [FLAW] if number == 19 else []
        told += [(number, event) for event in stage(_scene(seen, 0.1 * number)).events]
    assert [(number, one.verdict, one.views) for number, one in told if isinstance(one, Verdict)] == [(9, "OK", 10)]
    assert _told(stage, [[]] * 30) == []


def test_another_resolution_moves_no_part_across_the_line() -> None:
    """A camera that comes back with half the pixels shows the same place."""
    stage = _stage(line=[[0.6, 0.0], [0.6, 1.0]])
    small = Detections.of(_scene([(PART, 30, 10, 50, 30, 7)], 0.1).detections.columns())
    picture = make_frame(np.full((50, 100, 3), 90, np.uint8), media_ns=100_000_000)
    for scene in (_scene([(PART, 60, 20, 100, 60, 7)], 0.0), Scene(picture, small, labels=LABELS)):
        assert stage(scene).events == ()


def test_a_part_that_crossed_before_the_tracker_was_sure_is_told() -> None:
    """Its track began on the other side: what is fast, or filmed with few frames, counts all the same."""
    scene = _scene([(PART, 110, 20, 150, 60, 7)], 0.0)
    began = np.array([[50, 20, 90, 60]], np.float32)
    after = _stage(line=[[0.5, 0.0], [0.5, 1.0]])(replace(scene, detections=replace(scene.detections, began=began)))
    assert [event.kind for event in after.events] == ["verdict"]


def test_each_part_of_many_is_told_by_itself() -> None:
    """Fifty parts side by side, every third with a flaw: the verdicts and the counts are exact."""
    parts: list[Seen] = [(PART, 3 + 3.8 * number, 10, 6 + 3.8 * number, 60, number + 1) for number in range(50)]
    flaws: list[Seen] = [(HOLE, one[1] + 1, 20, one[1] + 2, 25) for one in parts[::3]]
    told = _told(_stage(), [[*parts, *flaws]] * 4)
    assert {one.part.track_id for one in told if one.verdict == "NG"} == set(range(1, 51, 3))
    assert told[-1].counts == {"ok": 33, "ng": 17, "not_inspected": 0}


def test_the_verdict_so_far_is_an_attribute() -> None:
    """For whoever draws or watches: of parts alone."""
    stage = _stage(min_views=2)
    first, second = (stage(_scene([GOOD, FLAW], 0.1 * number)) for number in range(2))
    assert first.detections.attributes["verdict"].tolist() == ["NOT_INSPECTED", ""]
    assert second.detections.attributes["verdict"].tolist() == ["NG", ""]


def test_a_clock_that_begins_anew_ends_what_was_before() -> None:
    """After a reconnection media time starts at 0: the old part has left, and nothing hangs."""
    stage = _stage()
    stage(_scene([GOOD], 500.0))
    events = stage(_scene([], 0.0)).events
    assert [event.verdict for event in events if isinstance(event, Verdict)] == ["OK"]
    assert stage(_scene([], 1.0)).events == ()


def test_the_whole_picture_is_a_part_where_none_are_named() -> None:
    """Told when the verdict has stood for stable_s, and again only when it changes."""
    stage = _stage(parts=None, stable_s=0.3, defects=["scratch"])
    steps: list[list[Seen]] = [[]] * 8 + [[FLAW]] * 2 + [[]] * 6 + [[FLAW]] * 8
    told = [
        (number, event)
        for number, seen in enumerate(steps)
        for event in stage(_scene(seen, 0.1 * number)).events
        if isinstance(event, Verdict)
    ]
    assert [(number, one.verdict) for number, one in told] == [(3, "OK"), (19, "NG")]
    assert told[1][1].part.track_id is None
    assert told[1][1].reasons == ("scratch 1, none may be there",)
    assert told[1][1].counts == {"ok": 1, "ng": 1, "not_inspected": 0}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_area_mm2": 3}, "max_area_mm2 needs mm_per_px"),
        ({"measures": {"width_mm": {"max": 3}}}, "width_mm needs mm_per_px"),
        ({"measures": {"width_px": {}}}, "needs min, max or both"),
        ({"measures": {"width_px": {"min": 3, "max": 2}}}, "min 3 is more than max 2"),
        ({"texts": {"text": {}}}, "exactly one of equals and pattern"),
        ({"texts": {"text": {"pattern": "("}}}, "not a regular expression"),
        ({"parts": ["part"], "defects": ["part"]}, "part is a part and cannot be a defect"),
        ({"max_coverage": 3}, "less than or equal to 1"),
        ({"parts": None, "line": [[0, 0], [1, 1]]}, "line is about parts"),
        ({"parts": None, "min_views": 2}, "min_views is about parts"),
    ],
)
def test_rules_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    """Before anything runs, with what is wrong."""
    with pytest.raises(ValidationError, match=message):
        OPTIONS.validate_python({"kind": "inspect", **options})


@pytest.mark.parametrize(
    "options, needs",
    [
        ({}, set()),
        ({"measures": {"gap_mm": {"max": 3}}}, set()),
        ({"forbidden": ["hole"]}, {"box", "class"}),
        ({"max_coverage": 0.0}, {"box", "class"}),
        ({"parts": ["part"]}, {"box", "class", "track_id"}),
        ({"texts": {"text": {"equals": "A"}}}, {"text"}),
    ],
)
def test_a_stage_needs_what_its_rules_ask_for(options: dict[str, Any], needs: set[str]) -> None:
    """A picture that is only measured needs no detector."""
    assert OPTIONS.validate_python({"kind": "inspect", **options}).needs == needs


def test_kinds_of_defects_are_those_of_the_bad_views() -> None:
    """A stain that is small enough in the good views is no reason for the bad ones."""
    stain: Seen = (STAIN, 70, 40, 72, 42)
    (one,) = _told(_stage(max_area_px=30), [[GOOD, stain]] * 3 + [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NG", ("defects of 40 px2, at most 30 (scratch)",))


def test_what_a_view_lacks_that_does_not_count_is_no_reason() -> None:
    """Of a part at the edge nothing else is asked."""
    (one,) = _told(_stage(measures={"gap": {"max": 3}}), [[(PART, 0, 20, 40, 60, 7)]] * 3)
    assert (one.verdict, one.reasons) == ("NOT_INSPECTED", ("at the edge of the picture in 3 views",))


def test_a_patience_of_minutes_is_kept() -> None:
    """The part that is waited for is not forgotten meanwhile."""
    stage = _stage(patience_s=100)
    told = []
    for seconds in (0.0, 70.0, 99.0, 101.0):
        seen = [GOOD] if seconds == 0 else []
        told += [(seconds, event.kind) for event in stage(_scene(seen, seconds)).events]
    assert told == [(101.0, "verdict")]


def test_the_verdict_of_a_picture_stands_anew_when_the_media_clock_begins_anew() -> None:
    """It is told after stable_s, not when the clock is where it was."""
    stage = _stage(parts=None, stable_s=0.5)
    assert stage(_scene([], 100.0)).events == ()
    assert [len(stage(_scene([], number / 10)).events) for number in range(7)] == [0, 0, 0, 0, 0, 1, 0]
