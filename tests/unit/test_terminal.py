"""Checks what the live view in the terminal shows, in place and line by line."""

import io
import json
from typing import Any

import pytest

from edge_vision.core.events import ZoneEntered
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.terminal import TerminalSink
from edge_vision.publish.wire import Wire
from edge_vision.publish.words import message_in_words
from edge_vision.testing.fakes import FakeClock, make_frame, make_message


class _Screen(io.StringIO):
    """A text stream that is a terminal, or is not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def _messages(wire: Wire, clock: FakeClock, number: int) -> list[Message]:
    """A frame in which a car comes in."""
    event = ZoneEntered(zone="bay", class_name="car", track_id=number, occupancy=number)
    scene = Scene(make_frame(index=number, clock=clock), events=(event,))
    return [wire.detections(scene), *wire.events(scene)]


@pytest.mark.parametrize("terminal", [True, False])
def test_events_are_shown(*, terminal: bool) -> None:
    """In place the last five stay under the sources; elsewhere each is a line at once."""
    clock = FakeClock()
    screen, wire = _Screen(terminal=terminal), Wire("test", "boot", clock)
    sink = TerminalSink(screen, "test", clock)
    for number in range(1, 8):
        sink.send(_messages(wire, clock, number))
        clock.advance(0.05)
    sink.send([wire.status("online", {})])
    sink.finish()
    shown = screen.getvalue()
    last = shown.rpartition("\x1b[J")[2]
    events = [line for line in last.splitlines() if " entered " in line]
    if terminal:
        assert [line.partition("car ")[2][:1] for line in events] == ["3", "4", "5", "6", "7"]
        drawn = [line for line in last.splitlines() if line]
        assert shown.rpartition("\x1b[J")[0].endswith("\x1b[7A\r")  # up over two lines and five events
        assert len(drawn) == 2 + 5 + 1
    else:
        assert events == [f"12:00:00 cam  bay: car {number} entered (occupancy {number})" for number in range(1, 8)]
    assert shown.endswith("test: 7 frames of 1 sources seen, 7 events\n")


def test_events_alone_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Where `kinds` leaves detections out."""
    del capsys
    clock = FakeClock()
    screen, wire = _Screen(terminal=True), Wire("test", "boot", clock)
    sink = TerminalSink(screen, "test", clock)
    sink.send(_messages(wire, clock, 1)[1:])
    assert screen.getvalue() == "12:00:00 cam  bay: car 1 entered (occupancy 1)\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_parts_are_counted_and_bad_ones_told(*, terminal: bool) -> None:
    """A line for each part that is not OK, with the reasons, and the sums; of good ones only the sums."""
    clock = FakeClock()
    screen = _Screen(terminal=terminal)
    sink = TerminalSink(screen, "test", clock)
    counts = {"ok": 0, "ng": 0, "not_inspected": 0}
    for number, verdict in enumerate(("OK", "NG", "OK"), 1):
        counts = {**counts, verdict.lower(): counts[verdict.lower()] + 1}
        event = {"verdict": verdict, "reasons": ["hole 1", "too wide"] if verdict == "NG" else [], "counts": counts}
        event["part"] = {"track_id": number, "class": "bolt"}
        sink.send([make_message(number, kind="verdict", body=json.dumps({"event": event}).encode())])
        clock.advance(2.0)
    sink.finish()
    shown = screen.getvalue()
    assert shown.rpartition("\x1b[J")[2].count("cam: bolt 2 is NG: hole 1; too wide\n") == 1
    assert "bolt 1" not in shown
    assert "  judged: 2 OK, 1 NG, 0 not inspected\n" in shown
    assert shown.endswith("test: 0 frames of 1 sources seen, 3 events, parts judged: 2 OK, 1 NG, 0 not inspected\n")


@pytest.mark.parametrize(
    "body, expected",
    [
        (
            {"kind": "status", "site": "s", "state": "degraded", "timestamp": "2026-11-22T05:06:07.1Z",
             "cameras": [{"id": "a", "state": "lost"}], "publish": [{"sink": "jsonl -", "state": "online"}]},
            "05:06:07 s is degraded (a lost, jsonl - online)",
        ),
        (
            {"kind": "status", "site": "s", "state": "offline", "timestamp": "2026-11-22T05:06:07.1Z",
             "reason": "done"},
            "05:06:07 s is offline: done",
        ),
        ({"kind": "detections", "site": "s", "source": "a", "objects": []}, None),
        (
            {"kind": "new", "source": "a", "frame": {"timestamp": "2026-11-22T05:06:07.1Z"}, "event": {"a\x1b": "b\n"}},
            "05:06:07 a  new (a  b )",
        ),
    ],
)  # fmt: skip
def test_a_message_in_words(body: dict[str, Any], expected: str | None) -> None:
    """Status and events are, detections are not; nothing moves the cursor."""
    assert message_in_words({"schema": "edge-vision/1", **body}) == expected


@pytest.mark.parametrize("body", [None, 1, [1], {"kind": "status"}, {"schema": 7}])
def test_what_is_no_message_is_shown_as_it_is(body: Any) -> None:
    """Whatever else speaks on that address."""
    assert message_in_words(json.loads(json.dumps(body))) == str(body)
