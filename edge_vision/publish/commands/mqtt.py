"""Commands from an MQTT broker, on a connection of their own: they never wait behind a backlog of messages."""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_vision.core.commands import ROOT, Letter, read_topic, why_no_answer_topic
from edge_vision.core.errors import SinkError
from edge_vision.publish.commands.table import CommandOpening, without_data
from edge_vision.publish.mqtt.client import MqttClient, connect, make_client, message_properties
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.topic import topic_of
from edge_vision.publish.mqtt.words import SLOW_S, Cause, farewell, refusal
from edge_vision.runtime.loops import until

_TURN_S: Final = 0.05
_FAREWELL_S: Final = 2.0
_AT_ONCE: Final = 32
"""Commands that the broker may send before the first is acknowledged, and answers on their way at once."""
_MOST_WAITING: Final = 16_000_000
"""Memory for answers that wait, in bytes: mosquitto 2.0.11 sends thousands of commands ahead of the acknowledgements
of their answers, whatever it was asked for."""
_ANSWER_BYTES: Final = 500
"""What an answer costs beside its body."""
_MOST_CORRELATION: Final = 1024
_HEADER_BYTES: Final = 64
_ANY_SIZE: Final = 268_435_455
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

    def __init__(self, client: MqttClient, options: MqttOptions, opening: CommandOpening) -> None:
        self._client = client
        self._options = options
        self._opening = opening
        self._name = f"{options.host}:{options.port}"
        self._who = f"user {options.username!r}" if options.username is not None else "a client without user name"
        self._own = _own_topics(options.topic, opening.site)
        self._ready: deque[_Ready] = deque()
        self._load = 0
        self._lock = threading.Lock()
        self._given_up: deque[int] = deque()
        self._waiting: dict[int, _Ready] = {}
        self._largest = _ANY_SIZE
        self._connected = False
        self._subscribed = False
        self._why: Cause | None = None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish

    def connect(self) -> None:
        """Connect and subscribe. Raises SinkError."""
        modern = self._options.protocol == "5"
        connect(self._client, self._options, self._name, receive_maximum=_AT_ONCE)
        self._await(lambda: self._connected, "CONNECT")
        topics = [f"{ROOT}/{self._opening.site}/set/+", f"{ROOT}/{self._opening.site}/+/set/+"]
        how: Any = SubscribeOptions(qos=1, noLocal=True) if modern else 1
        self._client.subscribe([(topic, how) for topic in topics])
        self._await(lambda: self._subscribed, "SUBSCRIBE")

    def turn(self) -> None:
        """Pass on what has come in, and send the answers that are ready."""
        self._look()
        self._answer()

    def close(self) -> None:
        """Send what is ready, and say goodbye. After a failure just leave."""
        try:
            if self._connected:
                until(lambda: not (self._ready or self._waiting), self.turn, _FAREWELL_S, self._opening.clock)
                self._client.disconnect()
                until(lambda: not self._connected, self._look, _FAREWELL_S, self._opening.clock)
        except SinkError:
            pass
        finally:
            self._client.hang_up()

    def _await(self, done: Callable[[], bool], what: str) -> None:
        if not until(done, self._look, self._options.timeout_s, self._opening.clock):
            self._fail(Cause(f"no answer to {what} within {self._options.timeout_s:g} s"))

    def _look(self) -> None:
        """Read, write and keep alive once. Raises SinkError."""
        self._opening.progress()
        try:
            code = self._client.turn(_TURN_S)
        except Exception as error:  # noqa: BLE001 - whatever paho stumbles over came from the network
            self._fail(Cause(f"what the broker sends is not MQTT: {type(error).__name__}"))
        if self._why is not None:
            self._fail(self._why)
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self._fail(self._client.why or Cause(f"connection lost: {paho.error_string(code)}"))

    def _fail(self, cause: Cause) -> NoReturn:
        self._connected = False
        raise cause.error(self._name)

    def _answer(self) -> None:
        for _ in range(len(self._given_up)):
            self._client.ack(self._given_up.popleft(), 1)
        for _ in range(min(len(self._ready), _AT_ONCE - len(self._waiting))):
            ready = self._ready.popleft()
            body = ready.body
            with self._lock:
                self._load -= len(body) + _ANSWER_BYTES
            if len(body) + len(ready.topic) + len(ready.correlation or b"") + _HEADER_BYTES > self._largest:
                body = without_data(body, f"the answer has {len(body)} bytes, the broker takes {self._largest}")
            info = self._client.publish(ready.topic, body, qos=1, properties=self._properties(ready.correlation))
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._fail(self._client.why or Cause(f"cannot publish an answer: {paho.error_string(info.rc)}"))
            self._waiting[info.mid] = ready

    def _properties(self, correlation: bytes | None) -> Properties | None:
        if correlation is None:
            return message_properties(self._options)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = 1
        properties.ContentType = "application/json"
        properties.CorrelationData = correlation
        return properties

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
        fault = "" if given is None else self._why_not(given)
        if correlation is not None and len(correlation) > _MOST_CORRELATION:
            fault = fault or f"{len(correlation)} bytes of correlation data are more than {_MOST_CORRELATION}"
            correlation = None
        letter = Letter(*about, bytes(message.payload), fault, repeated=message.dup)
        topic = given if given is not None and not fault else self._opening.answer_topic(letter)
        self._opening.take(letter, partial(self._keep, topic, correlation, message.mid, message.qos))

    def _why_not(self, topic: str) -> str:
        """Why an answer must not go to a topic; empty where it may."""
        if self._own.fullmatch(topic) and "/answer/" not in topic:  # no camera is called answer
            return "the response topic is one of this site's messages"
        return why_no_answer_topic(self._opening.site, topic)

    def _keep(self, topic: str, correlation: bytes | None, mid: int, qos: int, body: bytes, _ok: bool) -> None:
        weight = len(body) + _ANSWER_BYTES
        with self._lock:
            fits = not self._load or self._load + weight <= _MOST_WAITING
            self._load += weight if fits else 0
        if not fits:
            self._opening.unanswered(f"answers of {_MOST_WAITING} bytes wait already")
            if qos:
                self._given_up.append(mid)
            return
        self._ready.append(_Ready(topic, correlation, body, mid, qos))

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._why = refusal(reason, self._who)
            return
        self._client.acknowledged = self._connected = True
        self._largest = getattr(properties, "MaximumPacketSize", _ANY_SIZE)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: Any, reasons: list[ReasonCode], _properties: Any) -> None:
        refused = [reason for reason in reasons if reason.value >= _REFUSED]
        if refused:
            text = f"the broker does not let {self._who} subscribe to commands: {refused[0]}; check its access list"
            self._why = Cause(text, SLOW_S)
        self._subscribed = True

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connected = False
        if flags.is_disconnect_packet_from_server and self._why is None:
            self._why = farewell(reason)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        ready = self._waiting.pop(mid, None)
        if ready is not None and ready.qos:
            self._client.ack(ready.mid, ready.qos)
        if reason.is_failure:
            self._opening.unanswered(f"refused by the broker: {reason}")


def _own_topics(template: str, site: str) -> "re.Pattern[str]":
    """Every topic that messages of this site may have."""
    forms = {topic_of(template, site, source, "KIND") for source in ("SOURCE", "")}
    return re.compile("|".join(re.escape(form).replace("SOURCE", "[^/]+").replace("KIND", "[^/]+") for form in forms))


@contextmanager
def open_mqtt_commands(options: MqttOptions, opening: CommandOpening) -> Iterator[MqttListener]:
    """Connect to the broker and subscribe to the site's commands. Raises SinkError."""
    name = f"{options.client_id or f'edge-vision-{opening.site}'}-commands"
    own = options.model_copy(update={"client_id": name, "session_expiry_s": 0})
    client = make_client(own, f"{options.host}:{options.port}", opening.site, None)
    client.manual_ack_set(True)
    listener = MqttListener(client, own, opening)
    try:
        listener.connect()
        yield listener
    finally:
        listener.close()
