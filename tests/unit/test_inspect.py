"""Parts are judged once, by the rules given, from the views that count, and the reasons say what was wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from inspected import FLAW, GOOD, HOLE, LABELS, OPTIONS, PART, STAIN, Seen, inspecting, scene_of, told_of
from pydantic import ValidationError

from edge_vision.core.detections import Detections
from edge_vision.core.events import Verdict
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame


def test_a_part_without_a_defect_is_ok_once() -> None:
    """Told when it has left, with its track, its views and the counts so far."""
    (one,) = told_of(inspecting(), [[GOOD]] * 5)
    assert (one.verdict, one.reasons, one.views) == ("OK", (), 5)
    assert (one.part.track_id, one.part.class_name) == (7, "part")
    assert one.counts == {"ok": 1, "ng": 0, "not_inspected": 0}


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
    stage = inspecting(measures=limits, mm_per_px=0.5)
    (one,) = told_of(stage, [[GOOD]] * 2, attributes=gap, measures={"light": 60.0})
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
    (one,) = told_of(inspecting(texts={"text": rule}, defects=[]), [[GOOD, label]] * 3, texts=texts)
    assert (one.verdict, one.reasons) == (verdict, reasons)


def test_an_attribute_is_a_text_too() -> None:
    """What a classifier says of a part is matched like what is read of it."""
    stage = inspecting(texts={"color": {"equals": "blue"}})
    (one,) = told_of(stage, [[GOOD]] * 2, attributes={"color": np.array(["red"])})
    assert (one.verdict, one.reasons) == ("NG", ("color is 'red', not 'blue'",))


def test_a_part_is_told_when_it_crosses_the_line() -> None:
    """At once, once, from the views up to there; one that never crosses is not told."""
    stage = inspecting(line=[[0.5, 0.0], [0.5, 1.0]])
    told = []
    for number in range(20):
        left = 40.0 + 5 * number
        seen: list[Seen] = [(PART, left, 20, left + 40, 60, 7), (PART, 10, 62, 40, 92, 8)]
        seen += [FLAW] if number == 19 else []
        told += [(number, event) for event in stage(scene_of(seen, 0.1 * number)).events]
    assert [(number, one.verdict, one.views) for number, one in told if isinstance(one, Verdict)] == [(9, "OK", 10)]
    assert told_of(stage, [[]] * 30) == []


def test_another_resolution_moves_no_part_across_the_line() -> None:
    """A camera that comes back with half the pixels shows the same place."""
    stage = inspecting(line=[[0.6, 0.0], [0.6, 1.0]])
    small = Detections.of(scene_of([(PART, 30, 10, 50, 30, 7)], 0.1).detections.columns())
    picture = make_frame(np.full((50, 100, 3), 90, np.uint8), media_ns=100_000_000)
    for scene in (scene_of([(PART, 60, 20, 100, 60, 7)], 0.0), Scene(picture, small, labels=LABELS)):
        assert stage(scene).events == ()


def test_a_part_that_crossed_before_the_tracker_was_sure_is_told() -> None:
    """Its track began on the other side: what is fast, or filmed with few frames, counts all the same."""
    scene = scene_of([(PART, 110, 20, 150, 60, 7)], 0.0)
    began = np.array([[50, 20, 90, 60]], np.float32)
    after = inspecting(line=[[0.5, 0.0], [0.5, 1.0]])(replace(scene, detections=replace(scene.detections, began=began)))
    assert [event.kind for event in after.events] == ["verdict"]


def test_each_part_of_many_is_told_by_itself() -> None:
    """Fifty parts side by side, every third with a flaw: the verdicts and the counts are exact."""
    parts: list[Seen] = [(PART, 3 + 3.8 * number, 10, 6 + 3.8 * number, 60, number + 1) for number in range(50)]
    flaws: list[Seen] = [(HOLE, one[1] + 1, 20, one[1] + 2, 25) for one in parts[::3]]
    told = told_of(inspecting(), [[*parts, *flaws]] * 4)
    assert {one.part.track_id for one in told if one.verdict == "NG"} == set(range(1, 51, 3))
    assert told[-1].counts == {"ok": 33, "ng": 17, "not_inspected": 0}


def test_the_verdict_so_far_is_an_attribute() -> None:
    """For whoever draws or watches: of parts alone."""
    stage = inspecting(min_views=2)
    first, second = (stage(scene_of([GOOD, FLAW], 0.1 * number)) for number in range(2))
    assert first.detections.attributes["verdict"].tolist() == ["NOT_INSPECTED", ""]
    assert second.detections.attributes["verdict"].tolist() == ["NG", ""]


def test_a_clock_that_begins_anew_ends_what_was_before() -> None:
    """After a reconnection media time starts at 0: the old part has left, and nothing hangs."""
    stage = inspecting()
    stage(scene_of([GOOD], 500.0))
    events = stage(scene_of([], 0.0)).events
    assert [event.verdict for event in events if isinstance(event, Verdict)] == ["OK"]
    assert stage(scene_of([], 1.0)).events == ()


def test_the_whole_picture_is_a_part_where_none_are_named() -> None:
    """Told when the verdict has stood for stable_s, and again only when it changes."""
    stage = inspecting(parts=None, stable_s=0.3, defects=["scratch"])
    steps: list[list[Seen]] = [[]] * 8 + [[FLAW]] * 2 + [[]] * 6 + [[FLAW]] * 8
    told = [
        (number, event)
        for number, seen in enumerate(steps)
        for event in stage(scene_of(seen, 0.1 * number)).events
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


def test_a_patience_of_minutes_is_kept() -> None:
    """The part that is waited for is not forgotten meanwhile."""
    stage = inspecting(patience_s=100)
    told = []
    for seconds in (0.0, 70.0, 99.0, 101.0):
        seen = [GOOD] if seconds == 0 else []
        told += [(seconds, event.kind) for event in stage(scene_of(seen, seconds)).events]
    assert told == [(101.0, "verdict")]


def test_the_verdict_of_a_picture_stands_anew_when_the_media_clock_begins_anew() -> None:
    """It is told after stable_s, not when the clock is where it was."""
    stage = inspecting(parts=None, stable_s=0.5)
    assert stage(scene_of([], 100.0)).events == ()
    assert [len(stage(scene_of([], number / 10)).events) for number in range(7)] == [0, 0, 0, 0, 0, 1, 0]
