"""A broker that says what it is told to: a script per connection, in bytes."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

WELCOME = b"\x20\x03\x00\x00\x00"
"""CONNACK of MQTT 5: no session, success, no properties."""
CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14


@dataclass(frozen=True)
class Packet:
    """One packet of a client."""

    type: int
    flags: int
    body: bytes

    @property
    def topic(self) -> str:
        """The topic of a PUBLISH."""
        return self.body[2 : 2 + self._topic_size].decode()

    @property
    def mid(self) -> int:
        """The packet identifier of a PUBLISH of QoS 1."""
        return int(struct.unpack_from("!H", self.body, 2 + self._topic_size)[0])

    @property
    def retain(self) -> bool:
        """Whether the broker is asked to retain it."""
        return bool(self.flags & 1)

    @property
    def _topic_size(self) -> int:
        return int(struct.unpack_from("!H", self.body)[0])


def puback(mid: int, reason: int = 0) -> bytes:
    """An acknowledgement in MQTT 5."""
    return struct.pack("!BBH", 0x40, 2, mid) if not reason else struct.pack("!BBHB", 0x40, 3, mid, reason)


@dataclass
class Dialog:
    """One connection, as the script sees it."""

    sock: socket.socket
    number: int
    seen: list[Packet] = field(default_factory=list)

    def read(self) -> Packet | None:
        """The next packet of the client; None when it has left."""
        head = self._exactly(1)
        size, shift = 0, 0
        more = bool(head)
        while more:
            byte = self._exactly(1)
            if not byte:
                return None
            size |= (byte[0] & 127) << shift
            shift, more = shift + 7, byte[0] > 127
        if not head:
            return None
        packet = Packet(head[0] >> 4, head[0] & 15, self._exactly(size))
        self.seen.append(packet)
        return packet

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.sock.sendall(data)

    def _exactly(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            try:
                part = self.sock.recv(size - len(parts))
            except OSError:
                return b""
            if not part:
                return b""
            parts += part
        return parts


@contextmanager
def scripted_broker(script: Callable[[Dialog], None]) -> Iterator[tuple[int, list[Dialog]]]:
    """Runs the script for each connection, one after the other; gives the port and the connections so far."""
    dialogs: list[Dialog] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = server.accept()
                sock.settimeout(60)
                dialogs.append(Dialog(sock, len(dialogs)))
                with suppress(OSError), sock:
                    script(dialogs[-1])

    thread = threading.Thread(target=serve, name="scripted broker")
    thread.start()
    try:
        yield int(server.getsockname()[1]), dialogs
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for dialog in dialogs:
            with suppress(OSError):
                dialog.sock.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def accept_all(dialog: Dialog, welcome: bytes = WELCOME, answer: Any = puback) -> None:
    """Welcome the client, and acknowledge everything, until it leaves."""
    dialog.read()
    dialog.say(welcome)
    packet = dialog.read()
    while packet is not None:
        if packet.type == PUBLISH:
            dialog.say(answer(packet.mid))
        elif packet.type == PINGREQ:
            dialog.say(b"\xd0\x00")
        packet = dialog.read()
