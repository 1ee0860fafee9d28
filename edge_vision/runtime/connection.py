"""A connection for HTTP, with one limit for a whole exchange, where Python's own has one for each byte."""

import http.client
import io
import socket
import ssl
import time
from typing import Any

from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker


class TimedSocket:
    """What http.client needs of a socket, with one limit for a whole exchange: one byte a second is no answer.

    `end` is a moment of time.monotonic(), in seconds; it may be set anew for the next exchange. For one thread.
    """

    def __init__(self, inner: socket.socket, end: float) -> None:
        self._inner = inner
        self._reader: _TimedReader | None = None
        self.end = end

    def arm(self) -> socket.socket:
        """The socket, to be waited for until the end. Raises TimeoutError past it."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._inner.settimeout(left)
        return self._inner

    def sendall(self, data: bytes | memoryview) -> None:
        """Send all of it. Raises OSError, TimeoutError past the end."""
        self.arm().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader for one answer; closing it leaves the socket open. It raises like `sendall`."""
        del mode
        self._reader = _TimedReader(self)
        return io.BufferedReader(self._reader)

    def close(self) -> None:
        """Close the socket, once the answer that is being read has been."""
        if self._reader is None or self._reader.closed:
            self._inner.close()
        else:
            self._reader.last = True

    def abort(self) -> None:
        """Close the socket now."""
        self._inner.close()

    @property
    def peer(self) -> tuple[str, int]:
        """The address and port at the other end. Raises OSError when the connection is gone."""
        host, port = self._inner.getpeername()[:2]
        return str(host), int(port)

    @property
    def quiet(self) -> bool:
        """Whether the connection stands and nothing has come that was not asked for. Never blocks."""
        try:
            self._inner.settimeout(0.0)
            self._inner.recv(1)  # data or its end; of TLS the server's tickets are taken in on the way
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False


class _TimedReader(io.RawIOBase):
    def __init__(self, owner: TimedSocket) -> None:
        super().__init__()
        self._owner = owner
        self.last = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._owner.arm().recv_into(buffer)

    def close(self) -> None:
        super().close()
        if self.last:
            self._owner.abort()


def connect(
    host: str, port: int, tls: ssl.SSLContext | None, end: float, place: tuple[str, int] | None = None
) -> tuple[http.client.HTTPConnection, TimedSocket]:
    """A connection that stands, secured where there is a context for it, by `end` of time.monotonic().

    `place` is the address to connect to where that is known: looking a name up may lead to another server.
    Raises OSError, TimeoutError among them, or UnicodeError for a name that cannot be one.
    """
    plain = _reach(_addresses(*(place or (host, port)), end), end)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(max(0.001, end - time.monotonic()))
        secured = plain if tls is None else tls.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    connection = http.client.HTTPConnection(host, port)
    connection.auto_open = 0  # never to anybody else behind our back
    timed = TimedSocket(secured, end)
    connection.sock = timed
    return connection, timed


def why_lost(error: Exception) -> str:
    """What became of an exchange, in one line; what the server sent may be in it, as long as it was."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke off"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _addresses(host: str, port: int, end: float) -> list[Any]:
    """What a name stands for. The system's look-up has no limit: it is left behind where it takes too long."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name
    found: list[Any] = []
    failed: list[Exception] = []

    def look_up(worker: Worker) -> None:
        del worker
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)

    left_s = end - time.monotonic()
    worker = Worker(f"look up {host}", look_up, left_s, SystemClock())
    worker.start()
    if not worker.join(left_s):
        raise TimeoutError
    if failed:
        raise failed[0]
    return found


def _reach(addresses: list[Any], end: float) -> socket.socket:
    """A connection to the first address that answers; each gets its share of the time that is left."""
    last: OSError = TimeoutError()
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share_s = (end - time.monotonic()) / (len(addresses) - number)
        if share_s <= 0:
            raise TimeoutError
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(share_s)
            plain.connect(address)
        except OSError as error:
            plain.close()
            last = error
        else:
            return plain
    raise last
