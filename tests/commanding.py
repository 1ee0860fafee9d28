"""Whoever commands a site in a test: over MQTT 5 and 3.1.1 and over ZeroMQ, remembering every answer."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import paho.mqtt.client as paho
import pytest
import zmq
from conftest import wait_until
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ALL: Final = ["enabled", "confidence", "snapshot", "fetch", "reload", "ping"]
ROOT: Final = "edge-vision/v1/test"


class Heard(NamedTuple):
    """An answer: where, with which correlation data, and what."""

    topic: str
    correlation: bytes | None
    answer: dict[str, Any]


class MqttAsker:
    """A client that asks with correlation data of its own making, and listens on a topic of its own and on answers."""

    def __init__(self, port: int, version: MQTTProtocolVersion) -> None:
        self.heard: list[Heard] = []
        self.version = version
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self.client.max_inflight_messages_set(0)  # paho's own queue changes the order
        self._under_way = threading.Semaphore(100)
        self.client.on_publish = lambda *_: self._under_way.release()
        self._numbers = itertools.count(1)
        self._more = threading.Condition()
        self._subscribed = threading.Event()
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe([("asker/+", 1), (f"{ROOT}/answer/+", 1), (f"{ROOT}/+/answer/+", 1)])
        assert self._subscribed.wait(60)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        with self._more:
            self.heard.append(Heard(message.topic, correlation, json.loads(message.payload)))
            self._more.notify_all()

    def send(
        self, topic: str, body: Any = None, *, response: str | None = None, correlation: bytes | None = None, **how: Any
    ) -> None:
        """Publish a command; `topic` is what comes behind the site's name."""
        properties = None
        if response is not None or correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if response is not None:
                properties.ResponseTopic = response
            if correlation is not None:
                properties.CorrelationData = correlation
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        how = {"qos": 1, **how}
        assert self._under_way.acquire(timeout=30), "the broker does not acknowledge"
        self.client.publish(f"{ROOT}/{topic}", payload, properties=properties, **how)

    def ask(self, topic: str, body: Any = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Publish a command and wait for its answer."""
        number = next(self._numbers)
        if self.version == MQTTProtocolVersion.MQTTv5:
            mark = f"ask-{number}".encode()
            self.send(topic, body, response="asker/own", correlation=mark)
            return self.wait(lambda one: one.correlation == mark, timeout_s).answer
        name = f"ask-{number}-{id(self)}"
        self.send(topic, {**(body or {}), "id": name})
        return self.wait(lambda one: one.answer.get("id") == name, timeout_s).answer

    def wait(self, wanted: Callable[[Heard], bool], timeout_s: float = 60.0) -> Heard:
        """The first answer that is wanted; fails the test when none comes."""
        with self._more:
            if not self._more.wait_for(lambda: any(map(wanted, self.heard)), timeout_s):
                pytest.fail(f"no such answer within {timeout_s:g} s; heard: {self.heard[-3:]}")
            return next(filter(wanted, self.heard))

    def count(self, correlation: bytes) -> int:
        """How many answers have come for some correlation data."""
        with self._more:
            return sum(one.correlation == correlation for one in self.heard)


@contextmanager
def mqtt_asker(port: int, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> Iterator[MqttAsker]:
    """A client of a broker."""
    asker = MqttAsker(port, version)
    try:
        yield asker
    finally:
        asker.client.disconnect()
        asker.client.loop_stop()


class ZeromqAsker:
    """A REQ socket that asks again on a new one where the answer does not come: as it does while a site reloads."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, topic: str, body: Any = None, timeout_s: float = 60.0) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.ask_frames([f"{ROOT}/{topic}".encode(), payload], timeout_s)[1]

    def ask_frames(self, frames: list[bytes], timeout_s: float = 60.0) -> tuple[str, dict[str, Any]]:
        """Send frames as they are; topic and body of the answer."""
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.set(zmq.LINGER, 0)
            socket.set(zmq.RCVTIMEO, int(timeout_s * 1000))
            socket.connect(self._address)
            socket.send_multipart(frames)
            try:
                answer_topic, answer = socket.recv_multipart()
            except zmq.Again:
                pytest.fail(f"no answer to {frames[0]!r} within {timeout_s:g} s")
            return answer_topic.decode(), json.loads(answer)


def wait_for_site(asker: MqttAsker, process: Any) -> None:
    """Wait until a site takes commands from its broker."""
    before = asker.count(b"there")

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        asker.send("set/ping", response="asker/there", correlation=b"there")
        return asker.count(b"there") > before

    wait_until(there, 60, "the site answers a ping")
