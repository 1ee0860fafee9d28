"""Who may connect: answers ZeroMQ's questions about clients (ZAP, its RFC 27) from a list of public keys."""

import logging
import threading
from functools import partial
from pathlib import Path
from typing import Final

import zmq
from zmq.utils import z85

from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.publish.zeromq.addresses import read_clients
from edge_vision.publish.zeromq.options import CurveOptions
from edge_vision.publish.zeromq.sockets import received
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import every
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_ADDRESS: Final = "inproc://zeromq.zap.01"
"""Where libzmq looks for whoever decides."""
_DOMAIN: Final = b"edge-vision"
_POLL_MS: Final = 200
_LIMIT_S: Final = 30.0
_MOST_TURNS: Final = 64
"""Questions answered before the next sign of progress."""
_ONCE_IN_S: Final = 60.0
"""How often a refusal is worth a line in the log."""
_PARTS: Final = 8
"""Frames of a question: sender, blank, version, id, domain, address, identity, mechanism; then the key, with CURVE."""
_KEY_BYTES: Final = 32


def secret_of(curve: CurveOptions) -> bytes:
    """The server's secret key. Raises SinkError that does not repeat it."""
    try:
        return curve.secret()
    except ConfigError as error:
        raise SinkError(f"curve: {error}") from None


def protect(socket: "zmq.Socket[bytes]", secret: bytes) -> None:
    """Make a socket, not yet bound, a CURVE server that asks the gate about every client; without it none comes in."""
    socket.set(zmq.CURVE_SERVER, 1)
    socket.set(zmq.CURVE_SECRETKEY, secret)
    socket.set(zmq.ZAP_DOMAIN, _DOMAIN)
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without it libzmq lets everybody in while nobody answers


class Clients:
    """The public keys that are let in; a file of them is read again when it changes."""

    def __init__(self, curve: CurveOptions) -> None:
        self._file = curve.clients_file
        self._keys = frozenset(curve.clients or ())
        self._seen: tuple[int, int, int] | None = None
        if self._file is not None:
            self._read(self._file)

    def __contains__(self, key: str) -> bool:
        if self._file is not None and _state(self._file) != self._seen:
            try:
                self._read(self._file)
            except ConfigError as error:
                _log.warning("%s; the keys read before go on", error)
        return key in self._keys

    def _read(self, file: Path) -> None:
        self._seen = _state(file)
        self._keys = read_clients(file)


def clients_of(curve: CurveOptions) -> Clients:
    """Who may connect. Raises SinkError when the file of keys cannot be read."""
    try:
        return Clients(curve)
    except ConfigError as error:
        raise SinkError(f"curve: {error}") from None


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Gate:
    """A thread that lets clients with a listed key in and nobody else.

    `ready` is set when it answers, or will not: then `problem` says why. `refused` counts clients.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", clients: Clients, name: str, clock: Clock) -> None:
        self.worker = Worker(f"gate {name}", self._work, _LIMIT_S, clock)
        self.ready = threading.Event()
        self.problem = ""
        self.refused = 0
        self._context = context
        self._clients = clients
        self._name = name
        self._told_ns: int | None = None

    def _work(self, worker: Worker) -> None:
        with self._context.socket(zmq.ROUTER) as socket:
            socket.set(zmq.LINGER, 0)
            try:
                socket.bind(_ADDRESS)
            except zmq.ZMQError as error:
                self.problem = zmq.strerror(error.errno or 0)
                return
            finally:
                self.ready.set()
            every(0.0, partial(self._turn, socket, worker), worker.clock)

    def _turn(self, socket: "zmq.Socket[bytes]", worker: Worker) -> bool:
        worker.beat()
        if socket.poll(_POLL_MS):
            for frames in received(socket, _MOST_TURNS):
                self._answer(socket, frames)
        return worker.stopping.is_set()

    def _answer(self, socket: "zmq.Socket[bytes]", frames: list[bytes]) -> None:
        if len(frames) < _PARTS or frames[2] != b"1.0":
            return  # only libzmq itself can ask here; without an answer the client is not let in
        given = frames[_PARTS:]
        key = z85.encode(given[0]).decode() if len(given) == 1 and len(given[0]) == _KEY_BYTES else ""
        allowed = frames[4] == _DOMAIN and frames[7] == b"CURVE" and key in self._clients
        if not allowed:
            self._tell(frames[5], key)
        said = [b"200", b"OK", key.encode(), b""] if allowed else [b"400", b"key not allowed", b"", b""]
        try:
            socket.send_multipart([*frames[:2], b"1.0", frames[3], *said], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            _log.debug("%s: a client that asked is gone: %s", self._name, error)

    def _tell(self, address: bytes, key: str) -> None:
        """Say who was refused, with the public key, for whoever wants to add it; once a minute at most."""
        self.refused += 1
        now_ns = self.worker.clock.monotonic_ns()
        if self._told_ns is None or now_ns - self._told_ns >= _ONCE_IN_S * 1e9:
            self._told_ns = now_ns
            who = f"{address.decode(errors='replace')!r} with the public key {key!r}"
            _log.warning("%s: refused a client at %s; %d refused so far", self._name, who, self.refused)
