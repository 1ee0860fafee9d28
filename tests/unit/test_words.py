"""Checks that events are said in words, whatever their kind."""

from typing import Any

import msgspec
import pytest

from edge_vision.core.events import KINDS, Count, Event, LineCrossed, PresenceChanged, ZoneEntered, ZoneLeft
from edge_vision.publish.words import in_words, message_in_words

BOTH = {"in": 3, "out": 1}


def _words(event: Event) -> str:
    return in_words(event.kind, msgspec.to_builtins(event))


@pytest.mark.parametrize(
    "event, expected",
    [
        (
            LineCrossed(
                line="gate", direction="in", class_name="person", track_id=7, counts=BOTH, class_counts={"in": 1}
            ),
            "gate: person 7 in (3 in, 1 out)",
        ),
        (
            ZoneEntered(zone="bay", class_name="car", track_id=2, occupancy=1),
            "bay: car 2 entered (occupancy 1)",
        ),
        (
            ZoneLeft(zone="bay", class_name="car", track_id=2, occupancy=0, dwell_s=12.3456),
            "bay: car 2 left (occupancy 0, dwell_s 12.35)",
        ),
        (
            PresenceChanged(zone="bay", present=True, occupancy=2, after_s=5.0),
            "bay: presence changed (present yes, occupancy 2, after_s 5)",
        ),
        (
            Count(zone=None, total=3, by_class={"bottle": 2, "cup": 1}, reason="change"),
            "count 3 (2 bottle, 1 cup, reason change)",
        ),
    ],
)
def test_the_events_there_are(event: Event, expected: str) -> None:
    """Place, who, what, and the numbers."""
    assert _words(event) == expected


@pytest.mark.parametrize(
    "kind, event, expected",
    [
        (
            "reading",
            {"text": "皖A12345", "confidence": 0.98765, "votes": 3, "quad": [[1, 2], [3, 4]]},
            'reading "皖A12345" (confidence 0.9877, votes 3)',
        ),
        (
            "verdict",
            {"verdict": "NG", "reasons": ["a", "b", "c", "d", "e", "f"], "part": {"track_id": 4}},
            "object 4 verdict NG (reasons [a, b, c, d, and 2 more])",
        ),
        ("crowd", {"zone": "bay", "total": 9, "full": False}, "bay: crowd 9 (full no)"),
        (
            "line_totals",
            {"line": "gate", "period_s": 60.0, "counts": {"in": 3}, "by_class": {"car": {"in": 2, "out": 1}}},
            "gate: totals (3 in, car in 2 out 1, period_s 60)",
        ),
        ("odd", {}, "odd"),
        ("long", {"text": "x" * 500}, f'long "{"x" * 77}..."'),
        ("deep", {"a": {"b": 1.23456, "c": None}}, "deep (a b 1.235 c None)"),
    ],
)
def test_an_event_of_any_kind_is_said(kind: str, event: dict[str, Any], expected: str) -> None:
    """Every field that has no place of its own comes with its name; nothing gets longer than a line."""
    assert in_words(kind, event) == expected


def test_no_known_kind_is_left_out() -> None:
    """Every kind of the list can be said from the example that its schema makes."""
    for kind, event in KINDS.items():
        names = [field.encode_name for field in msgspec.structs.fields(event)]
        assert in_words(kind, dict.fromkeys(names, "x"))


@pytest.mark.parametrize(
    "kept, expected",
    [
        ({"files": [{"type": "snapshot"}], "missing": [], "pending": ["clip"]}, "snapshot, clip to come"),
        ({"files": [], "missing": [{"type": "clean", "reason": "the disk is full"}], "pending": []},
         "no clean: the disk is full"),
        ({}, "nothing"),
    ],
)  # fmt: skip
def test_evidence_is_said(kept: dict[str, Any], expected: str) -> None:
    """What there is, what will be, and what is not."""
    body = {"schema": "edge-vision/1", "kind": "evidence", "source": "gate", "timestamp": "2026-11-22T05:00:06.123456Z"}
    said = message_in_words({**body, "evidence": {"of": "b-gate-verdict-1", **kept}})
    assert said == f"05:00:06 gate  evidence of b-gate-verdict-1: {expected}"
