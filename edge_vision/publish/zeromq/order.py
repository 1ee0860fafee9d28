"""Puts what a subscriber hears in order, and finds out what it has not heard: the thinking half of the reader."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeAlias

import msgspec

from edge_vision.core.message import Message
from edge_vision.publish.zeromq.words import Answer, HeartbeatMessage, Request
from edge_vision.runtime.clock import Clock

Stream: TypeAlias = tuple[str, str, str]
"""Boot, source and kind: what is numbered from 1 without a gap."""

_MOST_HELD_BYTES: Final = 64_000_000
"""Messages that wait for one before them; beyond, that one is given up."""
_TRIES: Final = 4
"""How often a gap is asked for: what has just been published may not be on disk yet."""
_PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
_MOST_BOOTS: Final = 64


@dataclass(frozen=True, slots=True)
class Missed:
    """Numbers of a stream that did not come and cannot be had: from `first` to `last`."""

    boot: str
    source: str
    kind: str
    first: int
    last: int


@dataclass(slots=True)
class _State:
    """How far a stream has come: the next number to hand on, the last one known of, and what waits."""

    next: int
    last: int
    new: bool = True
    held: dict[int, Message] = field(default_factory=dict)
    tries: int = 0
    again_ns: int = 0


class Order:
    """Messages in, messages and losses out: in order, once each. Has no socket; `question` says what to ask for.

    `known` is how far an earlier reader had come; `kept` begins with whatever is kept instead of with now.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        asks: bool,
        known: Mapping[Stream, int] | None = None,
        kept: bool = False,
        wants: Callable[[str, str], bool] = lambda _source, _kind: True,
    ) -> None:
        self._clock = clock
        self._asks = asks
        self._kept = kept
        self._wants = wants
        self._newest_known = max((boot for boot, _, _ in known or ()), default="")
        self._streams = {stream: _State(seq + 1, seq, new=False) for stream, seq in (known or {}).items()}
        self._whole = {boot: True for boot, _, _ in self._streams}
        self._settled = dict.fromkeys(self._whole, True)
        self._old: set[str] = set()
        self._gaps: dict[Stream, None] = {}
        self._held_bytes = 0
        self._served: frozenset[str] | None = None
        self._ranges_known = False
        self._ranges_due = asks
        self._ranges_again_ns = 0
        self._ready: list[Message | Missed] = []

    @property
    def positions(self) -> dict[Stream, int]:
        """The last number handed on of every stream: give it to the next reader as `known`."""
        return {stream: state.next - 1 for stream, state in self._streams.items()}

    @property
    def settled(self) -> bool:
        """Whether nothing is to be asked for: all that was told of has come, or is missed."""
        return not (self._gaps or self._ranges_due)

    def take(self) -> list[Message | Missed]:
        """What can be handed on now."""
        ready, self._ready = self._ready, []
        return ready

    def hear(self, message: Message) -> None:
        """A message, published or served again."""
        stream = message.boot, message.source, message.kind
        state = self._streams.get(stream)
        if state is None:
            whole = self._meet(message.boot) or self._settled.get(message.boot, False)
            state = self._streams[stream] = _State(1 if whole else message.seq, message.seq)
        if state.new and message.seq < state.next:  # on its way to us while its number was told
            state.next = message.seq
        state.last = max(state.last, message.seq)
        if message.seq >= state.next and message.seq not in state.held:
            state.held[message.seq] = message
            self._held_bytes += message.weight
        self._advance(stream, state)

    def heartbeat(self, beat: HeartbeatMessage) -> None:
        """How far the site has come: whatever was before that has been published, or lost."""
        whole = self._meet(beat.boot) or self._settled.get(beat.boot, False)
        self._settled[beat.boot] = True
        for last in beat.last:
            if self._wants(last.source, last.kind):
                self._told((beat.boot, last.source, last.kind), last.seq, 1 if whole else last.seq + 1)

    def question(self) -> Request | None:
        """What to ask the replay socket now, if anything."""
        now_ns = self._clock.monotonic_ns()
        if self._ranges_due and now_ns >= self._ranges_again_ns:
            return Request(ranges=True)
        for stream in self._gaps:
            state = self._streams[stream]
            if now_ns >= state.again_ns:
                boot, source, kind = stream
                return Request(boot=boot, source=source, kind=kind, first=state.next, last=self._end(state))
        return None

    def answered(self, request: Request, answer: Answer) -> None:
        """The end of an answer, after what it brought was heard; an error is one that brought nothing."""
        if request.ranges:
            if answer.done and answer.ranges is not msgspec.UNSET:
                self._learn(answer)
            else:
                self._ranges_again_ns = self._clock.monotonic_ns() + int(_PAUSES_S[-1] * 1e9)
            return
        stream = request.boot, request.source, request.kind
        state = self._streams.get(stream)
        if state is None or stream not in self._gaps or (request.last is not None and state.next > request.last):
            return  # it is whole
        if state.next > request.first:
            state.tries = 0
        state.again_ns = self._clock.monotonic_ns() + int(_PAUSES_S[min(state.tries, len(_PAUSES_S) - 1)] * 1e9)
        state.tries += 1
        if state.tries >= _TRIES:
            self._give_up(stream, state)

    def _meet(self, boot: str) -> bool:
        """Note a boot; whether everything of it counts, from number 1 on."""
        if boot not in self._whole:
            later = bool(self._whole) or (self._newest_known != "" and boot > self._newest_known)
            self._whole[boot] = (later and boot not in self._old) or self._kept
            self._old.discard(boot)
            self._ranges_due |= self._asks and self._ranges_known
            for oldest in list(self._whole)[:-_MOST_BOOTS]:
                self._forget(oldest)
        return self._whole[boot]

    def _forget(self, boot: str) -> None:
        for stream in [stream for stream in self._streams if stream[0] == boot]:
            state = self._streams[stream]
            if stream in self._gaps:
                self._give_up(stream, state)
            del self._streams[stream]
        self._whole.pop(boot, None)
        self._settled.pop(boot, None)
        self._old.add(boot)

    def _learn(self, answer: Answer) -> None:
        """What is kept: boots that came and went unheard, and how far those that we know came."""
        assert answer.ranges is not msgspec.UNSET
        self._ranges_due, first_time = False, not self._ranges_known
        self._ranges_known = True
        self._served = None if answer.kinds is msgspec.UNSET else frozenset(answer.kinds)
        came = self._newest_known or next(iter(self._whole), "")  # boots sort by time
        for row in answer.ranges if first_time and not self._kept else ():
            if row.boot not in self._whole and (not came or row.boot < came):
                self._old.add(row.boot)  # it ended before we came
        for row in answer.ranges:
            if row.boot in self._old or not self._wants(row.source, row.kind):
                continue
            begin = 1 if self._meet(row.boot) else row.last + 1
            self._told((row.boot, row.source, row.kind), row.last, row.first if first_time and self._kept else begin)
        self._ranges_due = False
        for stream in [stream for stream in self._gaps if not self._may_be_had(stream[2])]:
            self._give_up(stream, self._streams[stream])

    def _told(self, stream: Stream, last: int, begin: int) -> None:
        """Something was numbered up to `last`; of a stream not met before `begin` is the first number that counts."""
        state = self._streams.get(stream)
        if state is None:
            state = self._streams[stream] = _State(begin, last)
        if state.new:
            state.next = max(state.next, min(begin, *state.held) if state.held else begin)
        state.last = max(state.last, last)
        self._advance(stream, state)

    def _advance(self, stream: Stream, state: _State) -> None:
        """Hand on what is next; note a gap, or call it a loss where nobody can fill it."""
        for _ in count():
            self._release(state)
            if state.next > state.last:
                self._gaps.pop(stream, None)
                state.tries, state.again_ns = 0, 0
                return
            if self._asks and self._may_be_had(stream[2]) and self._held_bytes <= _MOST_HELD_BYTES:
                self._gaps.setdefault(stream)
                return
            self._lose(stream, state)

    def _release(self, state: _State) -> None:
        for seq in count(state.next):
            message = state.held.pop(seq, None)
            if message is None:
                return
            self._held_bytes -= message.weight
            self._ready.append(message)
            state.next, state.new = seq + 1, False

    def _may_be_had(self, kind: str) -> bool:
        return self._served is None or kind in self._served

    def _end(self, state: _State) -> int:
        """The last number of the first gap."""
        return min(state.held, default=state.last + 1) - 1

    def _lose(self, stream: Stream, state: _State) -> None:
        """The first gap of a stream is a loss."""
        end = self._end(state)
        self._ready.append(Missed(*stream, state.next, end))
        state.next, state.new, state.tries, state.again_ns = end + 1, False, 0, 0

    def _give_up(self, stream: Stream, state: _State) -> None:
        """What was behind the first gap of a stream goes on."""
        self._lose(stream, state)
        self._advance(stream, state)


def lost(found: Iterable[Message | Missed]) -> int:
    """How many numbers are missed in what a reader brought."""
    return sum(one.last - one.first + 1 for one in found if isinstance(one, Missed))
