"""A proxy in front of a broker that records what the broker has acknowledged."""

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

PUBLISH, PUBACK = 3, 4
_REFUSED = 0x80
_KEPT = ("id", "boot", "source", "kind", "seq", "gap")


class Recording:
    """The messages whose acknowledgement passed the proxy on its way back, each with how often it did."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bodies: list[dict[str, Any]] = []
        self._statuses: list[dict[str, Any]] = []
        self.years: set[str] = set()

    def add(self, body: bytes) -> None:
        """Note a message that was acknowledged."""
        message = json.loads(body)
        with self._lock:
            self._counts[message["id"]] += 1
            self.years.add(message.get("timestamp", message.get("frame", {}).get("timestamp", ""))[:4])
            if "outbox" in message:
                self._statuses.append(message)
            if self._counts[message["id"]] == 1:
                self._bodies.append({key: message.get(key, "") for key in _KEPT})

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Each message once, in the order of the first acknowledgements: id, boot, source, kind, seq and gap."""
        with self._lock:
            return list(self._bodies)

    def statuses(self) -> list[dict[str, Any]]:
        """The statuses that say how the outbox is, whole."""
        with self._lock:
            return list(self._statuses)

    @property
    def doubles(self) -> int:
        """How many acknowledgements more there were than messages."""
        with self._lock:
            return sum(self._counts.values()) - len(self._counts)


class _Packets:
    """Cuts a stream of bytes into MQTT packets (MQTT 5, 2.1: a type, a length of up to four bytes, the rest)."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Type, flags and body of each packet that is whole."""
        self._bytes += data
        while len(self._bytes) >= 2:
            length, shift, at = 0, 0, 1
            while at < len(self._bytes):
                length |= (self._bytes[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not self._bytes[at - 1] & 0x80:
                    break
            else:
                return
            if len(self._bytes) < at + length:
                return
            kind, flags, body = self._bytes[0] >> 4, self._bytes[0] & 0x0F, bytes(self._bytes[at : at + length])
            del self._bytes[: at + length]
            yield kind, flags, body


class _Connection:
    """One client: its messages by packet number until the broker acknowledges them."""

    def __init__(self, client: socket.socket, broker_port: int, recording: Recording) -> None:
        self._client = client
        self._broker = socket.create_connection(("127.0.0.1", broker_port), 60)
        self._broker.settimeout(None)
        self._recording = recording
        self._open: dict[int, bytes] = {}
        for source, target, note in (
            (self._client, self._broker, self._sent),
            (self._broker, self._client, self._answered),
        ):
            threading.Thread(target=self._pass_on, args=(source, target, note), daemon=True).start()

    def close(self) -> None:
        for one in (self._client, self._broker):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _pass_on(self, source: socket.socket, target: socket.socket, note: Any) -> None:
        packets = _Packets()
        with suppress(OSError):
            while data := source.recv(65_536):
                for packet in packets.feed(data):
                    note(*packet)
                target.sendall(data)
        self.close()

    def _sent(self, kind: int, flags: int, body: bytes) -> None:
        if kind != PUBLISH or not flags & 0x06:
            return
        at = 2 + struct.unpack_from(">H", body)[0]
        number = struct.unpack_from(">H", body, at)[0]
        begin = body.find(b'{"schema"', at)
        self._open[number] = body[begin:]

    def _answered(self, kind: int, _flags: int, body: bytes) -> None:
        if kind != PUBACK:
            return
        message = self._open.pop(struct.unpack_from(">H", body)[0], None)
        if message is not None and (len(body) < 3 or body[2] < _REFUSED):
            self._recording.add(message)


@contextmanager
def recording_proxy(port: int, broker_port: int) -> Iterator[Recording]:
    """Listen on `port` and pass everything on to the broker and back; who comes while it is away is turned away."""
    recording, done = Recording(port), threading.Event()
    connections: list[_Connection] = []
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not done.is_set():
                try:
                    client, _ = server.accept()
                except TimeoutError:
                    continue
                client.settimeout(None)
                try:
                    connections.append(_Connection(client, broker_port, recording))
                    recording.connections += 1
                except OSError:
                    client.close()

        thread = threading.Thread(target=accept, name="proxy")
        thread.start()
        try:
            yield recording
        finally:
            done.set()
            thread.join(60)
            for connection in connections:
                connection.close()
