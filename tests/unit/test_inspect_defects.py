"""Checks what is a defect, what it is limited by, and whose it is."""

from typing import Any

import numpy as np
import pytest
from inspected import FLAW, GOOD, HOLE, LABELS, PART, STAIN, Seen, inspecting, scene_of, told_of

from edge_vision.analytics.inspect_rules import owners
from edge_vision.core.detections import Detections, masks
from edge_vision.core.scene import Scene


def test_without_limits_any_defect_is_bad() -> None:
    """Each kind is a reason of its own."""
    (one,) = told_of(inspecting(), [[GOOD, FLAW, (STAIN, 70, 40, 80, 50)]] * 3)
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
    (one,) = told_of(inspecting(**limit), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NG", (reason,))
    name = next(iter(limit))
    (one,) = told_of(inspecting(**{**limit, name: limit[name] * 1.05}), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("OK", ())


def test_the_area_is_that_of_the_mask_or_what_the_model_says() -> None:
    """A mask that fills a quarter of its box counts a quarter; the attribute area_px counts before both."""
    scene = scene_of([GOOD, FLAW], 0.0)
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
            stage = inspecting(max_area_px=limit)
            after = stage(Scene(scene.frame, seen, labels=LABELS))
            assert after.detections.attributes["verdict"].tolist() == [verdict, ""]


def test_specks_do_not_count() -> None:
    """Below min_area_px a defect is none, by number and by area."""
    assert told_of(inspecting(min_area_px=41), [[GOOD, FLAW]] * 3)[0].verdict == "OK"
    assert told_of(inspecting(min_area_px=40), [[GOOD, FLAW]] * 3)[0].verdict == "NG"
    assert told_of(inspecting(min_area_px=41, max_coverage=0.001), [[GOOD, FLAW]] * 3)[0].verdict == "OK"


def test_a_forbidden_class_is_bad_however_small() -> None:
    """Also within the limit that the others have."""
    rules: dict[str, Any] = {"max_coverage": 0.1, "forbidden": ["hole"]}
    assert told_of(inspecting(**rules), [[GOOD, FLAW]] * 3)[0].verdict == "OK"
    (one,) = told_of(inspecting(**rules), [[GOOD, (HOLE, 60, 30, 62, 32)]] * 3)
    assert (one.verdict, one.reasons) == ("NG", ("hole 1, none may be there",))


def test_what_is_counted_is_no_defect() -> None:
    """Three holes belong to a part: two are too few, four too many."""
    rules: dict[str, Any] = {"counts": {"hole": {"min": 3, "max": 3}}}
    holes: list[Seen] = [(HOLE, 52 + 9 * number, 30, 57 + 9 * number, 35) for number in range(4)]
    told = {count: told_of(inspecting(**rules), [[GOOD, *holes[:count]]] * 3)[0] for count in (2, 3, 4)}
    assert {count: one.verdict for count, one in told.items()} == {2: "NG", 3: "OK", 4: "NG"}
    assert told[2].reasons == ("hole 2, at least 3",)
    assert told[4].reasons == ("hole 4, at most 3",)


def test_a_defect_belongs_to_the_part_it_lies_on() -> None:
    """Beside two parts a third object is on the one that holds most of it, or on none."""
    other: Seen = (PART, 100, 20, 140, 60, 8)
    steps = [[GOOD, other, (STAIN, 104, 30, 110, 36), (STAIN, 150, 30, 160, 40)]] * 3
    told = {one.part.track_id: one.verdict for one in told_of(inspecting(), steps)}
    assert told == {7: "OK", 8: "NG"}


def test_owners_by_overlap() -> None:
    """Half of the smaller box decides, and the part that holds most."""
    parts = np.array([[0, 0, 10, 10], [5, 0, 20, 10]], np.float32)
    boxes = np.array([[0, 0, 4, 4], [6, 0, 12, 4], [18, 0, 23, 4], [30, 0, 31, 1]], np.float32)
    assert owners(parts, boxes).tolist() == [0, 1, -1, -1]
    assert owners(parts[:0], boxes).tolist() == [-1] * 4
    assert owners(parts, boxes[:0]).tolist() == []
