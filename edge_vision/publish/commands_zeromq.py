"""Commands on a ZeroMQ ROUTER socket: two frames, topic and body, from a REQ or a DEALER; the answer has two, too."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import zmq

from edge_vision.core.commands import MOST_BYTES, Letter, read_topic
from edge_vision.core.errors import SinkError
from edge_vision.publish.commands_table import CommandOpening
from edge_vision.publish.options import ZeromqOptions

_TURN_MS: Final = 50
_BATCH: Final = 64
"""Commands taken in a turn, before answers are sent."""
_MOST_ANSWERS: Final = 256
_LARGEST_FRAME: Final = 16 * MOST_BYTES
"""ZeroMQ ends the connection of who sends a larger one; what is larger than a command is answered up to here."""
_FRAMES: Final = 2
_LINGER_MS: Final = 1000


class _Ready(NamedTuple):
    """An answer to be sent: the frames that lead back to who asked, the topic, and the answer."""

    envelope: list[bytes]
    topic: str
    body: bytes


class ZeromqListener:
    """Takes commands from whoever connects; an answer goes back to who asked."""

    def __init__(self, socket: "zmq.Socket[bytes]", opening: CommandOpening) -> None:
        self._socket = socket
        self._opening = opening
        self._ready: deque[_Ready] = deque()

    def turn(self) -> None:
        """Pass on what has come in, and send the answers that are ready."""
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
                self._socket.send_multipart([*ready.envelope, ready.topic.encode(), ready.body], zmq.DONTWAIT)
            except zmq.ZMQError as error:  # it has gone, or does not read
                self._opening.unanswered(zmq.strerror(error.errno or 0))

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
    """Bind the socket. Raises SinkError, such as for an address in use."""
    assert options.commands is not None
    bind = options.commands.bind
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    try:
        socket.set(zmq.ROUTER_MANDATORY, 1)  # else an answer that cannot be sent is dropped without a word
        socket.set(zmq.MAXMSGSIZE, _LARGEST_FRAME)
        socket.set(zmq.RCVHWM, _BATCH)
        socket.set(zmq.SNDHWM, _MOST_ANSWERS)
        try:
            socket.bind(bind)
        except zmq.ZMQError as error:
            msg = f"{bind}: {zmq.strerror(error.errno or 0)}"
            raise SinkError(msg) from error
        listener = ZeromqListener(socket, opening)
        yield listener
        listener.answer()
    finally:
        socket.close(linger=_LINGER_MS)
        context.term()
        if bind.startswith("ipc://"):
            Path(bind.removeprefix("ipc://")).unlink(missing_ok=True)
