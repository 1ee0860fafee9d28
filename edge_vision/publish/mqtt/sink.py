"""Messages to an MQTT broker: QoS 1, with a window of our own, because paho's queue drops and doubles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.mqtt.client import MqttClient, connect, make_client, message_properties
from edge_vision.publish.mqtt.options import MqttOptions
from edge_vision.publish.mqtt.topic import USUAL, topic_of
from edge_vision.publish.mqtt.words import DOUBTFUL_S, SLOW_S, Cause, farewell, not_mqtt, refusal
from edge_vision.publish.table import SinkOpening
from edge_vision.runtime.loops import until

_TURN_S: Final = 0.05
"""How long one look at the network may wait."""
_FAREWELL_S: Final = 2.0
_HEADER_BYTES: Final = 64
"""At least as much as the head of a PUBLISH packet and its properties hold beside topic and body."""
_ANY_SIZE: Final = 268_435_455
"""The largest packet that MQTT can express."""
_NOT_AUTHORIZED: Final = 0x87
_FOR_GOOD: Final = frozenset({_NOT_AUTHORIZED, 0x90, 0x99})
"""NOT AUTHORIZED, TOPIC NAME INVALID, PAYLOAD FORMAT INVALID: what a broker would say of the message again."""
_AT_FAULT: Final = _FOR_GOOD | {0x95}
"""The same, and PACKET TOO LARGE, with which a broker ends the connection of who sent such a message."""


_DENIED_S: Final = 60.0
"""How long a topic that was refused is not asked for again: some brokers end the connection each time."""
_MOST_NOTES: Final = 1_000
_LET_IN: Final = "the broker let this client in"
"""A note: with these settings it once worked, and who hangs up stands in for a broker that is away."""


class _Batch:
    """Messages under way: how far they are sent, which are answered, and which of these the broker refused."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.sent = 0
        self.open: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self._answered = bytearray(len(messages))

    @property
    def done(self) -> bool:
        """Whether every message has its answer."""
        return self.sent == len(self.messages) and not self.open

    @property
    def delivered(self) -> int:
        """How many messages, from the first, have their answer."""
        first = self._answered.find(0)
        return len(self.messages) if first < 0 else first

    def answer(self, place: int, refused: str = "") -> None:
        """Note that a message needs no more sending, with the reason if the broker does not take it."""
        self._answered[place] = 1
        if refused:
            self.refused[place] = refused


class MqttSink:
    """A connected client, driven by the calling thread: paho starts no thread and keeps no queue here."""

    def __init__(self, client: MqttClient, options: MqttOptions, opening: SinkOpening) -> None:
        self._client = client
        self._name = f"{options.host}:{options.port}"
        self._options = options
        self._opening = opening
        self._clock = opening.clock
        self._window = options.inflight
        self._largest = _ANY_SIZE
        self._who = f"user {options.username!r}" if options.username is not None else "a client without user name"
        self._properties = {retain: message_properties(options, retain=retain) for retain in (False, True)}
        self._retained: dict[str, int] = {}
        self._batch = _Batch(())
        self._connected = False
        self._accepted = False
        self._denied: Cause | None = None
        self._silent_since_ns = 0
        self._why: Cause | None = None
        self._new_session = False
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def connect(self) -> None:
        """Connect, wait for the broker's word, and publish the newest status, retained. Raises SinkError."""
        options = self._options
        connect(self._client, options, self._name)
        if not until(lambda: self._connected, self._turn, options.timeout_s, self._clock):
            self._fail(Cause(f"no answer to CONNECT within {options.timeout_s:g} s"))
        if self._new_session and options.session_expiry_s and options.resend_s:
            self._opening.forgotten()
        if options.takes("status"):
            status = self._opening.status()
            if self._deliver([status], first=True).refused:  # it comes again, in its turn, and is counted then
                self._retained.clear()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish, with up to `inflight` messages under way, and return when the broker has answered for all.

        A message that the broker refuses for good is dropped, with the reason. Raises SinkError when the broker is
        silent for longer than the time-out, or takes nothing at all, the status first: then no message is dropped.
        """
        if not messages:
            self._turn(0.0)
            return
        batch = self._deliver(messages)
        if self._denied is not None and len(batch.refused) == len(messages):
            self._fail(self._denied)
        self._tell_refused(batch)

    def _deliver(self, messages: Sequence[Message], *, first: bool = False) -> _Batch:
        """Publish, and wait for the answers. Raises SinkError, which says how many messages have theirs.

        Of those refused the caller tells; after an error they are told here, but for the `first` of a connection.
        """
        self._batch = batch = _Batch(messages)
        self._silent_since_ns = self._clock.monotonic_ns()
        timeout_s = self._options.timeout_s
        try:
            self._turn(0.0)  # a goodbye that waits to be read: writing first would lose its reason
            if not until(lambda: batch.done, self._step, timeout_s * (len(messages) + 1), self._clock):
                self._fail(Cause(f"{len(batch.open)} messages not acknowledged in time"))
        except SinkError as error:
            if self._denied is None and not first:
                self._tell_refused(batch)
                error.delivered = batch.delivered
            raise
        return batch

    def _step(self) -> None:
        """Fill the window, and take part in the network once. Raises SinkError."""
        batch = self._batch
        if batch.sent < len(batch.messages) and len(batch.open) < self._window:
            if not batch.open:
                self._silent_since_ns = self._clock.monotonic_ns()
            for place in range(batch.sent, len(batch.messages)):
                if len(batch.open) >= self._window:
                    break
                self._publish(place, batch.messages[place])
                batch.sent = place + 1
        if batch.done:
            return
        self._turn()
        timeout_s = self._options.timeout_s
        if self._clock.monotonic_ns() - self._silent_since_ns > timeout_s * 1e9:
            self._fail(Cause(f"{len(batch.open)} messages not acknowledged within {timeout_s:g} s"))

    def _publish(self, place: int, message: Message) -> None:
        """Hand a message to the client, unless it needs no sending. Raises SinkError."""
        topic, retain = self._topic_of(message), message.retain
        if retain:
            newest = self._retained.get(topic, 0)
            if message.boot == self._opening.will.boot and message.seq == newest:
                self._batch.answer(place)  # it went out when the connection was made
                return
            # What a broker retains is the newest word; an older one passes, for those who count.
            retain = message.boot == self._opening.will.boot and message.seq > newest
        if len(message.body) + len(topic.encode()) + _HEADER_BYTES > self._largest:
            self._batch.answer(place, f"larger than the {self._largest} bytes that the broker takes")
            return
        if len(self._opening.notes) > 1 and message.kind != "status" and self._is_denied(topic):
            self._batch.answer(place, "refused by the broker less than a minute ago: Not authorized")
            return
        info = self._client.publish(topic, message.body, qos=1, retain=retain, properties=self._properties[retain])
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._fail(self._client.why or Cause(f"cannot publish: {paho.error_string(info.rc)}"))
        self._batch.open[info.mid] = place
        if retain:
            self._retained[topic] = message.seq

    def _is_denied(self, topic: str) -> bool:
        """Whether the broker refused a topic a short while ago."""
        since_ns = self._opening.notes.get(self._note_of(topic))
        return since_ns is not None and self._clock.monotonic_ns() - since_ns < _DENIED_S * 1e9

    def _note_of(self, topic: str) -> str:
        """What a refusal is noted under: other clients of the broker may be allowed what this one is not."""
        return f"{self._name} {self._options.client_id or ''} {self._who} {topic}"

    def _tell_refused(self, batch: _Batch) -> None:
        for place, reason in batch.refused.items():
            self._opening.on_dropped(batch.messages[place], reason)

    def _topic_of(self, message: Message) -> str:
        template = self._options.topic
        return (
            message.topic if template == USUAL else topic_of(template, self._opening.site, message.source, message.kind)
        )

    def close(self) -> None:
        """Say goodbye, so that the last will is not sent: the last status already told. After a failure just leave."""
        try:
            if self._connected:
                self._client.disconnect()
                until(lambda: not self._connected, self._turn, _FAREWELL_S, self._clock)
        except SinkError:
            pass
        finally:
            self._client.hang_up()

    def _turn(self, wait_s: float = _TURN_S) -> None:
        """Read, write and keep alive once. Raises SinkError."""
        self._opening.progress()
        try:
            code = self._client.turn(wait_s)
        except Exception as error:  # noqa: BLE001 - whatever paho stumbles over came from the network
            self._fail(not_mqtt(type(error).__name__))
        if self._why is not None:
            self._fail(self._why)
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            garbled = code == MQTTErrorCode.MQTT_ERR_PROTOCOL
            lost = not_mqtt("connection lost") if garbled else Cause(f"connection lost: {paho.error_string(code)}")
            self._fail(self._client.why or lost)
        if self._client.flooded:
            self._fail(Cause("the broker sends more than it was asked for, and takes no answer"))

    def _fail(self, cause: Cause) -> NoReturn:
        """Let go of the connection, so that nothing of it is sent once more later, and say why.

        Some brokers end the connection of who publishes what is not allowed: then that is why.
        """
        self._connected = False
        self._client.hang_up()
        if cause.patience_s == DOUBTFUL_S and self._note_of(_LET_IN) in self._opening.notes:
            cause = Cause(cause.text)
        raise (self._denied or cause).error(self._name)

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._why = refusal(reason, self._who)
            return
        self._client.acknowledged = self._connected = True
        self._opening.notes.setdefault(self._note_of(_LET_IN), 0)
        kept_s = getattr(properties, "SessionExpiryInterval", self._options.session_expiry_s)
        self._new_session = not flags.session_present and kept_s > 0  # who keeps no sessions has forgotten nothing
        # A broker may end the connection of who sends more than it said it takes at once (MQTT 5, 3.2.2.3.3).
        self._window = min(self._window, getattr(properties, "ReceiveMaximum", 65_535))
        self._largest = getattr(properties, "MaximumPacketSize", _ANY_SIZE)

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connected = False
        if not flags.is_disconnect_packet_from_server or self._why is not None:
            return
        self._why = farewell(reason)
        places = list(self._batch.open.values())
        if reason.value in _AT_FAULT and len(places) == 1:  # the outlet sends one by one to find which
            self._refuse(places[0], reason)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        batch = self._batch
        place = batch.open.get(mid)
        if place is None:
            return
        if reason.is_failure and reason.value not in _FOR_GOOD:  # about now: it stays open, and is sent again
            self._why = Cause(f"the broker takes no more messages for now: {reason}")
            return
        del batch.open[mid]
        self._silent_since_ns = self._clock.monotonic_ns()
        if reason.is_failure:
            self._refuse(place, reason)
        else:
            self._accepted, self._denied = True, None
            batch.answer(place)

    def _refuse(self, place: int, reason: ReasonCode) -> None:
        """Note that the broker does not take a message, whenever it is sent."""
        message = self._batch.messages[place]
        topic, notes = self._topic_of(message), self._opening.notes
        self._batch.answer(place, f"refused by the broker: {reason}")
        if reason.value != _NOT_AUTHORIZED:
            return
        if len(notes) < _MOST_NOTES:
            notes[self._note_of(topic)] = self._clock.monotonic_ns()
        if message.kind == "status" and not self._accepted:
            text = f"the broker takes nothing from {self._who}: {reason}, such as topic {topic}"
            self._denied = Cause(f"{text}; check its access list", SLOW_S)


@contextmanager
def open_mqtt(options: MqttOptions, opening: SinkOpening) -> Iterator[MqttSink]:
    """Connect to the broker and publish the site's status, retained. Raises SinkError."""
    will = opening.will if options.takes("status") else None
    client = make_client(options, f"{options.host}:{options.port}", opening.site, will)
    sink = MqttSink(client, options, opening)
    try:
        sink.connect()
        yield sink
    finally:
        sink.close()
