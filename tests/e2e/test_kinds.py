"""A sink gets the kinds of messages it asks for, and people read events in words."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import run
from conftest import Start
from demo_site import CLIP, PARTS, read_lines
from listeners import mqtt_listener
from servers import Broker

GATE = {"gate": [[0.5, 1.0], [0.5, 0.0]]}
"""The conveyor runs from left to right: across a line from bottom to top, every part goes "in"."""
TOPIC = "edge-vision/v1/test/line/line_crossed"
STATUS = "edge-vision/v1/test/status"


def _camera(**source: Any) -> dict[str, Any]:
    source = source or {"kind": "file", "path": CLIP}
    settings = {"model": PARTS, "lines": GATE, "backends": ["onnxruntime"]}
    return {"id": "line", "source": source, "pipeline": "object_counting", "with": settings}


def test_each_sink_gets_its_kinds_and_no_gap(
    write_site: Callable[..., Path], tmp_path: Path, broker: Broker, edge_vision: Start
) -> None:
    """Events for the broker, with neither status nor a last will; the numbers have no gap for what was not asked."""
    events, whole = tmp_path / "events.jsonl", tmp_path / "all.jsonl"
    publish = [
        {"kind": "jsonl", "path": str(events), "kinds": ["line_crossed", "zone_entered"]},
        {"kind": "jsonl", "path": str(whole)},
        {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "kinds": ["line_crossed"]},
        {"kind": "terminal", "kinds": ["line_crossed"]},
    ]
    with mqtt_listener(broker.port) as told:
        process = edge_vision("run", write_site(cameras=[_camera()], publish=publish))
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        everything = read_lines(whole)
        crossed = [one for one in everything if one["kind"] == "line_crossed"]
        assert Counter(one["kind"] for one in everything)["detections"] == 500
        assert len(crossed) > 5
        assert [one["seq"] for one in crossed] == list(range(1, len(crossed) + 1))
        assert read_lines(events) == crossed
        told.wait_for(TOPIC, len(crossed))
        assert told.on(TOPIC) == crossed
        assert told.count(STATUS) == 0
        assert told.count("edge-vision/v1/test/line/detections") == 0
    said = [line for line in output.splitlines() if " in (" in line]
    assert said[-1].endswith(f" in ({len(crossed)} in, 0 out)")
    assert len(said) == len(crossed)
    assert "fps" not in output


def test_status_alone(write_site: Callable[..., Path], broker: Broker, edge_vision: Start) -> None:
    """For whoever only watches over the site."""
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "kinds": ["status"]}]
    source = {"kind": "synthetic", "frames": 30, "realtime": False}
    with mqtt_listener(broker.port) as told:
        process = edge_vision("run", write_site(cameras=[_camera(**source)], publish=publish))
        assert process.wait(60) == 0
        told.wait_for(STATUS, 3)
        assert {one["kind"] for topic in {STATUS} for one in told.on(topic)} == {"status"}
        assert told.count("edge-vision/v1/test/line/detections") == 0


def test_tail_says_events_in_words(edge_vision: Start, write_site: Callable[..., Path], free_port: int) -> None:
    """`tail --words`: a line per event and status, and no detections."""
    address = f"tcp://127.0.0.1:{free_port}"
    tail = edge_vision("tail", address, "--words", "--count", "9", "--timeout", "40")
    publish = [{"kind": "zeromq", "bind": address}]
    process = edge_vision("run", write_site(cameras=[_camera()], publish=publish))
    output, errors = tail.communicate(timeout=60)
    assert tail.returncode == 0, errors
    lines = output.splitlines()
    assert len(lines) == 9
    words = [line.split(" ", 1)[1] for line in lines]
    assert any(" in (1 in, 0 out)" in line for line in words), lines
    assert all(line.startswith(("line  gate: ", "line  count ", "test is ")) for line in words), lines
    process.communicate(timeout=60)


def test_a_kind_that_is_none_is_found_at_check(tmp_path: Path) -> None:
    """At the word itself, with the one that was meant."""
    site = tmp_path / "site.yaml"
    site.write_text(
        "version: 1\nsite: a\ncameras:\n  - id: b\n    source: {kind: synthetic}\n    pipeline: object_detection\n"
        f"    with: {{model: {json.dumps(PARTS)}}}\npublish:\n"
        "  - {kind: mqtt, host: h, kinds: [status, line_crosed]}\n"
        "  - {kind: mqtt, host: i, kinds: [status, status]}\n"
        "  - {kind: jsonl, path: a, kinds: [status]}\n"
        "  - {kind: terminal, kinds: []}\n"
        "  - {kind: jsonl, path: b, kinds: detections}\n"
    )
    done = run("check", site)
    assert done.code == 78
    assert [line.removeprefix(f"{site}:") for line in done.errors.splitlines()] == [
        "9:43: publish[0].kinds[1]: unknown kind of message 'line_crosed'; did you mean line_crossed?",
        "10:34: publish[1].kinds: status is listed twice",
        "11:35: publish[2].kinds: status is about now: it goes to MQTT, ZeroMQ and HTTP only",
        "12:29: publish[3].kinds: has 0 items, must have at least 1",
        "13:35: publish[4].kinds: must be a list, not 'detections'",
    ]
