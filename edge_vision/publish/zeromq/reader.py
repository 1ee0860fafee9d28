"""Reads what a site publishes on ZeroMQ without losing any: for `edge-vision tail`, the audit, and customers' code.

    with open_reader("tcp://10.0.0.7:5556", SystemClock(), replay="tcp://10.0.0.7:5557", keys=keys) as reader:
        for found in reader.take(0.5):
            ...  # a Message, or Missed where messages are gone for good

Messages of a (boot, source, kind) come in the order of `seq`, each once. What is missed between two, or behind the last
(a heartbeat tells), or of a run of the site that came and went unheard, is asked from the replay socket; only what that
has not kept is `Missed`. Without a replay socket every gap is.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import zmq

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.zeromq.addresses import why_no_key
from edge_vision.publish.zeromq.order import Missed, Order, Stream
from edge_vision.publish.zeromq.sockets import close, connected, end, received
from edge_vision.publish.zeromq.words import Answer, HeartbeatMessage, Request, encode
from edge_vision.runtime.clock import Clock

_Socket: TypeAlias = "zmq.Socket[bytes]"
Overhear: TypeAlias = Callable[[bytes, bytes, bool], None]
"""Hears topic and body of whatever comes, heartbeats too, as it comes; True where the replay socket served it."""

TOPIC: Final = "edge-vision/v1/"
"""Where the topics of every site begin."""
_ANSWER_S: Final = 5.0
"""How long the replay socket may say nothing before it is asked anew."""
_MOST_WAITING: Final = 100_000
"""Messages that wait in memory for `take`; beyond, ZeroMQ drops, and they are asked for."""
_MOST_PIECES: Final = 16
_MOST_AT_ONCE: Final = 1000
_LARGEST_FRAME: Final = 64_000_000
_LEVELS: Final = 3
"""Levels of a topic before the source: edge-vision, v1, the site."""


@dataclass(frozen=True, slots=True, repr=False)
class ReaderKeys:
    """The site's public key and our own secret one, each of 40 characters. Not shown in any text.

    Without a secret one, a key of the moment serves where the site lets everybody in.
    """

    server: str
    secret: str | None = None

    def settings(self) -> dict[int, Any]:
        """The options of a socket that uses them. Raises SinkError for what is no key."""
        secret = zmq.curve_keypair()[1] if self.secret is None else self.secret.encode(errors="replace")
        for name, key in (("public key of the site", self.server), ("secret key", secret.decode())):
            if why := why_no_key(key):
                raise SinkError(f"the {name}: {why}")
        return {
            zmq.CURVE_SERVERKEY: self.server.encode(),
            zmq.CURVE_SECRETKEY: secret,
            zmq.CURVE_PUBLICKEY: zmq.curve_public(secret),
        }


class _Envelope(msgspec.Struct):
    """What a message says of itself."""

    kind: str
    boot: str = ""
    seq: int = 0
    source: str = ""
    id: str = ""


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_heartbeat = msgspec.json.Decoder(HeartbeatMessage).decode
_read_answer = msgspec.json.Decoder(Answer).decode


def message_of(topic: bytes, body: bytes) -> Message:
    """A message from its two frames; one that is none of ours, or not numbered, has the number 0."""
    name = topic.decode(errors="replace")
    try:
        found = _read_envelope(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Message("", "", 0, "", "", name, body)
    return Message(
        found.id, found.boot, found.seq, found.kind, found.source, name, body, retain=found.kind == "status"
    )  # fmt: skip


class ZeromqReader:
    """A subscriber, used by one thread."""

    def __init__(
        self,
        listening: _Socket,
        open_asking: Callable[[], _Socket] | None,
        order: Order,
        clock: Clock,
        overhear: Overhear = lambda _topic, _body, _served: None,
    ) -> None:
        self._listening = listening
        self._open_asking = open_asking
        self._asking: _Socket | None = None
        self._asked: Request | None = None
        self._heard_ns = 0
        self._order = order
        self._clock = clock
        self._overhear = overhear
        self.missed = 0

    @property
    def positions(self) -> dict[Stream, int]:
        """The last number handed on of every (boot, source, kind): give it to the next reader as `known`."""
        return self._order.positions

    @property
    def settled(self) -> bool:
        """Whether nothing is missed that may still be had."""
        return self._order.settled

    def take(self, wait_s: float) -> list[Message | Missed]:
        """What has come, in order; waits for something at most so long, and returns nothing if nothing came.

        A message whose `seq` is 0 is none of edge_vision, or not numbered. Call it again and again: in between nothing
        is read, and nothing missed is asked for.
        """
        self._ask()
        poller = zmq.Poller()
        for socket in (self._listening, self._asking):
            if socket is not None:
                poller.register(socket, zmq.POLLIN)
        poller.poll(int(wait_s * 1000))
        found: list[Message | Missed] = []
        for frames in received(self._listening, _MOST_AT_ONCE):
            self._overhear(frames[0], frames[-1], False)
            if len(frames) == 2:  # noqa: PLR2004 - topic and body
                self._hear(frames[0], frames[1], found)
        if self._asking is not None:
            for frames in received(self._asking, _MOST_PIECES):
                self._read_piece(frames)
        found += self._order.take()
        self.missed += sum(one.last - one.first + 1 for one in found if isinstance(one, Missed))
        return found

    @property
    def asking(self) -> list[_Socket]:
        """The socket for questions, if one is open."""
        return [] if self._asking is None else [self._asking]

    def _hear(self, topic: bytes, body: bytes, found: list[Message | Missed]) -> None:
        message = message_of(topic, body)
        if message.kind == "heartbeat":
            try:
                self._order.heartbeat(_read_heartbeat(body))
            except (msgspec.MsgspecError, ValueError):
                return
        elif message.boot and message.seq > 0:
            self._order.hear(message)
        else:
            found.append(message)

    def _ask(self) -> None:
        """Ask for one thing at a time; a socket that does not answer is thrown away with whatever comes late."""
        if self._open_asking is None:
            return
        now_ns = self._clock.monotonic_ns()
        if self._asked is not None and now_ns - self._heard_ns > _ANSWER_S * 1e9:
            request, self._asked = self._asked, None
            close(self.asking, self._clock)
            self._asking = None
            self._order.answered(request, Answer(error=f"no answer within {_ANSWER_S:g} s"))
        request_now = self._order.question() if self._asked is None else None
        if request_now is None:
            return
        if self._asking is None:
            self._asking = self._open_asking()
        self._asked, self._heard_ns = request_now, now_ns
        self._asking.send(encode(request_now), zmq.DONTWAIT)

    def _read_piece(self, frames: list[bytes]) -> None:
        self._heard_ns = self._clock.monotonic_ns()
        for topic, body in zip(frames[0::2], frames[1::2], strict=False):
            self._overhear(topic, body, True)
            message = message_of(topic, body)
            if message.boot and message.seq > 0:
                self._order.hear(message)
        if len(frames) % 2 and self._asked is not None:
            request, self._asked = self._asked, None
            try:
                answer = _read_answer(frames[-1])
            except (msgspec.MsgspecError, ValueError):
                answer = Answer(error="an answer that cannot be read")
            self._order.answered(request, answer)


@contextmanager
def open_reader(
    address: str,
    clock: Clock,
    *,
    replay: str | None = None,
    keys: ReaderKeys | None = None,
    topic: str = TOPIC,
    known: Mapping[Stream, int] | None = None,
    kept: bool = False,
    overhear: Overhear = lambda _topic, _body, _served: None,
) -> Iterator[ZeromqReader]:
    """Subscribe to topics that start with `topic`; missed messages come from the address `replay`.

    `known` are the positions of an earlier reader: what came since then is read first. `kept` begins with everything
    that the replay socket still has. `overhear` is for who counts for himself. Whether anybody is there shows only by
    what comes. Raises SinkError for an address or a key that is none.
    """
    settings = {} if keys is None else keys.settings()
    limits: dict[int, Any] = {zmq.MAXMSGSIZE: _LARGEST_FRAME}
    context: zmq.Context[_Socket] = zmq.Context()

    def ask() -> _Socket:
        assert replay is not None
        return connected(context, zmq.DEALER, replay, {zmq.RCVHWM: _MOST_PIECES, **limits, **settings})

    reader = None
    listening = None
    try:
        if replay is not None:
            ask().close()  # an address that is none is said at once
        listening = connected(context, zmq.SUB, address, {zmq.RCVHWM: _MOST_WAITING, **limits, **settings})
        for prefix in _prefixes(topic):
            listening.set(zmq.SUBSCRIBE, prefix.encode())
        order = Order(
            clock, asks=replay is not None, known=known, kept=kept, wants=lambda *stream: is_under(topic, *stream)
        )
        reader = ZeromqReader(listening, None if replay is None else ask, order, clock, overhear)
        yield reader
    finally:
        open_ones = [] if listening is None else [listening]
        if reader is not None:
            open_ones += reader.asking
        close(open_ones, clock)
        end(context, clock)


def _prefixes(topic: str) -> tuple[str, ...]:
    """What to subscribe to: the topic, and the heartbeats of its site where the topic has none of them in it."""
    levels = topic.split("/")
    if len(levels) <= _LEVELS:
        return (topic,)
    beats = "/".join([*levels[:_LEVELS], "heartbeat"])
    return (topic,) if beats.startswith(topic) else (topic, beats)


def is_under(topic: str, source: str, kind: str) -> bool:
    """Whether a stream's topic starts with one, both without the levels of the site."""
    below = "/".join(topic.split("/")[_LEVELS:])
    return (f"{source}/{kind}" if source else kind).startswith(below)
