"""Messages from a ZeroMQ PUB socket. What was sent before we were connected, or while we were not, never comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import zmq

from edge_vision.core.errors import ConfigError
from edge_vision.publish.audit.auditor import Auditor
from edge_vision.runtime.loops import until
from edge_vision.runtime.worker import Worker

_TURN_MS: Final = 100
_BATCH: Final = 1000
_WAITING: Final = 100_000
"""Messages that may wait inside ZeroMQ for us; beyond, they are lost, and found missing."""
_FOREVER_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Publisher:
    """Where a site publishes, what of it is wanted, and for CURVE its public key and our secret one."""

    address: str
    topic: str = "edge-vision/v1/"
    server_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


@contextmanager
def _connected(publisher: Publisher) -> Iterator["zmq.Socket[bytes]"]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, _WAITING)
        socket.set(zmq.SUBSCRIBE, publisher.topic.encode())
        socket.set(zmq.IPV6, int("[" in publisher.address))
        if publisher.server_key is not None:
            _protect(socket, publisher.server_key, publisher.secret_key)
        try:
            socket.connect(publisher.address)
        except zmq.ZMQError as error:
            msg = f"{publisher.address}: {error.strerror}"
            raise ConfigError(msg) from None
        yield socket


def _protect(socket: "zmq.Socket[bytes]", server_key: str, secret_key: str | None) -> None:
    """Encrypt, as a client that the site knows, or with a key of the moment. Raises ConfigError, without any key."""
    try:
        if secret_key is None:
            public, secret = zmq.curve_keypair()
        else:
            secret = secret_key.encode()
            public = zmq.curve_public(secret)
    except (zmq.ZMQError, ValueError, TypeError):
        raise ConfigError("the secret key is none: 40 characters of Z85, as CURVE has them") from None
    try:
        socket.set(zmq.CURVE_SERVERKEY, server_key.encode())
        socket.set(zmq.CURVE_PUBLICKEY, public)
        socket.set(zmq.CURVE_SECRETKEY, secret)
    except (zmq.ZMQError, ValueError):
        raise ConfigError("the key of the server is none: 40 characters of Z85, as CURVE has them") from None


def listen(publisher: Publisher, auditor: Auditor, worker: Worker) -> None:
    """Listen until the auditor has heard enough, or is asked to stop; ZeroMQ connects again by itself.

    Raises ConfigError for an address or a key that is none.
    """
    with _connected(publisher) as socket:

        def receive() -> list[bytes] | None:
            try:
                return socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return None

        def turn() -> None:
            worker.beat()
            socket.poll(_TURN_MS)
            for frames, _ in zip(iter(receive, None), range(_BATCH), strict=False):
                auditor.hear(frames[-1], frames[0].decode(errors="replace"))

        until(lambda: worker.stopping.is_set() or auditor.enough(), turn, _FOREVER_S, auditor.clock)
