"""Subscribers that remember everything they hear."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
import pytest
import zmq
from paho.mqtt.enums import CallbackAPIVersion


class Heard:
    """The messages heard so far, in order."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, bytes]] = []
        self._more = threading.Condition()

    def add(self, topic: str, body: bytes) -> None:
        """Remember a message."""
        with self._more:
            self._messages.append((topic, body))
            self._more.notify_all()

    def on(self, topic: str) -> list[Any]:
        """The bodies heard on a topic."""
        with self._more:
            return [json.loads(body) for name, body in self._messages if name == topic]

    def last(self, topic: str) -> dict[str, Any]:
        """The newest body heard on a topic; empty while there is none."""
        heard = self.on(topic)
        return dict(heard[-1]) if heard else {}

    def count(self, topic: str) -> int:
        """How many were heard on a topic."""
        with self._more:
            return sum(name == topic for name, _ in self._messages)

    def wait_for(self, topic: str, count: int, timeout_s: float = 60.0) -> None:
        """Wait for so many messages on a topic; fails the test when they do not come."""
        with self._more:
            enough = self._more.wait_for(lambda: sum(name == topic for name, _ in self._messages) >= count, timeout_s)
            heard = sum(name == topic for name, _ in self._messages)
        if not enough:
            pytest.fail(f"{heard} of {count} messages on {topic} within {timeout_s:g} s")


@contextmanager
def zeromq_listener(address: str) -> Iterator[Heard]:
    """Subscribe to everything at an address, before or after somebody binds it."""
    heard, done = Heard(), threading.Event()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, 100_000)
        socket.set(zmq.RCVTIMEO, 100)
        socket.set(zmq.RECONNECT_IVL, 10)  # it is there soon after whoever binds
        socket.subscribe(b"")
        socket.connect(address)

        def listen() -> None:
            while not done.is_set():
                try:
                    topic, body = socket.recv_multipart()
                except zmq.Again:
                    continue
                heard.add(topic.decode(), body)

        thread = threading.Thread(target=listen, name="zeromq listener")
        thread.start()
        try:
            yield heard
        finally:
            done.set()
            thread.join(60)


@contextmanager
def mqtt_listener(port: int, topic: str = "#", properties: dict[str, Any] | None = None) -> Iterator[Heard]:
    """Subscribe at a broker with QoS 1; yields when the subscription stands. `properties` gets those of each topic."""
    heard, subscribed = Heard(), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)

    def on_connect(*_: Any) -> None:
        client.subscribe(topic, qos=1)

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: subscribed.set()

    def on_message(_client: Any, _data: Any, message: Any) -> None:
        if properties is not None:
            properties[message.topic] = message.properties
        heard.add(message.topic, bytes(message.payload))

    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert subscribed.wait(60), "the broker did not confirm the subscription"
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()
