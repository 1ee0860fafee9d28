"""Commands are read, checked, known again, carried out in turn, and each is answered once."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from conftest import wait_until

from edge_vision.app import commands as commands_module
from edge_vision.app.commands import Desk, Later, Order
from edge_vision.core.commands import COMMANDS, Answer, Letter, answer_topic, read_topic, why_no_answer_topic
from edge_vision.core.errors import CommandError
from edge_vision.testing.fakes import FakeClock

EVERYTHING = frozenset(COMMANDS)


class Office:
    """A desk whose commands are noted, and answered with what a test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.desk = Desk("s", "boot", frozenset({"gate", "dock"}), self.clock)
        self.done: list[Order] = []
        self.answers: list[dict[str, Any]] = []
        self.outcome: Callable[[Order, Later], None] = lambda _, later: later({"value": True})
        self.desk.carry_out = self._carry_out

    def _carry_out(self, order: Order, later: Later) -> None:
        self.done.append(order)
        self.outcome(order, later)

    def take(self, what: str, body: Any = b"", source: str = "gate", **more: Any) -> None:
        """Hand a command in."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        allowed = more.pop("allowed", EVERYTHING)
        self.desk.take(Letter(source, what, payload, **more), allowed, lambda body, ok: self._heard(body, ok=ok))

    def _heard(self, body: bytes, *, ok: bool) -> None:
        answer = json.loads(body)
        assert answer["ok"] is ok
        self.answers.append(answer)

    def work(self) -> None:
        """Carry out what waits."""
        for _ in range(len(self.desk._queue)):
            step = self.desk._queue.get(0.0)
            assert step is not None
            step()

    def ask(self, *args: Any, **more: Any) -> dict[str, Any]:
        """One command, one answer."""
        before = len(self.answers)
        self.take(*args, **more)
        self.work()
        assert len(self.answers) == before + 1
        return self.answers[-1]


@pytest.fixture(name="office")
def _office() -> Office:
    return Office()


def test_a_command_is_carried_out_and_answered(office: Office) -> None:
    """The answer says which site, run, camera and command, and repeats the sender's id."""
    answer = office.ask("enabled", {"value": False, "id": "a-1"})
    stamp = answer.pop("timestamp")
    assert stamp == "2026-11-22T12:00:00.000000Z"
    assert answer == {
        "schema": "edge-vision/1", "kind": "answer", "site": "s", "boot": "boot", "command": "enabled", "ok": True,
        "source": "gate", "id": "a-1", "value": True,
    }  # fmt: skip
    (order,) = office.done
    assert (order.source, order.what) == ("gate", "enabled")
    assert order.payload == COMMANDS["enabled"].payload(id="a-1", value=False)  # type: ignore[call-arg]


def test_an_empty_body_is_an_empty_command(office: Office) -> None:
    """`mosquitto_pub -n` will do where nothing has to be said."""
    assert office.ask("ping", b"", source="")["ok"] is True
    assert office.ask("snapshot", b"")["ok"] is True
    assert "value" in office.ask("enabled", b"")["reason"]


REFUSED = [
    ("enabled", "gate", b"{", "truncated"),
    ("enabled", "gate", b"null", "Expected `object`"),
    ("enabled", "gate", b"[true]", "Expected `object`"),
    ("enabled", "gate", {"value": 1}, "Expected `bool`"),
    ("enabled", "gate", {"value": "true"}, "Expected `bool`"),
    ("enabled", "gate", {"value": None}, "Expected `bool`"),
    ("enabled", "gate", {"value": True, "valeu": 1}, "unknown field `valeu`"),
    ("enabled", "gate", {"value": True, "id": ""}, "`$.id`"),
    ("enabled", "gate", {"value": True, "id": "a b"}, "`$.id`"),
    ("enabled", "gate", {"value": True, "id": "x" * 65}, "`$.id`"),
    ("enabled", "gate", {"value": True, "id": 7}, "`$.id`"),
    ("enabled", "gate", {"value": True, "id": "x\n"}, "`$.id`"),
    ("enabled", "gate", b'{"value": true} x', "trailing"),
    ("enabled", "gate", b'{"value": false, "value": true}', "'value' is given twice: which is meant?"),
    ("enabled", "gate", b'{"value": true, "id": "a", "i\\u0064": "b"}', "'id' is given twice: which is meant?"),
    ("enabled", "gate", b'{"value": tr\xff}', "invalid"),
    ("enabled", "gate", b'{"value": true, "id": "\xff"}', "not UTF-8 text"),
    ("enabled", "gate", b'{"value":' * 400 + b"true" + b"}" * 400, "Expected `bool`"),
    ("enabled", "gate", b"[" * 4000, "Expected `object`"),
    ("enabled", "gate", b" " * 4096 + b"{}", "4098 bytes are more than the 4096"),
    ("confidence", "gate", {}, "value"),
    ("confidence", "gate", {"value": 1.01}, "<= 1.0"),
    ("confidence", "gate", {"value": -0.1}, ">= 0.0"),
    ("confidence", "gate", {"value": True}, "Expected `float | null`"),
    ("confidence", "gate", b'{"value": NaN}', "invalid"),
    ("confidence", "gate", b'{"value": Infinity}', "invalid"),
    ("confidence", "gate", b'{"value": 1e999}', "out of range"),
    ("confidence", "gate", b'{"value": ' + b"9" * 3000 + b"}", ""),
    ("snapshot", "gate", {"width_px": 63}, ">= 64"),
    ("snapshot", "gate", {"width_px": 100.5}, "Expected `int`"),
    ("snapshot", "gate", {"quality": 100}, "<= 95"),
    ("fetch", "gate", {}, "path"),
    ("fetch", "gate", {"path": ""}, "length >= 1"),
    *(
        ("fetch", "gate", {"path": path}, "`$.path`")
        for path in ("../x.gate.1", "/x", "a/../b", "a//b", "x/", "x\0", "a\\b", ".x", "a/.x", "..", "x\n", "x" * 513)
    ),
    ("fetch", "gate", {"path": "a", "offset": -1}, ">= 0"),
    ("fetch", "gate", {"path": "a", "length": 10**9}, "<= 262144"),
    ("fetch", "gate", b'{"path": "a", "offset": 99999999999999999999999999}', ""),
    ("ping", "", {"value": 1}, "unknown field `value`"),
    ("enabled", "", {"value": True}, "enabled is about a camera: its name stands before set"),
    ("ping", "gate", {}, "ping is about the site: no camera stands before set"),
    ("enabled", "gat", {"value": True}, "unknown camera 'gat'; did you mean gate?"),
    ("enabled", "../gate", {"value": True}, "unknown camera"),
    ("enable", "gate", {"value": True}, "unknown command 'enable'; did you mean enabled?"),
    ("", "gate", {"value": True}, "unknown command"),
]


@pytest.mark.parametrize("what, source, body, reason", REFUSED, ids=[f"{row[0]}-{n}" for n, row in enumerate(REFUSED)])
def test_what_is_wrong_is_answered_with_the_reason(
    what: str, source: str, body: Any, reason: str, office: Office
) -> None:
    """And nothing is carried out."""
    answer = office.ask(what, body, source=source)
    assert answer["ok"] is False
    assert reason in answer["reason"] if reason != "" else answer["reason"]
    assert len(answer["reason"]) <= 300
    assert office.done == []
    assert office.desk._known == {}


def test_a_wrong_command_is_answered_with_its_id(office: Office) -> None:
    """Whoever has several under way knows which; an id that is none itself is not repeated."""
    assert office.ask("enabled", {"value": 1, "id": "mine"})["id"] == "mine"
    assert office.ask("enabled", {"nothing": 1, "id": "mine"})["id"] == "mine"
    assert "id" not in office.ask("enabled", {"value": 1, "id": "not mine"})
    assert "id" not in office.ask("enabled", b'{"id": "mine", ' + b"[" * 3000)


def test_what_is_not_allowed_is_not_carried_out(office: Office) -> None:
    """Each inlet has its own list."""
    answer = office.ask("enabled", {"value": False}, allowed=frozenset({"ping", "snapshot"}))
    assert answer["reason"] == "enabled is not allowed here: snapshot, ping are"
    assert office.done == []


def test_the_fault_that_an_inlet_found_is_the_answer(office: Office) -> None:
    """Such as a topic for the answer that must not be one."""
    answer = office.ask("enabled", {"value": False, "id": "i"}, fault="the response topic is empty")
    assert (answer["ok"], answer["reason"], answer["id"]) == (False, "the response topic is empty", "i")
    assert office.done == []


def test_a_copy_is_answered_again_and_not_carried_out_again(office: Office) -> None:
    """Known by its id, also when the first is still under way."""
    later: list[Later] = []
    office.outcome = lambda _, tell: later.append(tell)
    office.take("enabled", {"value": False, "id": "one"})
    office.take("enabled", {"value": False, "id": "one"})
    office.work()
    assert office.answers == []
    later[0]({"value": False})
    assert len(office.answers) == 2
    office.take("enabled", {"value": False, "id": "one"})
    assert len(office.done) == 1
    assert office.answers[0] == office.answers[1] == office.answers[2]


def test_an_id_belongs_to_one_command(office: Office) -> None:
    """Under the id of another command, or of the same with another value, nothing is carried out."""
    office.ask("enabled", {"value": False, "id": "one"})
    for what, body in (("enabled", {"value": True}), ("confidence", {"value": 0.5})):
        answer = office.ask(what, {**body, "id": "one"})
        assert answer["reason"] == "the id was that of another command: take a new one"
    assert office.ask("enabled", {"value": False, "id": "one"}, source="dock")["ok"] is False
    assert len(office.done) == 1


def test_without_an_id_only_what_calls_itself_a_copy_is_one(office: Office) -> None:
    """The flag of MQTT's own repetition; without it the same command is one more."""
    for _ in range(2):
        office.ask("enabled", {"value": False})
    assert len(office.done) == 2
    office.ask("enabled", {"value": False}, repeated=True)
    assert len(office.done) == 2
    office.ask("enabled", {"value": True}, repeated=True)  # the first was lost on its way
    assert len(office.done) == 3


def test_ids_are_remembered_for_a_while_and_up_to_a_number(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes, and a thousand: neither time nor a flood makes it grow."""
    office.ask("enabled", {"value": False, "id": "one"})
    office.clock.advance(599)
    office.ask("enabled", {"value": False, "id": "one"})
    assert len(office.done) == 1
    office.clock.advance(2)
    office.ask("enabled", {"value": False, "id": "one"})
    assert len(office.done) == 2
    monkeypatch.setattr(commands_module, "_KNOWN", 3)
    for number in range(10):
        office.ask("enabled", {"value": False, "id": f"n{number}"})
    assert len(office.desk._known) == 3


def test_a_large_answer_is_not_kept_for_copies(office: Office) -> None:
    """A picture is told once; its copy hears why not again."""
    office.outcome = lambda _, later: later({"data": "x" * 5000})
    assert office.ask("snapshot", {"id": "s"})["ok"] is True
    again = office.ask("snapshot", {"id": "s"})
    assert (again["ok"], again["id"]) == (False, "s")
    assert "too large to keep" in again["reason"]
    assert len(office.done) == 1


def test_too_many_commands_are_told_to_come_again(office: Office) -> None:
    """The queue has a bound; who was turned away may come again under the same id."""
    for number in range(256):
        office.take("enabled", {"value": True, "id": f"n{number}"})
    assert office.answers == []
    office.take("enabled", {"value": True, "id": "last"})
    assert office.answers[-1]["reason"] == "busy: 256 commands wait; send it again"
    office.work()
    assert len(office.answers) == 257
    assert office.ask("enabled", {"value": True, "id": "last"})["ok"] is True


def test_nothing_is_taken_once_the_site_stops(office: Office) -> None:
    """What came before is carried out; what comes then is told so."""
    office.take("enabled", {"value": True})
    office.desk.close()
    office.take("enabled", {"value": True})
    assert [answer.get("reason") for answer in office.answers] == ["the site is stopping"]
    office.work()
    assert [answer["ok"] for answer in office.answers] == [False, True]


def test_a_mistake_of_ours_is_answered_too(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The traceback is in the log, the worker goes on."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    office.outcome = fail
    with caplog.at_level("ERROR", "edge_vision"):
        answer = office.ask("enabled", {"value": True})
    assert answer["reason"] == "it failed inside (ZeroDivisionError); the log says more"


def test_a_refusal_while_it_is_carried_out(office: Office) -> None:
    """The reason goes to whoever asked."""

    def refuse(*_: Any) -> None:
        msg = "no"
        raise CommandError(msg)

    office.outcome = refuse
    assert office.ask("enabled", {"value": True})["reason"] == "no"


@pytest.fixture(name="running")
def _running(office: Office) -> Iterator[Office]:
    office.desk.worker.start()
    yield office
    office.desk.close()
    assert office.desk.worker.join(60)


def test_the_worker_carries_out_in_order_and_ends_with_the_last(running: Office) -> None:
    """On a thread of its own, until the desk is closed and empty."""
    for number in range(20):
        running.take("enabled", {"value": True, "id": f"n{number}"})
    running.desk.close()
    wait_until(lambda: len(running.answers) == 20, 60, "all are answered")
    assert [order.payload.id for order in running.done] == [f"n{number}" for number in range(20)]


def test_topics() -> None:
    """Those of commands, and no others."""
    assert read_topic("s", "edge-vision/v1/s/set/ping") == ("", "ping")
    assert read_topic("s", "edge-vision/v1/s/gate/set/enabled") == ("gate", "enabled")
    for other in ("edge-vision/v1/t/set/ping", "edge-vision/v1/s/gate/status", "edge-vision/v1/s/a/b/set/x",
                  "edge-vision/v1/s/set", "/edge-vision/v1/s/set/ping", "", "edge-vision/v1/s/gate/SET/x"):  # fmt: skip
        assert read_topic("s", other) is None
    assert answer_topic("s", "gate", "enabled") == "edge-vision/v1/s/gate/answer/enabled"
    assert answer_topic("s", "", "ping") == "edge-vision/v1/s/answer/ping"


@pytest.mark.parametrize(
    "topic",
    [
        "", "a/+/b", "#", "a/#", "$SYS/x", "$share/g/t", "a\0b", "a\nb", "x" * 257, "ü" * 129,
        "edge-vision/v1/s/gate/set/enabled", "edge-vision/v1/s/set/ping", "edge-vision/v1/s/status", "edge-vision",
        "edge-vision/v1/s/gate/detections", "edge-vision/v1/t/gate/set/enabled", "edge-vision/v1/t/answer/x",
        "edge-vision/v1/s", "edge-vision/v1/s/set/answer", "edge-vision/v1/s/answer/set", "edge-vision/v2/s/answer/x",
        "edge-vision/v1/s/a/b/answer",
    ],
)  # fmt: skip
def test_an_answer_must_not_go_everywhere(topic: str) -> None:
    """Not to commands or messages of any site, nor to what no topic can be."""
    assert why_no_answer_topic("s", topic) != ""


@pytest.mark.parametrize(
    "topic", ["me/answers", "edge-vision/v1/s/answer/mine", "edge-vision/v1/s/gate/answer/mine", "edge-vision-2/x", "ü"]
)
def test_an_answer_may_go_where_it_harms_nobody(topic: str) -> None:
    """Outside of edge-vision's own topics, and to the answers of the site."""
    assert why_no_answer_topic("s", topic) == ""


def test_every_answer_has_the_shape_that_is_printed(office: Office) -> None:
    """As `edge-vision schema --commands` says."""
    import jsonschema

    from edge_vision.publish.commands.schema import command_schema

    schema = command_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator({**schema, "anyOf": [{"$ref": "#/$defs/answer"}]})
    for answer in (
        office.ask("enabled", {"value": True, "id": "x"}),
        office.ask("enabled", {"value": 3}),
        office.ask("ping", source=""),
    ):
        check.validate(answer)
        assert msgspec.convert(answer, Answer).ok is answer["ok"]
    assert set(schema["$defs"]) == {*COMMANDS, "answer", "AnswerFrame"}
