"""Messages on a ZeroMQ PUB socket, with heartbeats, keys, and a socket that serves what was missed."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import zmq

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.zeromq.gate import Gate, clients_of, protect, secret_of
from edge_vision.publish.zeromq.options import ZeromqOptions
from edge_vision.publish.zeromq.replay import Replay
from edge_vision.publish.zeromq.sockets import LINGER_MS, bind, close, end, forget, limit
from edge_vision.publish.zeromq.words import heartbeat

_log = logging.getLogger(__name__)

_Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"

_START_S: Final = 10.0
_STOP_S: Final = 5.0
"""How long a thread of the sink may take to bind its socket, and to end."""
_LARGEST_SUBSCRIPTION: Final = 4096


Service: TypeAlias = Gate | Replay
"""A thread beside the sink's own, with a socket."""


class ZeromqSink:
    """Publishes to whoever listens, and says every `heartbeat_s` how far it has come.

    A subscriber slower than its high-water mark loses messages inside ZeroMQ, which does not tell (XPUB_NODROP would
    make one slow subscriber hold up all, and stays silent once a pipe is full); that subscriber sees the gap in `seq`,
    or in the next heartbeat.
    """

    def __init__(
        self, socket: "zmq.Socket[bytes]", options: ZeromqOptions, opening: SinkOpening, services: Sequence[Service]
    ) -> None:
        self._socket = socket
        self._name = options.bind
        self._every_s = options.heartbeat_s
        self._opening = opening
        self._services = services
        self._boot = opening.will.boot
        self._last: dict[tuple[str, str], int] = {}
        self._told_ns = opening.clock.monotonic_ns()

    def send(self, messages: Sequence[Message]) -> None:
        """Hand every message to ZeroMQ. Never blocks. Raises SinkError, also when a thread of the sink is no more."""
        for service in self._services:
            if not service.worker.alive or service.worker.stuck:
                why = service.worker.error or ("hangs" if service.worker.alive else "ended")
                raise SinkError(f"{self._name}: {service.worker.name}: {why}")
        for delivered, message in enumerate(messages):
            self._hand_over([message.topic.encode(), message.body], delivered)
            if message.boot == self._boot:
                stream = message.source, message.kind
                self._last[stream] = max(message.seq, self._last.get(stream, 0))
        now_ns = self._opening.clock.monotonic_ns()
        if now_ns - self._told_ns >= self._every_s * 1e9:
            self._told_ns = now_ns
            self.beat(len(messages))

    def beat(self, delivered: int = 0) -> None:
        """Tell the last number of everything that was sent, or dropped on its way here. Raises SinkError."""
        last = dict(self._last)
        for stream, seq in self._opening.dropped_last().items():
            last[stream] = max(seq, last.get(stream, 0))
        opening = self._opening
        self._hand_over(heartbeat(opening.site, self._boot, opening.clock.now(), self._every_s, last), delivered)

    def _hand_over(self, frames: list[bytes], delivered: int) -> None:
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.ZMQError as error:
            raise SinkError(f"{self._name}: {zmq.strerror(error.errno or 0)}", delivered) from error


@contextmanager
def open_zeromq(options: ZeromqOptions, opening: SinkOpening) -> Iterator[ZeromqSink]:
    """Bind the sockets. Raises SinkError, such as for an address in use or a key that cannot be read."""
    secret = None if options.curve is None else secret_of(options.curve)
    context: _Context = zmq.Context()
    services: list[Service] = []
    socket = context.socket(zmq.PUB)
    number = 0
    try:
        if options.curve is not None:
            services.append(Gate(context, clients_of(options.curve), options.bind, opening.clock))
            _start(services[-1])
        socket.set(zmq.SNDHWM, options.high_water_mark)
        limit(socket, _LARGEST_SUBSCRIPTION)
        if secret is not None:
            protect(socket, secret)
        number = bind(socket, options.bind)
        if options.replay is not None:
            if opening.history is None:
                raise SinkError(f"{options.replay.bind}: nothing keeps messages for the replay socket")
            services.append(Replay(context, options, opening.history, secret, opening.clock))
            _start(services[-1])
        sink = ZeromqSink(socket, options, opening, services)
        yield sink
        sink.beat()  # whoever lost the last message of all would not know
    finally:
        close([socket], opening.clock, LINGER_MS)
        for service in services:
            service.worker.stop()
        if all([_ended(service) for service in services]):  # noqa: C419 - each is waited for
            end(context, opening.clock)
        forget(options.bind, number)


def _start(service: Service) -> None:
    """Start a thread of the sink and wait until its socket is bound. Raises SinkError."""
    service.worker.start()
    if not service.ready.wait(_START_S) or service.problem:
        raise SinkError(service.problem or f"{service.worker.name} did not start within {_START_S:g} s")


def _ended(service: Service) -> bool:
    """Whether a thread of the sink, asked to stop, ends in time."""
    if service.worker.join(_STOP_S):
        return True
    _log.warning("%s still runs; its socket is left behind", service.worker.name)
    return False
