"""paho's MQTT client as this package wants it: TLS always verified, errors told, no answer larger than it must be."""

import select
import ssl
from datetime import datetime, timezone
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, TCP_QUICKACK, socket
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_vision.core.errors import ConfigError
from edge_vision.core.message import Message
from edge_vision.core.options import Secret
from edge_vision.publish.mqtt.certificate import why_invalid
from edge_vision.publish.mqtt.options import MqttOptions, MqttTls
from edge_vision.publish.mqtt.topic import topic_of
from edge_vision.publish.mqtt.words import SLOW_S, Cause, cause_of, ended_in_handshake, ended_without_answer, is_end

_LARGEST_ANSWER: Final = 65_536
"""No answer to a publisher is longer, even with a reason in words; paho would take 256 MB into memory."""
_MOST_UNASKED: Final = 100
"""Messages of QoS 2 that a broker has begun to deliver to a client that subscribes to nothing."""
_MOST_WAITING: Final = 5_000
"""Packets that wait to be sent; only a broker that floods us with requests and reads no answer brings more."""
_LONGEST_SECRET: Final = 1023
"""OpenSSL's limit for the password of a key; enough for one of a user."""
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class MqttClient(paho.Client):
    """A client that is driven by the calling thread, and says why its connection ended.

    paho tells errors of its socket to nobody but its log, and takes packets of any size. Both are mended by overriding
    `_sock_recv` and `_sock_send`; a few more names here are private to paho 2, too, and tests hold that they are there.
    """

    timeout_s = 10.0
    acknowledged = False
    """Whether the broker ever accepted this connection."""
    context: "_Context | None" = None
    _why: Cause | None = None
    _first = b""

    def turn(self, wait_s: float) -> MQTTErrorCode:
        """Read, write and keep alive once; waits for the network as long as told."""
        sock = self.socket()
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        waiting = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        poll = select.poll()  # select.select() fails where the process has more than 1024 files open
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if self.want_write() else 0))
        if isinstance(sock, socket):
            # The broker's kernel holds back an acknowledgement while one before it is not confirmed (Nagle), and ours
            # confirms after 40 ms at the latest (delayed ACK): 5,000 messages/s with, 30,000 without that pause.
            sock.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
        events = poll.poll(0 if waiting else wait_s * 1000)
        happened = events[0][1] if events else 0
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        if waiting or happened & ~select.POLLOUT:
            code = self.loop_read()
        if not code and happened & select.POLLOUT:
            code = self.loop_write()
        return code or self.loop_misc()

    def hang_up(self) -> None:
        """Let go of the connection without a word, so that nothing of it is written later; the last will is sent."""
        self.on_connect = self.on_disconnect = self.on_publish = None
        self._sock_close()

    @property
    def flooded(self) -> bool:
        """Whether the broker sends what it was not asked for and does not take the answers."""
        return len(self._in_messages) > _MOST_UNASKED or len(self._out_packet) > _MOST_WAITING

    @property
    def why(self) -> Cause | None:
        """Why the connection ended, where the socket said so."""
        if self._why is not None or self.acknowledged:
            return self._why
        if self._ssl:
            return ended_in_handshake(self.certificate)
        return ended_without_answer(self._first)

    @property
    def certificate(self) -> str | None:
        """What is wrong with the dates of this client's certificate, if anything; None without a certificate."""
        file = None if self.context is None else self.context.certificate
        return None if file is None else why_invalid(file, datetime.now(timezone.utc))

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > _LARGEST_ANSWER:
            self._why = Cause(f"a packet of {bufsize:,} bytes, where no answer has more than {_LARGEST_ANSWER:,}")
            raise ConnectionAbortedError
        try:
            data = super()._sock_recv(bufsize)
        except BlockingIOError:
            raise
        except OSError as error:
            self._note(error)
            raise
        self._first = self._first or data[:1]
        return data

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except BlockingIOError:
            raise
        except OSError as error:
            self._note(error)
            if is_end(error):  # its last word may wait to be read: reading finds the end, too
                raise BlockingIOError from error
            raise

    def _note(self, error: OSError) -> None:
        unanswered = not self.acknowledged and is_end(error)  # then `why` knows more
        if self._why is None and not unanswered:
            self._why = cause_of(error, connected=self.acknowledged, timeout_s=self.timeout_s)


class _Context(ssl.SSLContext):
    """Settings of TLS that know by what name the broker's certificate goes, and whether a handshake has begun."""

    name: str | None = None
    certificate: Path | None = None
    begun = False

    def wrap_socket(self, sock: socket, *given: Any, **more: Any) -> ssl.SSLSocket:
        """Take the socket through the handshake, within its own time-out: older versions of paho have another."""
        more.update(server_hostname=self.name or more.get("server_hostname"), do_handshake_on_connect=True)
        self.begun = True
        return super().wrap_socket(sock, *given, **more)


def make_client(options: MqttOptions, broker: str, site: str, will: Message | None) -> MqttClient:
    """A client that is not connected yet. Raises SinkError where a secret or a certificate cannot be read."""
    client = MqttClient(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id or f"edge-vision-{site}",
        clean_session=None if options.protocol == "5" else not options.session_expiry_s,
        protocol=paho.MQTTv5 if options.protocol == "5" else paho.MQTTv311,
        reconnect_on_failure=False,  # else a broker of an old version makes paho try others by itself
    )
    client.timeout_s = client.connect_timeout = options.timeout_s
    client.max_inflight_messages_set(0)  # the window is ours
    if will is not None:
        topic = topic_of(options.topic, site, will.source, will.kind)
        client.will_set(topic, will.body, qos=1, retain=True, properties=message_properties(options, will=True))
    if options.username is not None:
        client.username_pw_set(options.username, _reveal(options.password, f"{broker}: password"))
    if options.tls is not None:
        client.context = _tls_context(options.tls, broker)
        client.tls_set_context(client.context)
    return client


def connect(client: MqttClient, options: MqttOptions, broker: str, *, receive_maximum: int | None = None) -> None:
    """Connect and send CONNECT; the answer is yet to come. Raises SinkError.

    `receive_maximum` is how many messages a broker of MQTT 5 may send before the first is acknowledged.
    """
    more: dict[str, Any] = {}
    if options.protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = _LARGEST_ANSWER
        if receive_maximum is not None:
            properties.ReceiveMaximum = receive_maximum
        if options.session_expiry_s:
            properties.SessionExpiryInterval = options.session_expiry_s
        more = {"clean_start": not options.session_expiry_s, "properties": properties}
    cause = None
    try:
        client.connect(options.host, options.port, options.keepalive_s, **more)
        sock = client.socket()
        if isinstance(sock, socket):
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    except Exception as error:  # noqa: BLE001 - paho's, the resolver's and OpenSSL's: each a reason not to be connected
        in_handshake = client.context is not None and client.context.begun
        if in_handshake and is_end(error):
            cause = ended_in_handshake(client.certificate)
        else:
            cause = cause_of(error, connected=False, timeout_s=options.timeout_s)
    if cause is not None:  # raised here: no chain of errors behind it, which might hold a secret
        raise cause.error(broker)


class _Packed(Properties):
    """Properties that are the same for every message: encoded once, which takes longer than all the rest."""

    encoded: bytes

    def __init__(self, packet_type: int, content: dict[str, Any]) -> None:
        super().__init__(packet_type)  # type: ignore[no-untyped-call]
        for name, value in content.items():
            setattr(self, name, value)
        object.__setattr__(self, "encoded", super().pack())  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        """The encoded properties."""
        return self.encoded


def message_properties(options: MqttOptions, *, will: bool = False, retain: bool = False) -> Properties | None:
    """What MQTT 5 says of a message beside its topic. What is retained does not expire: it is the last word."""
    if options.protocol != "5":
        return None
    content: dict[str, Any] = {"PayloadFormatIndicator": 1, "ContentType": "application/json"}
    if options.message_expiry_s is not None and not (will or retain):
        content["MessageExpiryInterval"] = options.message_expiry_s
    return _Packed(PacketTypes.WILLMESSAGE if will else PacketTypes.PUBLISH, content)


def _reveal(secret: Secret | None, what: str) -> str | None:
    """The secret; it is in no error and in no chain of errors. Raises SinkError."""
    problem = ""
    value = None
    try:
        value = secret.reveal() if secret is not None else None
    except ConfigError as error:
        problem = str(error)
    if value is not None and (len(value) > _LONGEST_SECRET or not value.isprintable()):
        problem = f"longer than {_LONGEST_SECRET} characters, or with control characters in it"
    if problem:
        raise Cause(problem, SLOW_S).error(what)
    return value


def _tls_context(tls: MqttTls, broker: str) -> _Context:
    """Settings of TLS, with the certificates as they are on disk now. Raises SinkError."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.name, context.certificate = tls.server_name, tls.certificate
    context.minimum_version = _VERSIONS[tls.minimum_version]
    password = _reveal(tls.key_password, f"{broker}: key_password")
    problem = ""
    try:
        if tls.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(tls.ca_file)
    except OSError as error:
        problem = f"{tls.ca_file}: no certificates can be read: {_reason(error)}"
    if tls.certificate is not None and not problem:
        files = f"{tls.certificate}" + (f" with {tls.key}" if tls.key is not None else "")
        try:  # a password is always given, else OpenSSL asks for one at the terminal
            context.load_cert_chain(tls.certificate, tls.key, password or "")
        except (OSError, ValueError) as error:
            problem = f"{files}: no certificate and key can be read: {_reason(error)}"
    if problem:
        raise Cause(problem, SLOW_S).error(broker)
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").lower().replace("_", " ")
        return reason or "not PEM, encrypted with another password, or not a pair"
    return getattr(error, "strerror", None) or "not PEM"
