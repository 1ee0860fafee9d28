"""Serves what subscribers missed: a ROUTER socket on a thread of its own, fair to clients, bounded in every way."""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import zmq

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.protocols import History
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.zeromq.gate import protect
from edge_vision.publish.zeromq.options import ZeromqOptions
from edge_vision.publish.zeromq.sockets import bind, close, forget, limit, received
from edge_vision.publish.zeromq.words import LARGEST_REQUEST, Answer, Range, Request, encode, read_request
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import every
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

MOST_REQUESTS: Final = 16
"""Requests of one client that may wait for their turn."""
MOST_CLIENTS: Final = 64
"""Clients that are served at a time."""
_PIECE_MESSAGES: Final = 64
_PIECE_BYTES: Final = 1_000_000
"""A piece of an answer is full when it has so much; one message may be larger by itself."""
_PIECES_AHEAD: Final = 4
"""Pieces that wait in memory for a client to read."""
_PATIENCE_S: Final = 10.0
"""How long a client may read nothing before its requests are dropped."""
_MOST_RANGES: Final = 10_000
_MOST_TURNS: Final = 64
_IDLE_MS: Final = 200
_BLOCKED_MS: Final = 10
_LIMIT_S: Final = 60.0
_LONGEST_ERROR: Final = 300


@dataclass(slots=True)
class _Client:
    """One that is being served: its requests in order, and the piece that it has to take next."""

    waiting: deque[Iterator[list[bytes]]] = field(default_factory=deque)
    piece: list[bytes] | None = None
    took_ns: int = 0


class Replay:
    """The replay socket, opened, used and closed by its own thread.

    `ready` is set when it is bound, or cannot be: then `problem` says why. `dropped` counts requests.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        options: ZeromqOptions,
        history: History,
        secret: bytes | None,
        clock: Clock,
    ) -> None:
        assert options.replay is not None
        self.address = options.replay.bind
        self.worker = Worker(f"replay {self.address}", self._work, _LIMIT_S, clock)
        self.ready = threading.Event()
        self.problem = ""
        self.dropped = 0
        self._context = context
        self._history = history
        self._secret = secret
        self._kinds = [kind for kind in MESSAGE_KINDS if options.keeps(kind)]
        self._keep_s = options.keep_s
        self._clients: dict[bytes, _Client] = {}

    def _work(self, worker: Worker) -> None:
        number = 0
        socket = self._context.socket(zmq.ROUTER)
        try:
            socket.set(zmq.ROUTER_MANDATORY, 1)  # else what a slow client cannot take would vanish
            socket.set(zmq.SNDHWM, _PIECES_AHEAD)
            socket.set(zmq.RCVHWM, MOST_REQUESTS)
            limit(socket, LARGEST_REQUEST)
            if self._secret is not None:
                protect(socket, self._secret)
            number = bind(socket, self.address)
            self.ready.set()
            every(0.0, partial(self._turn, socket, worker), worker.clock)
        except SinkError as error:
            self.problem = str(error)
        finally:
            self.ready.set()
            close([socket], worker.clock)
            forget(self.address, number)

    def _turn(self, socket: "zmq.Socket[bytes]", worker: Worker) -> bool:
        """Take what is asked, and give each client that can take it one piece."""
        worker.beat()
        busy = False
        for name in list(self._clients):
            busy |= self._serve(socket, name)
            worker.beat()
        if socket.poll(0 if busy else _BLOCKED_MS if self._clients else _IDLE_MS):
            for frames in received(socket, _MOST_TURNS):
                self._take(socket, frames)
        return worker.stopping.is_set()

    def _take(self, socket: "zmq.Socket[bytes]", frames: list[bytes]) -> None:
        """Queue a request; one too many, of a client or of all, is answered so at once."""
        name = frames[0]
        try:
            request = read_request(frames[1:])
            answer = self._pieces(request)
        except ValueError as error:
            request = Request()
            answer = iter([_failed(request, str(error))])
        client = self._clients.get(name)
        too_many = ""
        if client is None and len(self._clients) >= MOST_CLIENTS:
            too_many = f"{MOST_CLIENTS} clients are being served: ask later"
        elif client is not None and len(client.waiting) >= MOST_REQUESTS:
            too_many = f"{MOST_REQUESTS} requests wait: ask later"
        if too_many:
            self.dropped += 1
            self._send(socket, name, _failed(request, too_many))
            return
        if client is None:
            client = self._clients[name] = _Client(took_ns=self.worker.clock.monotonic_ns())
        client.waiting.append(answer)

    def _serve(self, socket: "zmq.Socket[bytes]", name: bytes) -> bool:
        """Send a client its next piece; whether there is more to do for it at once."""
        client = self._clients[name]
        if client.piece is None:
            client.piece = next(client.waiting[0], None) if client.waiting else None
        if client.piece is None:
            if client.waiting:
                client.waiting.popleft()
            if not client.waiting:
                del self._clients[name]
            return True
        now_ns = self.worker.clock.monotonic_ns()
        sent = self._send(socket, name, client.piece)
        if sent:
            client.piece, client.took_ns = None, now_ns
        elif sent is None or now_ns - client.took_ns > _PATIENCE_S * 1e9:
            self.dropped += len(client.waiting)
            _log.info(
                "%s: a client %s", self.address, "is gone" if sent is None else f"read nothing for {_PATIENCE_S:g} s"
            )
            del self._clients[name]
        return bool(sent)

    def _send(self, socket: "zmq.Socket[bytes]", name: bytes, frames: list[bytes]) -> bool | None:
        """Whether a client took it; None when there is no such client any more."""
        try:
            socket.send_multipart([name, *frames], zmq.DONTWAIT)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return None
        return True

    def _pieces(self, request: Request) -> Iterator[list[bytes]]:
        """The answer to a request, in pieces; the last one ends with a frame that says what it was."""
        try:
            if request.ranges:
                yield [encode(self._ranges(request))]
            else:
                yield from self._messages(request)
        except SinkError as error:
            yield _failed(request, str(error))

    def _ranges(self, request: Request) -> Answer:
        found = [Range(*row) for row in self._history.ranges()]
        kept = found[-_MOST_RANGES:]
        left_out = len(found) - len(kept)
        return Answer(
            id=request.id, done=True, ranges=kept, kinds=self._kinds, keep_s=self._keep_s, left_out=left_out
        )  # fmt: skip

    def _messages(self, request: Request) -> Iterator[list[bytes]]:
        piece: list[bytes] = []
        weight = sent = 0
        first = last = None
        for message in self._kept(request):
            if (piece and weight + len(message.body) > _PIECE_BYTES) or len(piece) >= 2 * _PIECE_MESSAGES:
                yield piece
                piece, weight = [], 0
            piece += [message.topic.encode(), message.body]
            weight += len(message.body)
            sent += 1
            first, last = message.seq if first is None else first, message.seq
        end = request.last if request.last is not None else last
        asked = 0 if end is None else end - request.first + 1
        yield [*piece, encode(Answer(id=request.id, done=True, first=first, last=last, missing=asked - sent))]

    def _kept(self, request: Request) -> Iterator[Message]:
        start = request.first

        def page() -> list[Message]:
            if request.last is not None and start > request.last:
                return []
            return self._history.since(
                request.boot, request.source, request.kind, start, request.last, _PIECE_MESSAGES
            )  # fmt: skip

        for messages in iter(page, []):
            yield from messages
            start = messages[-1].seq + 1


def _failed(request: Request, why: str) -> list[bytes]:
    return [encode(Answer(id=request.id, error=why[:_LONGEST_ERROR]))]
