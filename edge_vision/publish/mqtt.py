"""Messages to an MQTT 5 broker: QoS 1, with a window of our own, because paho's queue drops and doubles."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import MqttOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.runtime.loops import until

_TURN_S: Final = 0.05
"""How long one look at the network may wait."""
_FAREWELL_S: Final = 2.0
_HEADER_BYTES: Final = 16
"""At least as much as the head of a PUBLISH packet holds beside topic and body."""
_ANY_SIZE: Final = 268_435_460
"""The largest packet that MQTT can express."""
_QUOTA_EXCEEDED: Final = 0x97


class MqttSink:
    """A connected client, driven by the calling thread: paho starts no thread and keeps no queue here."""

    def __init__(self, client: paho.Client, options: MqttOptions, opening: SinkOpening) -> None:
        self._client = client
        self._name = f"{options.host}:{options.port}"
        self._timeout_s = options.timeout_s
        self._window = options.inflight
        self._clock = opening.clock
        self._opening = opening
        self._largest = _ANY_SIZE
        self._retained: dict[str, int] = {}
        self._unacknowledged: dict[int, Message] = {}
        self._refused = ""
        self._connected = False
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish

    def connect(self, options: MqttOptions) -> None:
        """Connect, wait for the broker's word, and publish the retained status. Raises SinkError."""
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        try:
            self._client.connect(options.host, options.port, options.keepalive_s, clean_start=True, properties=session)
        except (OSError, ValueError) as error:
            msg = f"{self._name}: cannot connect: {getattr(error, 'strerror', None) or error}"
            raise SinkError(msg) from error
        if not until(lambda: self._connected, self._turn, self._timeout_s, self._clock):
            msg = f"{self._name}: no answer to CONNECT within {self._timeout_s:g} s"
            raise SinkError(msg)
        if options.takes("status"):
            self.send([self._opening.status()])

    def send(self, messages: Sequence[Message]) -> None:
        """Publish in windows and return when the broker has acknowledged all. Raises SinkError.

        A message that the broker refuses is dropped, counted, with the broker's reason: it would refuse it again.
        """
        for start in range(0, len(messages), self._window):
            window: list[int] = []
            try:
                self._send_window(messages[start : start + self._window], window)
            except SinkError as error:
                open_ids = (place for place, mid in enumerate(window) if mid in self._unacknowledged)
                raise SinkError(str(error), delivered=start + next(open_ids, len(window))) from error
        if not messages:
            self._turn(0.0)

    def _send_window(self, messages: Sequence[Message], sent: list[int]) -> None:
        """Publish a window and wait for its acknowledgements; `sent` gets a packet id per message, 0 if it has none."""
        for message in messages:
            last = self._retained.get(message.topic, 0)
            retain = message.retain and message.boot == self._opening.will.boot and message.seq > last
            if message.retain and message.seq == last and message.boot == self._opening.will.boot:
                sent.append(0)  # it went out when the connection was made
                continue
            if len(message.body) + len(message.topic) + _HEADER_BYTES > self._largest:
                self._opening.on_dropped(message, f"larger than the {self._largest} bytes that the broker takes")
                sent.append(0)
                continue
            info = self._client.publish(message.topic, message.body, qos=1, retain=retain)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                msg = f"{self._name}: cannot publish: {paho.error_string(info.rc)}"
                raise SinkError(msg)
            self._unacknowledged[info.mid] = message
            sent.append(info.mid)
            if retain:
                self._retained[message.topic] = message.seq
        if not until(lambda: not self._unacknowledged, self._turn, self._timeout_s, self._clock):
            missing = len(self._unacknowledged)
            msg = f"{self._name}: {missing} messages not acknowledged within {self._timeout_s:g} s"
            raise SinkError(msg)

    def close(self) -> None:
        """Say goodbye, so that the last will is not sent: the last status already told."""
        with suppress(SinkError):
            if self._connected:
                self._client.disconnect()
                until(lambda: not self._connected, self._turn, _FAREWELL_S, self._clock)

    def _turn(self, wait_s: float = _TURN_S) -> None:
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

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker refused the connection: {reason}"
            return
        self._connected = True
        # A broker may end the connection of who sends more than it said it takes at once (MQTT 5, 3.2.2.3.3).
        self._window = min(self._window, getattr(properties, "ReceiveMaximum", 65_535))
        self._largest = getattr(properties, "MaximumPacketSize", _ANY_SIZE)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connected = False
        if reason.is_failure and not self._refused:
            self._refused = f"disconnected: {reason}"

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        if reason.value == _QUOTA_EXCEEDED:  # it stays unacknowledged: it is sent again
            self._refused = f"the broker takes no more messages for now: {reason}"
            return
        message = self._unacknowledged.pop(mid, None)
        if reason.is_failure and message is not None:
            self._opening.on_dropped(message, f"refused by the broker: {reason}")


@contextmanager
def open_mqtt(options: MqttOptions, opening: SinkOpening) -> Iterator[MqttSink]:
    """Connect to the broker and publish the site's status, retained. Raises SinkError."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id or f"edge-vision-{opening.site}",
        protocol=paho.MQTTv5,
    )
    client.connect_timeout = options.timeout_s
    client.max_inflight_messages_set(options.inflight)
    if options.takes("status"):
        client.will_set(opening.will.topic, opening.will.body, qos=1, retain=True)
    if options.username is not None:
        try:
            client.username_pw_set(options.username, options.password.reveal() if options.password else None)
        except ConfigError as error:
            raise SinkError(str(error)) from None
    sink = MqttSink(client, options, opening)
    try:
        sink.connect(options)
        yield sink
    finally:
        sink.close()
