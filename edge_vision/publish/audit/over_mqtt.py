"""Messages from an MQTT broker, in a session of our own: what comes while the connection is lost waits there."""

import secrets
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_vision.core.errors import ConfigError, SourceError
from edge_vision.publish.audit.auditor import Auditor
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.loops import keep_trying, until
from edge_vision.runtime.worker import Worker

_TURN_S: Final = 0.1
_FAREWELL_S: Final = 2.0
_LONGEST_TOPIC: Final = 65_535
_FOREVER_S: Final = 1e9
_MOST_DUE: Final = 500
"""Messages that are acknowledged together, at most: the journal of a state file is flushed to the disk once for all."""
_GRANTED: Final = 2
"""Reason codes of a subscription above the highest QoS are refusals."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, who asks, and for what. `client_id` names a session that outlives this process."""

    host: str
    port: int = 1883
    topic: str = "edge-vision/v1/#"
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str | None = None
    session_s: int = 604_800
    """How long the broker keeps a named session for us, at least, in seconds."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    timeout_s: float = 10.0


class MqttListener:
    """Hands what a broker delivers to an auditor, which has entered it before it is acknowledged."""

    def __init__(self, broker: Broker, auditor: Auditor, say: Callable[[str], None]) -> None:
        self._broker = broker
        self._auditor = auditor
        self._say = say
        self._name = f"{broker.host}:{broker.port}"
        self._client_id = broker.client_id or f"edge-vision-audit-{secrets.token_hex(6)}"
        self._has_session = broker.client_id is not None and auditor.ledger.book.received > 0
        self._connected = False
        self._subscribed = False
        self._refused = ""
        self._due: list[tuple[int, int]] = []

    def listen(self, worker: Worker) -> None:
        """Listen until the auditor has heard enough, or is asked to stop; connects again for as long.

        Raises ConfigError for a topic, a file or a password that can never do.
        """

        def failed(error: Exception, delay_s: float) -> None:
            self._say(f"{error}; trying again in {delay_s:.1f} s")
            if self._auditor.enough():
                worker.stop()

        if why := _why_no_filter(self._broker.topic):
            raise ConfigError(f"{self._broker.topic!r} cannot be subscribed to: {why}")
        self._client()  # what is wrong with its options is no trouble that passes
        keep_trying(lambda: self._attempt(worker), worker, Backoff(most_s=5.0), on_failure=failed)
        if self._broker.client_id is None and self._has_session:
            self._end_session()

    def _attempt(self, worker: Worker) -> None:
        """One connection, until it is lost. Raises SourceError."""
        client = self._client()
        client.manual_ack_set(True)
        self._due.clear()  # what the connection before was to hear comes again
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

        def over() -> bool:
            worker.beat()
            return worker.stopping.is_set() or self._auditor.enough()

        self._connect(client, over)
        if not over():
            client.subscribe(self._broker.topic, qos=1)
            self._await(client, lambda: self._subscribed or over())
        if not over():
            self._say(f"listening at {self._name}")
        until(over, lambda: self._turn(client), _FOREVER_S, self._auditor.clock)
        self._acknowledge(client)
        self._say_goodbye(client)

    def _client(self, *, clean: bool = False) -> paho.Client:
        """A client that is not connected; `clean`: it wants no session, MQTT 3.1.1. Raises ConfigError."""
        broker = self._broker
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if broker.protocol == "5" else clean,
            protocol=paho.MQTTv5 if broker.protocol == "5" else paho.MQTTv311,
        )
        client.connect_timeout = broker.timeout_s
        if broker.username is not None:
            try:
                client.username_pw_set(broker.username, broker.password)
            except ValueError:
                raise ConfigError("the password is longer than the 65535 bytes that MQTT can express") from None
        if broker.tls:
            try:
                client.tls_set(
                    ca_certs=_text(broker.ca),
                    certfile=_text(broker.cert),
                    keyfile=_text(broker.key),
                    keyfile_password="",  # nobody is asked for one
                )
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                files = ", ".join(str(path) for path in (broker.ca, broker.cert, broker.key) if path)
                reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
                msg = f"{files or 'TLS'}: {reason}"
                raise ConfigError(msg) from None
        return client

    def _connect(self, client: paho.Client, over: Callable[[], bool]) -> None:
        """Connect and wait for the broker's word, or until it is over. Raises SourceError."""
        self._connected = self._subscribed = False
        self._refused = ""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        more: dict[str, Any] = {}
        if self._broker.protocol == "5":
            session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            session.SessionExpiryInterval = self._broker.session_s
            more = {"clean_start": False, "properties": session}
        try:
            client.connect(self._broker.host, self._broker.port, 15, **more)
        except (OSError, ValueError) as error:
            reason = error if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None) or error
            msg = f"{self._name}: cannot connect: {reason}"
            raise SourceError(msg) from error
        self._await(client, lambda: self._connected or over())

    def _await(self, client: paho.Client, answered: Callable[[], bool]) -> None:
        """Wait for a word of the broker. Raises SourceError."""
        if not until(answered, lambda: self._turn(client), self._broker.timeout_s, self._auditor.clock):
            msg = f"{self._name}: no answer within {self._broker.timeout_s:g} s"
            raise SourceError(msg)

    def _turn(self, client: paho.Client) -> None:
        """Read what has come; acknowledge it when there is no more for the moment. Raises SourceError."""
        before = len(self._due)
        code = client.loop(0.0 if before else _TURN_S)
        if before == len(self._due) or before >= _MOST_DUE:
            self._acknowledge(client)
        if self._refused:
            msg = f"{self._name}: {self._refused}"
            raise SourceError(msg)
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            msg = f"{self._name}: connection lost: {paho.error_string(code)}"
            raise SourceError(msg)

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = f"the broker refused the connection: {reason}"
            return
        self._connected = True
        if self._has_session and not flags.session_present:
            self._auditor.ledger.book.sessions_lost += 1
        self._has_session = True

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        if any(reason.value > _GRANTED for reason in reasons):
            self._refused = f"the broker refused the subscription to {self._broker.topic}: {reasons[0]}"
        self._subscribed = True

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connected = False
        if flags.is_disconnect_packet_from_server and not self._refused:
            self._refused = f"disconnected: {reason}"

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._auditor.hear(bytes(message.payload), topic, retained=message.retain, redelivered=message.dup)
        if message.qos:
            self._due.append((message.mid, message.qos))

    def _acknowledge(self, client: paho.Client) -> None:
        if self._due:
            self._auditor.secure()
            for mid, qos in self._due:
                client.ack(mid, qos)
            self._due.clear()

    def _say_goodbye(self, client: paho.Client) -> None:
        """Disconnect; the broker keeps a named session, and forgets one that is not."""
        ending = None
        if self._broker.protocol == "5" and self._broker.client_id is None:
            ending = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            ending.SessionExpiryInterval = 0
            self._has_session = False
        with suppress(SourceError):
            client.disconnect(properties=ending)
            until(lambda: not self._connected, lambda: self._turn(client), _FAREWELL_S, self._auditor.clock)

    def _end_session(self) -> None:
        """Let the broker forget a session that nobody will come back to: MQTT 3.1.1 cannot say it at the end."""
        with suppress(SourceError):
            client = self._client(clean=True)
            self._connect(client, lambda: False)
            self._say_goodbye(client)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _why_no_filter(topic: str) -> str:
    """Why a broker would not take a topic filter (MQTT 5, 4.7.1); empty when it does."""
    levels = topic.split("/")
    if not topic or len(topic.encode()) > _LONGEST_TOPIC or "\0" in topic:
        return f"it has 1 to {_LONGEST_TOPIC} bytes, none of them 0"
    if any(("#" in level or "+" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]:
        return "# and + stand for whole levels, # for the last ones"
    return ""
