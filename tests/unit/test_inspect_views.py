"""Checks which views of a part count, and what they say together."""

import numpy as np
import pytest
from inspected import FLAW, GOOD, PART, SCRATCH, STAIN, WH, Seen, inspecting, told_of


def test_views_vote() -> None:
    """Half of the views or more make it NG; with `worst` one does."""
    flickering = [[GOOD, FLAW]] * 2 + [[GOOD]] * 3
    assert told_of(inspecting(), flickering)[0].verdict == "OK"
    assert told_of(inspecting(), [*flickering, [GOOD, FLAW]])[0].verdict == "NG"
    (one,) = told_of(inspecting(decide="worst"), flickering)
    assert (one.verdict, one.reasons) == ("NG", ("scratch 1, none may be there",))


def test_the_worst_figure_is_told() -> None:
    """Of several bad views, that with most."""
    larger: Seen = (SCRATCH, 60, 30, 76, 40)
    (one,) = told_of(inspecting(max_coverage=0.01), [[GOOD, FLAW], [GOOD, larger], [GOOD, FLAW]])
    assert one.reasons == ("defects cover 10.00% of it, at most 1.00% (scratch)",)


def test_a_kind_seen_in_few_of_the_bad_views_is_not_told() -> None:
    """One stain in one of four bad views is noise; what was there in half of them is a reason."""
    stain: Seen = (STAIN, 70, 40, 72, 42)
    (one,) = told_of(inspecting(), [[GOOD, FLAW]] * 3 + [[GOOD, FLAW, stain]])
    assert one.reasons == ("scratch 1, none may be there",)


def test_a_part_cut_off_by_the_edge_is_not_judged_from_that_view() -> None:
    """It comes in with a defect that is a trick of the edge; inside it has none."""
    coming: list[list[Seen]] = [[(PART, 0, 20, 30, 60, 7), (SCRATCH, 5, 30, 20, 40)]] * 4
    (one,) = told_of(inspecting(), [*coming, [GOOD]])
    assert (one.verdict, one.views) == ("OK", 1)
    (one,) = told_of(inspecting(), coming)
    assert (one.verdict, one.views, one.reasons) == ("NOT_INSPECTED", 0, ("at the edge of the picture in 4 views",))
    assert one.counts == {"ok": 0, "ng": 0, "not_inspected": 1}


def test_too_few_views_are_no_verdict() -> None:
    """A part seen in two views of three that are wanted."""
    (one,) = told_of(inspecting(min_views=3), [[GOOD]] * 2)
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
    (one,) = told_of(inspecting(**rule), [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NOT_INSPECTED", (reason,))
    assert told_of(inspecting(min_brightness=80, max_brightness=100), [[GOOD]] * 3)[0].verdict == "OK"


def test_only_the_part_has_to_be_light() -> None:
    """The rest of the picture may be as dark as it likes."""
    image = np.zeros((WH[1], WH[0], 3), np.uint8)
    image[20:60, 50:90] = 120
    assert told_of(inspecting(min_brightness=100), [[GOOD]], image=image)[0].verdict == "OK"


def test_kinds_of_defects_are_those_of_the_bad_views() -> None:
    """A stain that is small enough in the good views is no reason for the bad ones."""
    stain: Seen = (STAIN, 70, 40, 72, 42)
    (one,) = told_of(inspecting(max_area_px=30), [[GOOD, stain]] * 3 + [[GOOD, FLAW]] * 3)
    assert (one.verdict, one.reasons) == ("NG", ("defects of 40 px2, at most 30 (scratch)",))


def test_what_a_view_lacks_that_does_not_count_is_no_reason() -> None:
    """Of a part at the edge nothing else is asked."""
    (one,) = told_of(inspecting(measures={"gap": {"max": 3}}), [[(PART, 0, 20, 40, 60, 7)]] * 3)
    assert (one.verdict, one.reasons) == ("NOT_INSPECTED", ("at the edge of the picture in 3 views",))
