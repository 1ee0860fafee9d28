"""What every ZeroMQ socket of ours has in common: limits, an address that is really free, reading without blocking."""

import logging
import socket as sockets
import stat
from pathlib import Path
from typing import Any, Final

import zmq

from edge_vision.core.errors import SinkError
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

LINGER_MS: Final = 2000
"""How long the end of a socket waits for peers to take what is queued for them."""
_SETTLE_S: Final = 0.02
_END_S: Final = 5.0
"""How long the end of a context may take, `LINGER_MS` included."""
_HANDSHAKE_MS: Final = 10_000
"""How long a client may take to say who it is."""
_KEEPALIVE: Final = ((zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 30), (zmq.TCP_KEEPALIVE_INTVL, 10),
                     (zmq.TCP_KEEPALIVE_CNT, 3))  # fmt: skip
"""A peer that is gone without a word is noticed after a minute, and what waits for it is freed."""
_ANSWER_S: Final = 1.0
_OWNER_AND_GROUP: Final = 0o660
"""Who may connect to a UNIX socket; the umask of the service would take the group's right to write."""


def limit(socket: "zmq.Socket[bytes]", largest: int) -> None:
    """Limit what peers can do to a socket, not yet bound: frames of `largest` bytes, slow handshakes, dead peers."""
    socket.set(zmq.MAXMSGSIZE, largest)
    socket.set(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    for option, value in _KEEPALIVE:
        socket.set(option, value)


def bind(socket: "zmq.Socket[bytes]", address: str) -> int:
    """Bind a socket; the number of its file, for `forget`, or 0.

    Raises SinkError, such as for an address in use; the file of a UNIX socket that nobody serves is replaced.
    """
    path = Path(address.removeprefix("ipc://")) if address.startswith("ipc://") else None
    if path is not None and (why := _why_taken(path)):
        raise SinkError(f"{address}: {why}")
    if "[" in address:
        socket.set(zmq.IPV6, 1)
    try:
        socket.bind(address)
        if path is not None:
            path.chmod(_OWNER_AND_GROUP)
        return 0 if path is None else path.lstat().st_ino
    except OSError as error:  # zmq.ZMQError is none, but its own class
        raise SinkError(f"{address}: {error.strerror}") from error
    except zmq.ZMQError as error:
        raise SinkError(f"{address}: {zmq.strerror(error.errno or 0)}") from error


def forget(address: str, number: int) -> None:
    """Remove the file of a UNIX socket that is closed; not one that another process has made in its place."""
    path = Path(address.removeprefix("ipc://"))
    if number and path.exists() and path.lstat().st_ino == number:
        path.unlink(missing_ok=True)


def close(sockets_: "list[zmq.Socket[bytes]]", clock: Clock, linger_ms: int = 0) -> None:
    """Close sockets, after a moment.

    A peer that leaves just when something is sent to it, with the socket closed right behind, leaves libzmq 4.3.5
    waiting for ever in `zmq_ctx_term`, whatever the linger: once in some hundred times; after 10 ms not in 24,000.
    """
    clock.sleep(_SETTLE_S)
    for socket in sockets_:
        socket.close(linger=linger_ms)


def end(context: "zmq.Context[zmq.Socket[bytes]]", clock: Clock) -> None:
    """End a context whose sockets are closed, when peers have everything or the linger time is over.

    One that does not end in time is left to a thread of its own (see `close`).
    """
    worker = Worker("end of ZeroMQ", lambda _: context.term(), _END_S, clock)
    worker.start()
    if not worker.join(_END_S):
        _log.warning("ZeroMQ does not end its sockets within %.0f s; they are left behind", _END_S)


def _why_taken(path: Path) -> str:
    """Why a socket cannot be made at a path, or nothing: libzmq would remove whatever file is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return "a file is there that is no socket"
        with sockets.socket(sockets.AF_UNIX) as probe:
            probe.settimeout(_ANSWER_S)
            probe.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):  # left behind by a process that was killed
        return ""
    except OSError as error:
        return str(error.strerror or error)
    return zmq.strerror(zmq.EADDRINUSE)


def received(socket: "zmq.Socket[bytes]", most: int) -> list[list[bytes]]:
    """What has arrived at a socket, at most so many messages; never blocks."""

    def receive() -> list[bytes] | None:
        try:
            return socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return None

    return [frames for _, frames in zip(range(most), iter(receive, None), strict=False)]


def connected(
    context: "zmq.Context[zmq.Socket[bytes]]", kind: int, address: str, settings: dict[int, Any]
) -> "zmq.Socket[bytes]":
    """A client's socket, set and connected. Raises SinkError for an address that is none."""
    socket = context.socket(kind)
    try:
        socket.set(zmq.LINGER, 0)
        for option, value in settings.items():
            socket.set(option, value)
        if "[" in address:
            socket.set(zmq.IPV6, 1)
        for option, value in _KEEPALIVE:
            socket.set(option, value)
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close()
        raise SinkError(f"{address}: {zmq.strerror(error.errno or 0)}") from error
    return socket
