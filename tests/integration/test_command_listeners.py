"""Where commands come in, against a real broker and real sockets: answers that cannot go out, keys, brokers' limits."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from commanding import ROOT, ZeromqAsker, mqtt_asker
from conftest import find_free_port, wait_until
from pydantic import TypeAdapter
from servers import Broker

from edge_vision.core.commands import Answer, Letter, Reply
from edge_vision.core.errors import SinkError
from edge_vision.publish.commands.table import LISTENERS, CommandOpening, open_listener
from edge_vision.publish.options import SinkOptions
from edge_vision.runtime.clock import SystemClock

OPTIONS: TypeAdapter[SinkOptions] = TypeAdapter(SinkOptions)


class Place:
    """A listener on a thread; every command is answered with what a test says, ok and `data` by default."""

    def __init__(self, **given: Any) -> None:
        allow = {"allow": ["ping", "enabled"]}
        self.options = OPTIONS.validate_python({**given, "commands": {**allow, **given.get("commands", {})}})
        self.letters: list[Letter] = []
        self.ignored: list[str] = []
        self.unanswered: list[str] = []
        self.data: Any = None
        self.delay: list[Callable[[], None]] | None = None
        self.error: Exception | None = None
        self._done = threading.Event()
        self._ready = threading.Event()

    def _take(self, letter: Letter, reply: Reply) -> None:
        self.letters.append(letter)
        answer = Answer(
            schema="s", kind="answer", site="test", boot="b", timestamp="t", command=letter.what, ok=not letter.fault,
            reason=letter.fault or None, data=self.data,
        )  # fmt: skip
        send = partial(reply, msgspec.json.encode(answer), not letter.fault)
        if self.delay is None:
            send()
        else:
            self.delay.append(send)

    def _listen(self) -> None:
        opening = CommandOpening(
            "test", frozenset({"line"}), SystemClock(), self._take, self.ignored.append, self.unanswered.append,
            lambda: None,
        )  # fmt: skip
        try:
            with open_listener(self.options, opening) as listener:
                self._ready.set()
                while not self._done.is_set():
                    listener.turn()
        except SinkError as error:
            self.error = error
        self._ready.set()

    @contextmanager
    def listening(self) -> Iterator["Place"]:
        """Listen until the end of the block."""
        thread = threading.Thread(target=self._listen)
        thread.start()
        try:
            assert self._ready.wait(60)
            yield self
        finally:
            self._done.set()
            thread.join(60)


def _mqtt(port: int, **more: Any) -> Place:
    return Place(kind="mqtt", host="127.0.0.1", port=port, timeout_s=30, **more)


def _zeromq(bind: str, **more: Any) -> Place:
    return Place(kind="zeromq", bind="ipc:///tmp/unused", commands={"bind": bind}, **more)


def test_every_kind_of_listener_is_tested_here() -> None:
    """A new row of LISTENERS comes with tests in this file."""
    assert set(LISTENERS) == {"zeromq", "mqtt"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_mqtt_takes_every_qos(protocol: str, broker: Broker) -> None:
    """And with every version; what came in is what was sent."""
    with _mqtt(broker.port, protocol=protocol).listening() as place, mqtt_asker(broker.port) as asker:
        for qos in (0, 1, 2):
            asker.send("line/set/enabled", b'{"value": true}', qos=qos)
        wait_until(lambda: len(asker.heard) == 3, 60, "three answers")
        assert place.letters == [Letter("line", "enabled", b'{"value": true}')] * 3
        assert {one.topic for one in asker.heard} == {f"{ROOT}/line/answer/enabled"}
        asker.send("set/ping")
        assert asker.wait(lambda one: one.topic == f"{ROOT}/answer/ping").correlation is None
    assert place.error is None


def test_mqtt_with_a_topic_of_its_own_for_messages(broker: Broker) -> None:
    """Commands are where they always are; no answer goes where messages go."""
    with (
        _mqtt(broker.port, topic="plant/{site}/{source}/{kind}").listening() as place,
        mqtt_asker(broker.port) as asker,
    ):
        for number, topic in enumerate(("plant/test/line/detections", "plant/test/status", "plant/other", "asker/x")):
            asker.send("set/ping", response=topic, correlation=str(number).encode())
        wait_until(lambda: len(place.letters) == 4, 60, "four commands")
        messages = "the response topic is one of this site's messages"
        assert [letter.fault for letter in place.letters] == [messages, messages, "", ""]
        asker.wait(lambda one: (one.topic, one.correlation) == (f"{ROOT}/answer/ping", b"1"))


def test_mqtt_holds_the_next_commands_back(broker: Broker) -> None:
    """Thirty-two at once: the broker keeps the others until answers are out."""
    place = _mqtt(broker.port)
    place.delay = []
    with place.listening(), mqtt_asker(broker.port) as asker:
        for _ in range(60):
            asker.send("set/ping")
        wait_until(lambda: len(place.letters) == 32, 60, "as many as were asked for")
        for send in place.delay[:]:
            send()
        wait_until(lambda: len(place.letters) == 60, 60, "the others come")
        for send in place.delay[32:]:
            send()
        wait_until(lambda: len(asker.heard) == 60, 60, "all are answered once")


def test_mqtt_keeps_few_answers_for_a_broker_that_hangs(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their bytes; those beyond are counted, and what was sent makes room again."""
    monkeypatch.setattr("edge_vision.publish.commands.mqtt._MOST_WAITING", 3000)
    place = _mqtt(broker.port)
    with place.listening(), mqtt_asker(broker.port) as asker:
        for number in range(1, 11):
            asker.send("set/ping")
            wait_until(lambda there=number: len(asker.heard) == there, 10, "each is answered")  # type: ignore[misc]
        place.delay = []
        for _ in range(60):
            asker.send("set/ping", qos=0)
        wait_until(lambda: len(place.letters) == 70, 10, "all are there")
        broker.send(signal.SIGSTOP)
        for send in place.delay:
            send()
        broker.send(signal.SIGCONT)
        wait_until(lambda: len(asker.heard) + len(place.unanswered) == 70, 10, "answered or counted")
    assert len(place.unanswered) >= 60 - 32 - 3000 // 600 - 1
    assert set(place.unanswered) == {"answers of 3000 bytes wait already"}


def test_mqtt_acknowledges_a_command_whose_answer_is_given_up(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the broker would hold back all that come later."""
    monkeypatch.setattr("edge_vision.publish.commands.mqtt._MOST_WAITING", 3000)
    place = _mqtt(broker.port)
    place.delay = []
    with place.listening(), mqtt_asker(broker.port) as asker:
        for begun in (0, 32, 64):
            for _ in range(32):
                asker.send("set/ping")
            wait_until(lambda there=begun + 32: len(place.letters) == there, 10, "all come")  # type: ignore[misc]
            broker.send(signal.SIGSTOP)
            for send in place.delay[begun:]:
                send()
            broker.send(signal.SIGCONT)
            told = begun + 32
            wait_until(lambda there=told: len(asker.heard) + len(place.unanswered) == there, 10, "told")  # type: ignore[misc]
    assert len(place.unanswered) > 32


def test_mqtt_says_what_the_broker_is_too_small_for(tmp_path: Path, free_port: int) -> None:
    """An answer beyond the broker's limit is told without its data."""
    broker = Broker(free_port, tmp_path, more="allow_anonymous true\nmax_packet_size 2000")
    broker.start()
    try:
        place = _mqtt(broker.port)
        place.data = "x" * 5000
        with place.listening(), mqtt_asker(broker.port) as asker:
            answer = asker.ask("set/ping")
            assert answer["ok"] is False
            assert "the broker takes 2000" in answer["reason"]
            assert "data" not in answer
    finally:
        broker.kill()


def test_mqtt_counts_what_it_may_not_answer(tmp_path: Path, free_port: int) -> None:
    """A broker's access list that has no room for the answer."""
    (tmp_path / "acl").write_text(f"topic read {ROOT}/#\ntopic write {ROOT}/set/#\ntopic readwrite asker/#\n")
    broker = Broker(free_port, tmp_path, more=f"allow_anonymous true\nacl_file {tmp_path}/acl")
    broker.start()
    try:
        with _mqtt(broker.port).listening() as place, mqtt_asker(broker.port) as asker:
            asker.send("set/ping")  # the answer would go to answer/ping
            wait_until(lambda: place.unanswered == ["refused by the broker: Not authorized"], 60, "it is counted")
            # mosquitto 2.0.11 then ends the connection, which is opened anew
    finally:
        broker.kill()


def test_mqtt_without_a_broker(free_port: int) -> None:
    """A SinkError with the address."""
    with _mqtt(free_port).listening() as place:
        assert f"127.0.0.1:{free_port}: cannot connect" in str(place.error)


def test_mqtt_notices_the_end_of_the_broker(broker: Broker) -> None:
    """So that it is opened anew."""
    with _mqtt(broker.port).listening() as place:
        broker.kill()
        wait_until(lambda: place.error is not None, 60, "it is noticed")
    assert "connection lost" in str(place.error)


def test_zeromq_counts_whom_it_cannot_answer(tmp_path: Path) -> None:
    """Who has left before the answer."""
    place = _zeromq(f"ipc://{tmp_path}/c")
    place.delay = []
    with place.listening(), zmq.Context() as context:
        with context.socket(zmq.DEALER) as socket:
            socket.set(zmq.LINGER, 0)
            socket.connect(f"ipc://{tmp_path}/c")
            socket.send_multipart([f"{ROOT}/set/ping".encode(), b""])
            wait_until(lambda: len(place.letters) == 1, 60, "the command is there")

        def told() -> bool:
            place.delay[0]()  # type: ignore[index]
            return bool(place.unanswered)

        wait_until(told, 60, "it is counted")
        assert place.unanswered[0] == "Host unreachable"


def _dealer(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> "zmq.Socket[bytes]":
    """A client that asks much and has no room for answers."""
    socket = context.socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 1), (zmq.RCVTIMEO, 10_000)):
        socket.set(option, value)
    socket.connect(address)
    return socket


def test_zeromq_keeps_little_for_clients_that_do_not_read(tmp_path: Path) -> None:
    """Each of 30 asks for 3.5 MB; the memory for them is bounded, who reads is served, and everyone has an answer."""
    place, address, asked = _zeromq(f"ipc://{tmp_path}/c"), f"ipc://{tmp_path}/c", 10
    place.data = "x" * 350_000
    with place.listening(), zmq.Context() as context, ExitStack() as stack:
        idle = [stack.enter_context(_dealer(context, address)) for _ in range(30)]
        before = _resident_mb()
        for number in range(asked):
            for socket in idle:
                socket.send_multipart([f"{ROOT}/set/ping".encode(), b""])
            wait_until(lambda there=(number + 1) * 30: len(place.letters) == there, 10, "all are there")  # type: ignore[misc]
        assert _resident_mb() - before < 50  # 105 were asked for
        heard = [[json.loads(socket.recv_multipart()[1]) for _ in range(asked)] for socket in idle]
        busy = [one["reason"] for answers in heard for one in answers if not one["ok"]]
        assert all(reason.startswith("busy: ") and reason.endswith("ask again") for reason in busy)
        assert len(busy) > asked
        assert all(len(one.get("data", "")) in {0, 350_000} and one["ok"] is ("data" in one) for one in heard[0])
        idle[0].send_multipart([f"{ROOT}/set/ping".encode(), b""])
        assert json.loads(idle[0].recv_multipart()[1])["ok"]  # what was read makes room
    assert place.unanswered == []


def test_zeromq_has_room_for_others_than_one_who_does_not_read(tmp_path: Path) -> None:
    """One alone does not take all the memory there is for answers; when it leaves its share is free again."""
    place, address = _zeromq(f"ipc://{tmp_path}/c"), f"ipc://{tmp_path}/c"
    place.data = "x" * 350_000
    with place.listening(), zmq.Context() as context:
        for _ in range(10):  # more than fit at once
            with _dealer(context, address) as idle, _dealer(context, address) as reader:
                begun = len(place.letters)
                for _ in range(60):
                    idle.send_multipart([f"{ROOT}/set/ping".encode(), b""])
                wait_until(lambda begun=begun: len(place.letters) == begun + 60, 10, "all are there")  # type: ignore[misc]
                reader.send_multipart([f"{ROOT}/set/ping".encode(), b""])
                assert json.loads(reader.recv_multipart()[1])["ok"]


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def test_zeromq_bears_any_frames(tmp_path: Path) -> None:
    """None, many, large ones; whoever sends properly is answered all the while."""
    address = f"ipc://{tmp_path}/c"
    with _zeromq(address).listening() as place, zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVTIMEO, 60_000)
        socket.connect(address)
        for frames in ([b""], [b"", b""], [b"x"] * 200, [b"\xff" * 100, b""], [b"a" * 60_000, b"b" * 60_000]):
            socket.send_multipart(frames)
            topic, answer = socket.recv_multipart()[-2:]
            assert (topic, json.loads(answer)["ok"]) == (f"{ROOT}/answer/unknown".encode(), False)
        socket.send_multipart([b"t", b"x" * 70_000])  # ZeroMQ itself ends this connection
        assert ZeromqAsker(address).ask("set/ping")["ok"] is True
    assert place.unanswered == []


def test_zeromq_cannot_listen_twice(tmp_path: Path) -> None:
    """Neither on a port nor on a path; the path is free afterwards."""
    address = f"ipc://{tmp_path}/c"
    with _zeromq(address).listening(), _zeromq(address).listening() as second:
        assert "Address already in use" in str(second.error)
    port = find_free_port()
    with _zeromq(f"tcp://127.0.0.1:{port}").listening(), _zeromq(f"tcp://127.0.0.1:{port}").listening() as second:
        assert "Address already in use" in str(second.error)
    assert not (tmp_path / "c").exists()
    with _zeromq(address).listening() as again:
        assert again.error is None
        assert ZeromqAsker(address).ask("set/ping")["ok"] is True


def test_zeromq_with_keys(tmp_path: Path) -> None:
    """A client on the list commands; one that is not, or has no key at all, is not heard."""
    server, client, other = (zmq.curve_keypair() for _ in range(3))
    (tmp_path / "key").write_bytes(server[1])
    curve = {"secret_key": {"file": str(tmp_path / "key")}, "clients": [client[0].decode()]}
    address = f"tcp://127.0.0.1:{find_free_port()}"
    with _zeromq(address, curve=curve).listening() as place, zmq.Context() as context:
        assert place.error is None
        for keys in (other, None, client):
            with context.socket(zmq.REQ) as socket:
                socket.set(zmq.LINGER, 0)
                socket.set(zmq.RCVTIMEO, 700 if keys is not client else 60_000)
                if keys is not None:
                    socket.set(zmq.CURVE_SERVERKEY, server[0])
                    socket.set(zmq.CURVE_PUBLICKEY, keys[0])
                    socket.set(zmq.CURVE_SECRETKEY, keys[1])
                socket.connect(address)
                socket.send_multipart([f"{ROOT}/set/ping".encode(), b""])
                if keys is client:
                    assert json.loads(socket.recv_multipart()[1])["ok"] is True
                else:
                    with pytest.raises(zmq.Again):
                        socket.recv_multipart()
        assert len(place.letters) == 1


def test_zeromq_without_its_key(tmp_path: Path) -> None:
    """A SinkError, and no socket that anybody could use."""
    curve = {"secret_key": {"file": str(tmp_path / "absent")}, "clients": [zmq.curve_keypair()[0].decode()]}
    with _zeromq(f"ipc://{tmp_path}/c", curve=curve).listening() as place:
        assert "absent cannot be read" in str(place.error)
        assert not (tmp_path / "c").exists()
