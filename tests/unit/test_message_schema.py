"""Checks that the schema of messages takes what is sent, of every kind, and refuses what is not."""

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from conftest import ROOT

from edge_vision.cli.command import run_command
from edge_vision.core.detections import Detections
from edge_vision.core.events import KINDS
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.publish.schema import message_schema
from edge_vision.publish.wire import Wire
from edge_vision.testing.fakes import FakeClock, make_frame

SCHEMA = message_schema()
PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^\| `(\w+)` \| .* \| `(\{.*\})` \|$", PAGE, re.MULTILINE))


def _valid(body: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(body))


def _frame_of(kind: str, event: Any) -> dict[str, Any]:
    """A whole message around an event."""
    body: dict[str, Any] = json.loads(Wire("s", "b", FakeClock()).detections(Scene(make_frame())).body)
    return {**{key: body[key] for key in ("schema", "id", "boot", "seq", "site", "source", "frame")}, "kind": kind,
            "event": event}  # fmt: skip


def _detections() -> dict[str, Any]:
    """A message with every column there is."""
    count, labels = 2, ("person", "car")
    seen = Detections(
        np.zeros((count, 4), np.float32),
        np.ones(count, np.float32),
        np.arange(count, dtype=np.int32),
        track_id=np.arange(count, dtype=np.int32),
        keypoints=np.zeros((count, 5, 3), np.float32),
        quad=np.zeros((count, 4, 2), np.float32),
        text=np.array(["", "皖A"]),
        attributes={"color": np.array(["", "red"]), "speed": np.array([np.nan, 2], np.float32)},
    )
    models = (ServedModel("m", "onnxruntime", "CPU", "f32", labels),) * 2
    scene = Scene(make_frame(), seen, labels=labels, models=models, measures={"coverage": 0.5})
    body: dict[str, Any] = json.loads(Wire("s", "b", FakeClock()).detections(scene).body)
    return body


def test_it_is_a_schema_of_every_kind() -> None:
    """A definition for every kind of message, and no name of a private class."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    kinds = ["detections", "status", "gap", "heartbeat", "evidence", *KINDS]
    assert [one["$ref"] for one in SCHEMA["oneOf"]] == [f"#/$defs/{kind}" for kind in kinds]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z_]*", name) for name in SCHEMA["$defs"])
    assert '"_' not in json.dumps(SCHEMA)
    assert set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(SCHEMA))) == set(SCHEMA["$defs"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_event_of_the_docs_is_valid_and_nothing_near_it(kind: str) -> None:
    """Every field must be there, of its type; no other may; and it must be of the kind that it says."""
    event = json.loads(EXAMPLES[kind])
    assert _valid(_frame_of(kind, event))
    for field in msgspec.structs.fields(KINDS[kind]):
        name = field.encode_name
        without = {key: value for key, value in event.items() if key != name}
        assert _valid(_frame_of(kind, without)) is not field.required, name
        assert not _valid(_frame_of(kind, {**event, name: {"of": {"no": "type"}}})), name
    assert not _valid(_frame_of(kind, {**event, "more": 1}))
    assert not _valid(_frame_of("other", event))
    assert not _valid(_frame_of("detections", event))


def test_detections_with_every_column_are_valid() -> None:
    """And without any."""
    body = _detections()
    assert body["objects"][1]["attributes"] == {"color": "red", "speed": 2.0}
    assert _valid(body)
    assert _valid(json.loads(Wire("s", "b", FakeClock()).detections(Scene(make_frame())).body))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.pop("seq"),
        lambda body: body.update(more=1),
        lambda body: body.update(schema="edge-vision/2"),
        lambda body: body.update(kind="detection"),
        lambda body: body["objects"][0].update(xyxy=[1, 2, 3]),
        lambda body: body["objects"][0].update({"class": 7}),
        lambda body: body["objects"][0].pop("class"),
        lambda body: body["objects"][0].update(quad=[[0, 0]] * 3),
        lambda body: body["objects"][0].update(keypoints=[[0, 0]]),
        lambda body: body["objects"][0].update(attributes={"a": None}),
        lambda body: body["frame"].pop("media_ms"),
        lambda body: body["measures"].update(coverage="much"),
    ],
)
def test_wrong_detections_are_refused(spoil: Callable[[dict[str, Any]], Any]) -> None:
    """Each mistake by itself."""
    body = _detections()
    spoil(body)
    assert not _valid(body)


def test_statuses_are_valid_and_wrong_ones_are_not() -> None:
    """The will of a broker, the first one, and one with a state that is none."""
    wire = Wire("s", "b", FakeClock())
    for message in (wire.will(), wire.status("starting", {})):
        assert _valid(json.loads(message.body))
    for state, facts in (("fine", {}), ("online", {"cameras": [{}]}), ("online", {"frames": 1})):
        assert not _valid(json.loads(wire.status(state, facts).body)), (state, facts)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`edge-vision schema --messages`; not together with a file."""
    assert run_command(["schema", "--messages"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(SCHEMA))
    assert run_command(["schema", "site", "--messages"]) == 2
    assert "either site or --messages" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["messages", "commands"])
def test_descriptions_have_no_indentation(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is the same on every Python: those before 3.13 leave the indentation of the code in docstrings."""
    assert run_command(["schema", f"--{what}"]) == 0
    described = [part.get("description", "") for part in json.loads(capsys.readouterr().out)["$defs"].values()]
    assert any("\n" in text for text in described)
    assert [text for text in described if "\n " in text] == []
