"""Every kind of sink keeps the contract of `Sink`; a new row of SINKS without a line here fails."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from listeners import mqtt_listener, zeromq_listener
from pydantic import TypeAdapter
from servers import Broker
from webhook import receiving

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.scene import Scene
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.table import SINKS, SinkOpening, name_of, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.contracts import check_sink
from edge_vision.testing.fakes import make_frame, make_message

OPTIONS: TypeAdapter[SinkOptions] = TypeAdapter(SinkOptions)
TESTED = {"jsonl", "zeromq", "mqtt", "http", "terminal"}
TOPIC = "edge-vision/v1/test/cam/detections"
COUNT = 5


def _options(**given: Any) -> SinkOptions:
    return OPTIONS.validate_python(given)


@pytest.fixture(name="wire")
def _wire() -> Wire:
    return Wire("test", "boot", SystemClock())


@pytest.fixture(name="opening")
def _opening(wire: Wire) -> SinkOpening:
    return SinkOpening("test", SystemClock(), wire.will(), lambda: wire.status("online", {}))


@pytest.fixture(name="messages")
def _messages(wire: Wire) -> list[Message]:
    return [wire.detections(Scene(make_frame(index=index, clock=SystemClock()))) for index in range(COUNT)]


def _bodies(messages: list[Message]) -> list[Any]:
    return [json.loads(message.body) for message in messages]


def test_every_kind_of_sink_is_tested_here() -> None:
    """A new row of SINKS comes with tests in this file."""
    assert set(SINKS) == TESTED


@pytest.mark.parametrize("kind", sorted(TESTED))
def test_a_sink_has_a_name_for_logs(kind: str) -> None:
    """Its kind and its address."""
    given: dict[str, Any] = {
        "jsonl": {"path": "out.jsonl"}, "zeromq": {"bind": "ipc://a.sock"}, "mqtt": {"host": "broker"},
        "http": {"url": "https://mes:8443/hook?key=k"}, "terminal": {},
    }[kind]  # fmt: skip
    expected = {"jsonl": "jsonl out.jsonl", "zeromq": "zeromq ipc://a.sock", "mqtt": "mqtt broker:1883"}
    expected["http"] = "http https://mes:8443"  # the path of a webhook is often a secret
    assert name_of(_options(kind=kind, **given)) == expected.get(kind, kind)


def test_jsonl_writes_every_message_as_a_line(tmp_path: Path, opening: SinkOpening, messages: list[Message]) -> None:
    """Each body is a line, in order; what was there before stays."""
    file = tmp_path / "out.jsonl"
    file.write_text('{"before": 1}\n')
    with open_sink(_options(kind="jsonl", path=file), opening) as sink:
        check_sink(sink, messages)
        sink.send([opening.status()])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [{"before": 1}, *_bodies(messages), *_bodies(messages)]


def test_jsonl_to_standard_output(
    opening: SinkOpening, messages: list[Message], capfd: pytest.CaptureFixture[str]
) -> None:
    """The path "-" is standard output."""
    with open_sink(_options(kind="jsonl", path="-"), opening) as sink:
        check_sink(sink, messages)
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == _bodies(messages) * 2


def test_zeromq_publishes_topic_and_body(free_port: int, opening: SinkOpening, messages: list[Message]) -> None:
    """A subscriber hears every message on its topic, in order, also those sent right before the end."""
    address = f"tcp://127.0.0.1:{free_port}"
    with zeromq_listener(address) as heard:
        with open_sink(_options(kind="zeromq", bind=address), opening) as sink:
            _greet(lambda: sink.send([opening.status()]), lambda: heard.count("edge-vision/v1/test/status") > 0)
            check_sink(sink, messages)
        heard.wait_for(TOPIC, 2 * COUNT)
        assert heard.on(TOPIC) == _bodies(messages) * 2


def _greet(send: Callable[[], None], heard: Callable[[], bool]) -> None:
    """Send until the subscriber has joined."""

    def joined() -> bool:
        send()
        return heard()

    wait_until(joined, 60, "the subscriber joins")


def test_mqtt_publishes_and_says_goodbye(broker: Broker, opening: SinkOpening, messages: list[Message]) -> None:
    """Status first and retained, then every message on its topic; an orderly end sends no last will."""
    with mqtt_listener(broker.port) as heard:
        with open_sink(_options(kind="mqtt", host="127.0.0.1", port=broker.port), opening) as sink:
            heard.wait_for("edge-vision/v1/test/status", 1)
            check_sink(sink, messages)
        heard.wait_for(TOPIC, 2 * COUNT)
        assert heard.on(TOPIC) == _bodies(messages) * 2
        assert [status["state"] for status in heard.on("edge-vision/v1/test/status")] == ["online"]
    with mqtt_listener(broker.port) as later:
        later.wait_for("edge-vision/v1/test/status", 1)
        assert later.count(TOPIC) == 0  # detections are not retained


@pytest.mark.parametrize("batch", [1, 3])
def test_http_posts_every_message(batch: int, opening: SinkOpening, messages: list[Message]) -> None:
    """Each by itself as it is, or several as a list, in order."""
    with receiving() as receiver:
        with open_sink(_options(kind="http", url=receiver.url, batch=batch), opening) as sink:
            check_sink(sink, messages)
        bodies = [json.loads(post.body) for post in receiver.posts]
    assert [one for body in bodies for one in (body if batch > 1 else [body])] == _bodies(messages) * 2
    assert len(bodies) == (2 * COUNT if batch == 1 else 2 + COUNT)


def test_terminal_shows_what_was_seen(
    opening: SinkOpening, messages: list[Message], capsys: pytest.CaptureFixture[str]
) -> None:
    """The source's name while it runs, and the sum at the end."""
    with open_sink(_options(kind="terminal"), opening) as sink:
        check_sink(sink, messages)
    shown = capsys.readouterr().out
    assert "cam: " in shown
    assert f"test: {2 * COUNT} frames of 1 sources seen" in shown


@pytest.mark.parametrize("kind", sorted(TESTED))
def test_a_sink_that_is_sent_nothing_ends_quietly(
    kind: str, tmp_path: Path, broker: Broker, opening: SinkOpening
) -> None:
    """Opened, called with nothing, closed: no error, nothing written, and a second time just the same."""
    given: dict[str, dict[str, Any]] = {
        "jsonl": {"path": tmp_path / "out.jsonl"},
        "zeromq": {"bind": "tcp://127.0.0.1:*"},  # a port of its own each time: ZeroMQ frees one a little later
        "mqtt": {"host": "127.0.0.1", "port": broker.port},
        "terminal": {},
    }
    with receiving() as receiver:
        given["http"] = {"url": receiver.url}
        for _ in range(2):
            with open_sink(_options(kind=kind, **given[kind]), opening) as sink:
                sink.send([])
                sink.send([])
        assert not receiver.posts
    assert not any(file.read_bytes() for file in tmp_path.glob("*.jsonl"))


def _taken_port(tmp_path: Path, taken: int) -> dict[str, Any]:
    del tmp_path
    return {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{taken}"}


def _folder(tmp_path: Path, taken: int) -> dict[str, Any]:
    del taken
    return {"kind": "jsonl", "path": tmp_path}


def _no_folder(tmp_path: Path, taken: int) -> dict[str, Any]:
    del taken
    return {"kind": "jsonl", "path": tmp_path / "absent" / "out.jsonl"}


def _no_address(tmp_path: Path, taken: int) -> dict[str, Any]:
    del tmp_path, taken
    return {"kind": "zeromq", "bind": "tcp://192.0.2.1:5556", "plain": True}  # TEST-NET-1 is no address of this machine


def _silent_broker(tmp_path: Path, taken: int) -> dict[str, Any]:
    del tmp_path
    return {"kind": "mqtt", "host": "127.0.0.1", "port": taken, "timeout_s": 0.5}


def _silent_web_server(tmp_path: Path, taken: int) -> dict[str, Any]:
    del tmp_path
    return {"kind": "http", "url": f"https://127.0.0.1:{taken}/hook", "timeout_s": 0.5}


def _no_secret(tmp_path: Path, taken: int) -> dict[str, Any]:
    secret = {"file": str(tmp_path / "absent")}
    return {"kind": "mqtt", "host": "127.0.0.1", "port": taken, "username": "u", "password": secret}


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    """A port where somebody listens who never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize(
    "make", [_taken_port, _folder, _no_folder, _no_address, _silent_broker, _silent_web_server, _no_secret]
)
def test_a_sink_that_cannot_be_opened_is_a_sink_error_in_time(
    make: Callable[[Path, int], dict[str, Any]], tmp_path: Path, taken: int, opening: SinkOpening
) -> None:
    """The message names the address; nothing waits longer than its time-out."""
    given = make(tmp_path, taken)
    started = time.monotonic()
    with pytest.raises(SinkError) as caught, open_sink(_options(**given), opening):
        pytest.fail("it was opened")
    assert time.monotonic() - started < 30
    address = str(given.get("path", given.get("bind", ""))) or f"127.0.0.1:{taken}"
    if make is not _no_secret:
        assert address in str(caught.value)


def test_no_broker_is_a_sink_error(free_port: int, opening: SinkOpening) -> None:
    """Refused: with the address and the reason."""
    options = _options(kind="mqtt", host="127.0.0.1", port=free_port)
    with (
        pytest.raises(SinkError, match=rf"127\.0\.0\.1:{free_port}: cannot connect.*refused"),
        open_sink(options, opening),
    ):
        pytest.fail("it was opened")


def test_a_broker_that_asks_for_a_password_is_a_sink_error(
    tmp_path: Path, free_port: int, opening: SinkOpening
) -> None:
    """The broker's own word is in the message."""
    server = Broker(free_port, tmp_path, more="allow_anonymous false")
    server.start()
    try:
        options = _options(kind="mqtt", host="127.0.0.1", port=free_port)
        with pytest.raises(SinkError, match="Not authorized"), open_sink(options, opening):
            pytest.fail("it was opened")
    finally:
        server.kill()


def test_a_broker_that_dies_is_a_sink_error_and_the_will_is_told_by_the_next(
    broker: Broker, opening: SinkOpening, messages: list[Message]
) -> None:
    """What is sent after its end is not taken for delivered."""
    options = _options(kind="mqtt", host="127.0.0.1", port=broker.port, timeout_s=2)
    with open_sink(options, opening) as sink:
        sink.send(messages)
        broker.kill()
        with pytest.raises(SinkError) as caught:
            sink.send(messages)
    assert caught.value.delivered == 0


def test_mqtt_sends_more_than_one_window(broker: Broker, opening: SinkOpening, wire: Wire) -> None:
    """A batch larger than `inflight` goes out whole, in order."""
    many = [wire.detections(Scene(make_frame(index=index))) for index in range(50)]
    with mqtt_listener(broker.port) as heard:
        with open_sink(_options(kind="mqtt", host="127.0.0.1", port=broker.port, inflight=7), opening) as sink:
            sink.send(many)
        heard.wait_for(TOPIC, 50)
        assert [body["seq"] for body in heard.on(TOPIC)] == list(range(1, 51))


def test_a_terminal_that_is_gone_is_a_sink_error(
    opening: SinkOpening, messages: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract's only error, so that it is retried without a traceback for a bug."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", _Unclosed(full.fileno()))
        with pytest.raises(SinkError), open_sink(_options(kind="terminal"), opening) as sink:
            sink.send(messages)


class _Unclosed:
    """As much of a text stream as the terminal sink uses, on a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        self._text += text
        return len(text)

    def flush(self) -> None:
        text, self._text = self._text, ""
        os.write(self._descriptor, text.encode())


def test_a_sink_may_be_used_by_any_one_thread(free_port: int, opening: SinkOpening, messages: list[Message]) -> None:
    """Opened, used and closed on a thread that is not the main one."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with open_sink(_options(kind="zeromq", bind=f"tcp://127.0.0.1:{free_port}"), opening) as sink:
                sink.send(messages)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert errors == []


def test_terminal_tells_of_bad_parts(opening: SinkOpening, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each part that is not OK, with the reasons, and the sums at the end."""
    envelope = {"schema": "edge-vision/1", "kind": "verdict", "source": "cam", "frame": {"timestamp": ""}}
    counts = {"ok": 0, "ng": 0, "not_inspected": 0}
    events = []
    for track_id, verdict in enumerate(("OK", "NG", "OK"), 1):
        counts = {**counts, verdict.lower(): counts[verdict.lower()] + 1}
        event: dict[str, Any] = {
            "verdict": verdict,
            "reasons": [] if verdict == "OK" else ["hole 1, none may be there", "too wide"],
        }
        event |= {"part": {"track_id": track_id, "class": "bolt"}, "views": 9, "counts": counts}
        events.append(make_message(track_id, kind="verdict", body=json.dumps({**envelope, "event": event}).encode()))
    with open_sink(_options(kind="terminal"), opening) as sink:
        check_sink(sink, events)
    shown = capsys.readouterr().out
    assert shown.count("cam: bolt 2 is NG: hole 1, none may be there; too wide\n") == 2
    assert "bolt 1" not in shown
    assert "parts judged: 2 OK, 1 NG, 0 not inspected\n" in shown
