"""Commands on a ZeroMQ ROUTER socket: two frames, topic and body, from a REQ or a DEALER; the answer has two, too."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import zmq

from edge_vision.core.commands import MOST_BYTES, Letter, read_topic
from edge_vision.core.errors import SinkError
from edge_vision.publish.commands.table import CommandOpening, without_data
from edge_vision.publish.zeromq.gate import Gate, clients_of, protect, secret_of
from edge_vision.publish.zeromq.options import ZeromqOptions
from edge_vision.publish.zeromq.sockets import bind, forget, limit

_TURN_MS: Final = 50
_BATCH: Final = 64
"""Commands taken in a turn, before answers are sent."""
_MOST_ANSWERS: Final = 256
_MOST_HELD: Final = 16_000_000
"""Memory for large answers that clients have not read yet, in bytes; ZeroMQ itself counts messages, not bytes."""
_MOST_HELD_BY_ONE: Final = 2_000_000
_SMALL: Final = 4096
"""Answers up to this size are counted by ZeroMQ alone."""
_LARGEST_FRAME: Final = 16 * MOST_BYTES
"""ZeroMQ ends the connection of who sends a larger one; what is larger than a command is answered up to here."""
_FRAMES: Final = 2
_LINGER_MS: Final = 1000
_START_S: Final = 5.0
"""How long the thread that minds the keys may take to start, and to end."""

_left_behind: "list[zmq.Context[zmq.Socket[bytes]]]" = []
"""Contexts of threads that hang: the end of one would wait for its thread for ever."""


class _Ready(NamedTuple):
    """An answer to be sent: the frames that lead back to who asked, the topic, and the answer."""

    envelope: list[bytes]
    topic: str
    body: bytes


class _Held:
    """Large answers that are handed to ZeroMQ, and wait there for clients that do not read."""

    def __init__(self) -> None:
        self._held: list[tuple[bytes, zmq.MessageTracker, int]] = []

    def add(self, client: bytes, tracker: zmq.MessageTracker, size: int) -> None:
        """One more, which the tracker says when it is gone."""
        self._held.append((client, tracker, size))

    def why_not(self, client: bytes, size: int) -> str:
        """Why one more for a client is too much; empty where it is not."""
        self._held = [one for one in self._held if not one[1].done]
        own = sum(held for holder, _, held in self._held if holder == client)
        if own and own + size > _MOST_HELD_BY_ONE:
            return f"busy: {own} bytes of answers wait to be read here; read them, and ask again"
        others = sum(held for _, _, held in self._held)
        return f"busy: {others} bytes of answers wait to be read; ask again" if others + size > _MOST_HELD else ""


class ZeromqListener:
    """Takes commands from whoever connects; an answer goes back to who asked."""

    def __init__(self, socket: "zmq.Socket[bytes]", opening: CommandOpening, gate: Gate | None) -> None:
        self._socket = socket
        self._opening = opening
        self._gate = gate
        self._ready: deque[_Ready] = deque()
        self._held = _Held()

    def turn(self) -> None:
        """Pass on what has come in, and send the answers that are ready. Raises SinkError when no key is minded."""
        self._opening.progress()
        if self._gate is not None and (not self._gate.worker.alive or self._gate.worker.stuck):
            msg = f"{self._gate.worker.name}: {self._gate.worker.error or 'hangs'}"
            raise SinkError(msg)
        if self._socket.poll(_TURN_MS):
            for _ in range(_BATCH):
                if not self._take_one():
                    break
        self.answer()

    def answer(self) -> None:
        """Send the answers that are ready."""
        for _ in range(len(self._ready)):
            ready = self._ready.popleft()
            try:
                self._send(ready)
            except zmq.ZMQError as error:  # it has gone, or does not read
                self._opening.unanswered(zmq.strerror(error.errno or 0))

    def _send(self, ready: _Ready) -> None:
        """Hand an answer to ZeroMQ; in the place of a large one that is too much, that it is."""
        client, body, size = ready.envelope[0], ready.body, len(ready.body)
        if size > _SMALL and (why := self._held.why_not(client, size)):
            body = without_data(body, why)
        frames = [*ready.envelope, ready.topic.encode(), body]
        if len(body) <= _SMALL:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
            return
        tracker = self._socket.send_multipart(frames, zmq.DONTWAIT, copy=False, track=True)
        assert tracker is not None
        self._held.add(client, tracker, size)

    def _take_one(self) -> bool:
        try:
            sender, *frames = self._socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return False
        envelope = [sender]
        if frames and not frames[0]:  # a REQ puts an empty frame before its own
            envelope.append(frames.pop(0))
        letter = self._letter(frames)
        self._opening.take(letter, partial(self._keep, envelope, self._opening.answer_topic(letter)))
        return True

    def _letter(self, frames: list[bytes]) -> Letter:
        if len(frames) != _FRAMES:
            return Letter("", "", b"", f"{len(frames)} frames: a command has two, its topic and its body")
        try:
            about = read_topic(self._opening.site, frames[0].decode())
        except UnicodeDecodeError:
            about = None
        if about is None:
            site = f"edge-vision/v1/{self._opening.site}"
            return Letter("", "", frames[1], f"the topic is not {site}/[CAMERA/]set/COMMAND")
        return Letter(*about, frames[1])

    def _keep(self, envelope: list[bytes], topic: str, body: bytes, _ok: bool) -> None:
        if len(self._ready) >= _MOST_ANSWERS:
            self._opening.unanswered(f"{_MOST_ANSWERS} answers wait already")
            return
        self._ready.append(_Ready(envelope, topic, body))


@contextmanager
def open_zeromq_commands(options: ZeromqOptions, opening: CommandOpening) -> Iterator[ZeromqListener]:
    """Bind the socket, for the clients of the sink's keys where it has some.

    Raises SinkError, such as for an address in use or a key that cannot be read.
    """
    assert options.commands is not None
    address = options.commands.bind
    secret = None if options.curve is None else secret_of(options.curve)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    gate: Gate | None = None
    number = 0
    try:
        if options.curve is not None:
            gate = Gate(context, clients_of(options.curve), f"commands {address}", opening.clock)
            gate.worker.start()
            if not gate.ready.wait(_START_S) or gate.problem:
                msg = f"{address}: {gate.problem or 'the keys are not minded in time'}"
                raise SinkError(msg)
        socket.set(zmq.ROUTER_MANDATORY, 1)  # else an answer that cannot be sent is dropped without a word
        socket.set(zmq.RCVHWM, _BATCH)
        socket.set(zmq.SNDHWM, _MOST_ANSWERS)
        limit(socket, _LARGEST_FRAME)
        if secret is not None:
            protect(socket, secret)
        number = bind(socket, address)
        listener = ZeromqListener(socket, opening, gate)
        yield listener
        listener.answer()
    finally:
        socket.close(linger=_LINGER_MS)
        if gate is not None:
            gate.worker.stop()
        if gate is None or gate.worker.join(_START_S):
            context.term()
        else:
            _left_behind.append(context)
        forget(address, number)
