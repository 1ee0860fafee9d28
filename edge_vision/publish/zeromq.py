"""Messages on a ZeroMQ PUB socket."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import zmq

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import ZeromqOptions
from edge_vision.publish.table import SinkOpening

_LINGER_MS: Final = 2000
"""How long the end of the process waits for subscribers to take what is queued for them."""


class ZeromqSink:
    """Publishes to whoever listens.

    A subscriber slower than its high-water mark loses messages inside ZeroMQ, which does not tell (XPUB_NODROP would
    make one slow subscriber hold up all, and stays silent once a pipe is full); that subscriber sees the gap in `seq`.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", name: str) -> None:
        self._socket = socket
        self._name = name

    def send(self, messages: Sequence[Message]) -> None:
        """Hand every message to ZeroMQ. Never blocks."""
        for delivered, message in enumerate(messages):
            try:
                self._socket.send_multipart((message.topic.encode(), message.body), zmq.DONTWAIT)
            except zmq.ZMQError as error:
                msg = f"{self._name}: {zmq.strerror(error.errno or 0)}"
                raise SinkError(msg, delivered) from error


@contextmanager
def open_zeromq(options: ZeromqOptions, opening: SinkOpening) -> Iterator[ZeromqSink]:
    """Bind the socket. Raises SinkError, such as for an address in use."""
    del opening
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUB)
    try:
        socket.set(zmq.SNDHWM, options.high_water_mark)
        try:
            socket.bind(options.bind)
        except zmq.ZMQError as error:
            msg = f"{options.bind}: {zmq.strerror(error.errno or 0)}"
            raise SinkError(msg) from error
        yield ZeromqSink(socket, options.bind)
    finally:
        socket.close(linger=_LINGER_MS)
        context.term()  # returns when the subscribers have everything, or the linger time is over
        if options.bind.startswith("ipc://"):
            Path(options.bind.removeprefix("ipc://")).unlink(missing_ok=True)
