"""Checks the format on the wire, and the numbers that make a loss visible."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import numpy as np
import pytest

from edge_vision.core.detections import Detections, masks
from edge_vision.core.scene import Scene, ServedModel, Timings
from edge_vision.publish.schema import message_schema
from edge_vision.publish.wire import SCHEMA, Wire, new_boot, utc
from edge_vision.testing.fakes import FakeClock, make_frame

LABELS = ("person", "car")
MODEL = ServedModel("yolo", "onnxruntime", "CPU", "f32", LABELS)


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(name="wire")
def _wire(clock: FakeClock) -> Wire:
    return Wire("plant", "boot", clock)


def _scene(clock: FakeClock, source_id: str = "gate", model: ServedModel | None = MODEL) -> Scene:
    seen = Detections(
        np.array([[1.005, 2.499, 30.126, 40.0], [0, 0, 64, 48]], np.float32),
        np.array([0.87654321, 0.3], np.float32),
        np.array([1, 0], np.int32),
    )
    timings = Timings(1_000_000, 2_345_678, 30_000_499, 600)
    frame = make_frame(index=41, source_id=source_id, clock=clock)
    return Scene(frame, seen, (), timings, LABELS, () if model is None else (model,))


def test_a_detections_message_has_these_fields_in_this_order(wire: Wire, clock: FakeClock) -> None:
    """The whole body, as JSON text: names, order, rounding and types."""
    scene = _scene(clock)
    clock.advance(0.0125)
    message = wire.detections(scene)
    assert message.body.decode() == (
        '{"schema":"edge-vision/1","kind":"detections","id":"boot-gate-detections-1","boot":"boot","seq":1,'
        '"site":"plant","source":"gate",'
        '"frame":{"index":41,"timestamp":"2026-11-22T12:00:00.000000Z","media_ms":1640.0,"width":64,"height":48},'
        '"objects":[{"class":"car","class_id":1,"confidence":0.8765,"xyxy":[1.0,2.5,30.13,40.0]},'
        '{"class":"person","class_id":0,"confidence":0.3,"xyxy":[0.0,0.0,64.0,48.0]}],'
        '"latency_ms":{"capture":1.0,"preprocess":2.346,"inference":30.0,"postprocess":0.001,"analytics":0.0,"total":12.5},'
        '"model":{"name":"yolo","backend":"onnxruntime","device":"CPU","precision":"f32"}}'
    )
    assert (message.topic, message.kind, message.source) == (
        "edge-vision/v1/plant/gate/detections", "detections", "gate",
    )  # fmt: skip
    assert not message.retain


def test_nothing_seen_is_a_message_too(wire: Wire, clock: FakeClock) -> None:
    """An empty list, not a missing one; without a model, null."""
    body = json.loads(wire.detections(Scene(make_frame(clock=clock))).body)
    assert (body["objects"], body["model"]) == ([], None)
    assert body["schema"] == SCHEMA


def test_seq_counts_from_one_per_source_and_kind(wire: Wire, clock: FakeClock) -> None:
    """Without a gap, whatever the others do; the id repeats what makes it unique."""
    messages = [
        wire.detections(_scene(clock, "a")),
        wire.detections(_scene(clock, "b")),
        wire.status("online", {}),
        wire.detections(_scene(clock, "a")),
        wire.status("online", {}),
        wire.detections(_scene(clock, "b")),
        wire.detections(_scene(clock, "a")),
    ]
    assert [(message.source, message.kind, message.seq) for message in messages] == [
        ("a", "detections", 1), ("b", "detections", 1), ("", "status", 1), ("a", "detections", 2),
        ("", "status", 2), ("b", "detections", 2), ("a", "detections", 3),
    ]  # fmt: skip
    assert len({message.id for message in messages}) == len(messages)
    for message in messages:
        body = json.loads(message.body)
        assert (body["id"], body["seq"], body["boot"]) == (message.id, message.seq, message.boot)
        assert message.id == f"boot-{message.source or 'plant'}-{message.kind}-{message.seq}"


def test_a_status_is_retained_and_carries_its_facts(wire: Wire, clock: FakeClock) -> None:
    """On the site's own topic, stamped with the time it was made."""
    clock.advance(1.5)
    message = wire.status("degraded", {"cameras": [{"id": "gate"}]})
    body = json.loads(message.body)
    assert list(body) == ["schema", "kind", "id", "boot", "seq", "site", "timestamp", "state", "cameras"]
    assert (body["state"], body["timestamp"]) == ("degraded", "2026-11-22T12:00:01.500000Z")
    assert (message.topic, message.retain) == ("edge-vision/v1/plant/status", True)


def test_the_will_says_offline_and_takes_no_number(wire: Wire) -> None:
    """The broker sends it for us: its 0 does not look like a gap."""
    will = wire.will()
    body = json.loads(will.body)
    assert (body["state"], body["reason"], body["seq"], will.retain) == ("offline", "connection lost", 0, True)
    assert will.topic == "edge-vision/v1/plant/status"
    assert wire.status("online", {}).seq == 1


@pytest.mark.parametrize(
    "timestamp, text",
    [
        (datetime(2026, 11, 22, 5, 0, 0, 123456, timezone.utc), "2026-11-22T05:00:00.123456Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 0, timezone.utc), "2026-01-02T03:04:05.000000Z"),
    ],
)
def test_times_are_utc_with_microseconds(timestamp: datetime, text: str) -> None:
    """Always the same length, so that they sort as text."""
    assert utc(timestamp) == text


def test_boots_sort_by_time_and_are_never_the_same() -> None:
    """A later start has the greater name, also across a change of digits; two at once differ."""
    starts = [datetime(2001, 1, 1, tzinfo=timezone.utc) + timedelta(days=days) for days in (0, 1, 300, 9000, 20000)]
    names = [new_boot(FakeClock(start)) for start in starts]
    assert names == sorted(names)
    assert {len(name) for name in names} == {18}
    assert len({new_boot(FakeClock()) for _ in range(100)}) == 100
    assert [int(name[:12], 16) for name in names] == [int(start.timestamp() * 1000) for start in starts]
    later = FakeClock()
    later.advance(0.002)
    assert new_boot(FakeClock()) < new_boot(later)


def test_an_object_with_a_mask_has_its_outline(wire: Wire, clock: FakeClock) -> None:
    """In pixels of the source; the others have none."""
    scene = _scene(clock)
    seen = scene.detections.where(np.array([1]))
    seen = replace(seen, mask=masks([np.array([[True, False], [True, True]])]))
    (one,) = json.loads(wire.detections(replace(scene, detections=seen)).body)["objects"]
    assert list(one) == ["class", "class_id", "confidence", "xyxy", "polygons"]
    (outline,) = one["polygons"]
    assert sorted(outline) == [[0.0, 0.0], [0.0, 48.0], [32.0, 0.0], [32.0, 24.0], [64.0, 24.0], [64.0, 48.0]]


def test_confidences_and_boxes_are_rounded_not_cut() -> None:
    """Four digits of confidence, hundredths of a pixel, without the noise of float32."""
    clock = FakeClock()
    seen = Detections(
        np.array([[0.126, 0.124, 1919.999, 1079.994]], np.float32),
        np.array([0.99996], np.float32),
        np.zeros(1, np.int32),
    )
    body: dict[str, Any] = json.loads(Wire("s", "b", clock).detections(Scene(make_frame(), seen, labels=LABELS)).body)
    assert body["objects"][0]["xyxy"] == [0.13, 0.12, 1920.0, 1079.99]
    assert body["objects"][0]["confidence"] == 1.0


def test_numbers_that_json_does_not_have_are_left_out(wire: Wire) -> None:
    """Not sent as null, which the schema does not allow: what is not known is not there."""
    seen = Detections(
        np.zeros((3, 4), np.float32),
        np.ones(3, np.float32),
        np.zeros(3, np.int32),
        attributes={"speed": np.array([np.nan, np.inf, 2.0], np.float32)},
    )
    measures = {"width": float("nan"), "ratio": float("-inf"), "area": 3.0}
    body = json.loads(wire.detections(Scene(make_frame(), seen, labels=LABELS, measures=measures)).body)
    assert [one.get("attributes") for one in body["objects"]] == [None, None, {"speed": 2.0}]
    assert body["measures"] == {"area": 3.0}
    jsonschema.validate(body, message_schema())
