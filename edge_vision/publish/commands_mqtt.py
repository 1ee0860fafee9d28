"""Commands from an MQTT broker, on a connection of their own: they never wait behind a backlog of messages."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_vision.core.commands import ROOT, Answer, Letter, read_topic, why_no_answer_topic
from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.publish.commands_table import CommandOpening
from edge_vision.publish.options import MqttOptions
from edge_vision.runtime.loops import until

_TURN_S: Final = 0.05
_FAREWELL_S: Final = 2.0
_AT_ONCE: Final = 32
"""Commands that the broker may send before the first is acknowledged, and answers on their way at once."""
_MOST_ANSWERS: Final = 4096
"""Answers that may wait to be sent, where a broker sends more at once than it was asked to."""
_MOST_CORRELATION: Final = 1024
_HEADER_BYTES: Final = 64
_ANY_SIZE: Final = 268_435_460
_REFUSED: Final = 0x80
"""Reason codes from here on say no."""


class _Ready(NamedTuple):
    """An answer to be sent: where it goes, what the asker knows it by, and the command to acknowledge with it."""

    topic: str
    correlation: bytes | None
    body: bytes
    mid: int
    qos: int


class MqttListener:
    """A connected client that subscribes to the commands of a site, driven by the calling thread.

    A command is acknowledged when its answer is, so that the broker holds a flood back. The session ends with the
    connection: what is sent while nobody listens is not carried out later.
    """

    def __init__(self, client: paho.Client, options: MqttOptions, opening: CommandOpening) -> None:
        self._client = client
        self._options = options
        self._opening = opening
        self._name = f"{options.host}:{options.port}"
        self._ready: deque[_Ready] = deque()
        self._given_up: deque[int] = deque()
        self._waiting: dict[int, _Ready] = {}
        self._largest = _ANY_SIZE
        self._connected = False
        self._subscribed = False
        self._refused = ""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish

    def connect(self, properties: Properties | None) -> None:
        """Connect and subscribe. Raises SinkError."""
        options = self._options
        clean: Any = {} if properties is None else {"clean_start": True, "properties": properties}
        try:
            self._client.connect(options.host, options.port, options.keepalive_s, **clean)
        except (OSError, ValueError) as error:
            msg = f"{self._name}: cannot connect: {getattr(error, 'strerror', None) or error}"
            raise SinkError(msg) from error
        self._await(lambda: self._connected, "CONNECT")
        topics = [f"{ROOT}/{self._opening.site}/set/+", f"{ROOT}/{self._opening.site}/+/set/+"]
        how: Any = 1 if properties is None else SubscribeOptions(qos=1, noLocal=True)
        self._client.subscribe([(topic, how) for topic in topics])
        self._await(lambda: self._subscribed, "SUBSCRIBE")

    def turn(self) -> None:
        """Pass on what has come in, and send the answers that are ready."""
        self._look(_TURN_S)
        self._answer()

    def close(self) -> None:
        """Send what is ready, and say goodbye."""
        with suppress(SinkError):
            if self._connected:
                until(lambda: not (self._ready or self._waiting), self.turn, _FAREWELL_S, self._opening.clock)
                self._client.disconnect()
                until(lambda: not self._connected, self._look, _FAREWELL_S, self._opening.clock)

    def _await(self, done: Any, what: str) -> None:
        if not until(done, self._look, self._options.timeout_s, self._opening.clock):
            msg = f"{self._name}: no answer to {what} within {self._options.timeout_s:g} s"
            raise SinkError(msg)

    def _look(self, wait_s: float = _TURN_S) -> None:
        """Read, write and keep alive once."""
        self._opening.progress()
        code = self._client.loop(wait_s)
        if self._refused:
            msg = f"{self._name}: {self._refused}"
            raise SinkError(msg)
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self._connected = False
            msg = f"{self._name}: connection lost: {paho.error_string(code)}"
            raise SinkError(msg)

    def _answer(self) -> None:
        for _ in range(len(self._given_up)):
            self._client.ack(self._given_up.popleft(), 1)
        for _ in range(min(len(self._ready), _AT_ONCE - len(self._waiting))):
            ready = self._ready.popleft()
            properties = None
            if ready.correlation is not None:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.CorrelationData = ready.correlation
            body = ready.body
            if len(body) + len(ready.topic) + len(ready.correlation or b"") + _HEADER_BYTES > self._largest:
                body = _too_large(body, self._largest)
            info = self._client.publish(ready.topic, body, qos=1, properties=properties)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                msg = f"{self._name}: cannot publish an answer: {paho.error_string(info.rc)}"
                raise SinkError(msg)
            self._waiting[info.mid] = ready

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        about = read_topic(self._opening.site, message.topic)
        if message.retain or about is None:
            why = "it was retained: a command is about now" if message.retain else "its topic is not that of a command"
            self._opening.ignored(f"a command on {message.topic[:128]!r} is ignored: {why}")
            if message.qos:
                self._client.ack(message.mid, message.qos)
            return
        given = getattr(message.properties, "ResponseTopic", None)
        correlation = getattr(message.properties, "CorrelationData", None)
        fault = "" if given is None else why_no_answer_topic(self._opening.site, given)
        if correlation is not None and len(correlation) > _MOST_CORRELATION:
            fault = fault or f"{len(correlation)} bytes of correlation data are more than {_MOST_CORRELATION}"
            correlation = None
        letter = Letter(*about, bytes(message.payload), fault, repeated=message.dup)
        topic = given if given is not None and not fault else self._opening.answer_topic(letter)
        self._opening.take(letter, partial(self._keep, topic, correlation, message.mid, message.qos))

    def _keep(self, topic: str, correlation: bytes | None, mid: int, qos: int, body: bytes, _ok: bool) -> None:
        if len(self._ready) >= _MOST_ANSWERS:  # a broker that does not hold back, or QoS 0
            self._opening.unanswered(f"{_MOST_ANSWERS} answers wait already")
            if qos:
                self._given_up.append(mid)
            return
        self._ready.append(_Ready(topic, correlation, body, mid, qos))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker refused the connection: {reason}"
            return
        self._connected = True
        self._largest = getattr(properties, "MaximumPacketSize", _ANY_SIZE)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: Any, reasons: list[ReasonCode], _properties: Any) -> None:
        refused = [reason for reason in reasons if reason.value >= _REFUSED]
        if refused:
            self._refused = f"the broker does not let this client subscribe to commands: {refused[0]}"
        self._subscribed = True

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connected = False
        if reason.is_failure and not self._refused:
            self._refused = f"disconnected: {reason}"

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        ready = self._waiting.pop(mid, None)
        if ready is not None and ready.qos:
            self._client.ack(ready.mid, ready.qos)
        if reason.is_failure:
            self._opening.unanswered(f"refused by the broker: {reason}")


def _too_large(body: bytes, largest: int) -> bytes:
    """The same answer without its data, as the broker would not take it."""
    answer = msgspec.json.decode(body, type=Answer)
    reason = f"the answer has {len(body)} bytes, the broker takes {largest}"
    return msgspec.json.encode(msgspec.structs.replace(answer, ok=False, reason=reason, data=None, problems=None))


@contextmanager
def open_mqtt_commands(options: MqttOptions, opening: CommandOpening) -> Iterator[MqttListener]:
    """Connect to the broker and subscribe to the site's commands. Raises SinkError."""
    version = paho.MQTTv311 if getattr(options, "protocol", "5") == "3.1.1" else paho.MQTTv5
    name = f"{options.client_id or f'edge-vision-{opening.site}'}-commands"
    if version == paho.MQTTv5:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version, manual_ack=True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = _AT_ONCE
    else:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=version, clean_session=True, manual_ack=True
        )
        properties = None
    client.connect_timeout = options.timeout_s
    client.max_inflight_messages_set(_AT_ONCE)
    if options.username is not None:
        try:
            client.username_pw_set(options.username, options.password.reveal() if options.password else None)
        except ConfigError as error:
            raise SinkError(str(error)) from None
    listener = MqttListener(client, options, opening)
    try:
        listener.connect(properties)
        yield listener
    finally:
        listener.close()
