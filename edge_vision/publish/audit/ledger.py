"""What arrived, by site, boot, source and kind: pure bookkeeping in bounded memory, which knows no network."""

from collections import OrderedDict
from typing import Final

import msgspec

from edge_vision.publish.audit.heads import HEARTBEAT, GapHead, Head
from edge_vision.publish.audit.intervals import Intervals
from edge_vision.publish.audit.latency import Latencies

MOST_STREAMS: Final = 5000
MOST_RANGES: Final = 200_000
MOST_NAMES: Final = 50
"""Reasons and schemas that are counted by name; others are counted together."""
RECENT: Final = 65_536
"""Bodies whose hash is remembered, to compare duplicates with."""
GRACE_MS: Final = 2000.0
"""What a heartbeat names may be under way for so long before it counts as missing."""


class Claims(msgspec.Struct):
    """The highest number that somebody said there is: what counts, and two that were said too lately to count.

    Of two, because those who say it every second must not put off for ever what they said first.
    Times are of the receiver's wall clock.
    """

    counts: int = 0
    said: int = 0
    said_ms: float = 0.0
    newest: int = 0
    newest_ms: float = 0.0

    def note(self, number: int, now_ms: float) -> None:
        """Somebody says that there are numbers up to this one."""
        self.counts = self.at(now_ms)
        if self.said <= self.counts:
            self.said, self.said_ms = number, now_ms
        if number > self.newest:
            self.newest, self.newest_ms = number, now_ms

    def settle(self, number: int) -> None:
        """It is known that there are numbers up to this one, and that none of them is under way."""
        self.counts = max(self.counts, number)
        if number > self.newest:
            self.newest, self.newest_ms = number, 0.0

    def at(self, now_ms: float) -> int:
        """The highest number that should have arrived by now."""
        if now_ms - self.newest_ms >= GRACE_MS:
            return self.newest
        return max(self.counts, self.said if now_ms - self.said_ms >= GRACE_MS else 0)


class Stream(msgspec.Struct):
    """The messages of one source and kind, of one run of a site.

    `wall` is from the capture to the receiver's clock, `own` what the daemon says that it took.
    """

    site: str
    boot: str
    source: str
    kind: str
    owed_from: int = 0
    """The first number that is owed; 0 while it is not known."""
    received: Intervals = msgspec.field(default_factory=Intervals)
    told: Intervals = msgspec.field(default_factory=Intervals)
    """Numbers that gap messages said were lost."""
    told_by: dict[str, int] = {}
    """Numbers lost, by sink and reason, as the gap messages said it."""
    made_up: Intervals = msgspec.field(default_factory=Intervals)
    """Numbers of those received that only a replay socket brought."""
    claims: Claims = msgspec.field(default_factory=Claims)
    out_of_order: int = 0
    same: int = 0
    different: int = 0
    uncompared: int = 0
    wall: Latencies = msgspec.field(default_factory=Latencies)
    own: Latencies = msgspec.field(default_factory=Latencies)


class Boot(msgspec.Struct):
    """One run of a site."""

    site: str
    boot: str
    whole: bool = False
    """It began while we listened: every number from 1 is owed."""
    offline: bool = False
    """It said goodbye."""


class Book(msgspec.Struct):
    """All that a ledger knows, as it is saved."""

    started_ms: float = 0.0
    streams: list[Stream] = []
    boots: list[Boot] = []
    received: int = 0
    retained: int = 0
    redelivered: int = 0
    wills: int = 0
    heartbeats: int = 0
    commands: int = 0
    """What was asked of a site, and its answers."""
    refused: int = 0
    sessions_lost: int = 0
    malformed: dict[str, int] = {}
    unknown_schemas: dict[str, int] = {}
    unnamed_gaps: dict[str, int] = {}
    """Gap messages that do not say what was lost, by sink and reason."""


class Ledger:
    """Takes the heads of messages in the order of their arrival; `now_ms` is the receiver's wall clock.

    `live`: they arrive now. A run that begins then is owed from its first number, and its frames have an age.
    """

    def __init__(self, book: Book, *, live: bool = False) -> None:
        self.book = book
        self._live = live
        self._streams = {(one.site, one.boot, one.source, one.kind): one for one in book.streams}
        self._boots = {(one.site, one.boot): one for one in book.boots}
        self._newest: dict[str, str] = {}
        for one in book.boots:
            self._newest[one.site] = max(one.boot, self._newest.get(one.site, ""))
        self._ranges = sum(one.received.ranges + one.told.ranges + one.made_up.ranges for one in book.streams)
        self._recent: OrderedDict[tuple[int, int], int] = OrderedDict()

    def take(self, head: Head, body: bytes | None, now_ms: float, *, served: bool = False) -> None:
        """Enter a message; without its body, that of a duplicate cannot be compared. `served`: by a replay socket."""
        if head.last is not None:
            self._hear_claims(head, now_ms)
        if head.kind == HEARTBEAT:
            self.book.heartbeats += 1
        elif head.is_will:
            self.book.wills += 1
        else:
            self._enter(head, body, now_ms, served=served)

    def miss(self, head: Head, last: int) -> None:
        """Nobody can make up for the messages of a stream from the number of this head to `last`."""
        stream = self._stream(head, head.boot, head.kind)
        if stream is None:
            self.book.refused += 1
            return
        stream.owed_from = min(stream.owed_from or head.seq, head.seq)
        stream.claims.settle(last)

    def _enter(self, head: Head, body: bytes | None, now_ms: float, *, served: bool) -> None:
        """Enter a message that has a number."""
        if head.gap is not None and head.kind == "gap":
            self._hear_gap(head, head.gap)
        stream = self._stream(head, head.boot, head.kind)
        if stream is None or (self._is_full and not stream.received.touches(head.seq)):
            self.book.refused += 1
            return
        if not self._is_of_use(stream, head.seq, served=served):
            return
        self.book.received += 1
        if head.state == "offline" and head.kind == "status":
            self._boots[head.site, head.boot].offline = True
        received = stream.received
        before, last = received.ranges, received.last
        if not received.add(head.seq):
            self._compare(stream, head.seq, body)
            return
        self._ranges += received.ranges - before
        stream.out_of_order += head.seq < last and not served
        if served:
            self._ranges += _added(stream.made_up, head.seq, head.seq)
        stream.owed_from = stream.owed_from or head.seq
        if body is not None:
            self._remember(stream, head.seq, body)
        if head.frame is not None and self._live:
            stream.wall.add(now_ms - head.frame.timestamp.timestamp() * 1000)
        if head.latency_ms is not None:
            stream.own.add(head.latency_ms.total)

    def find(self, other: Stream) -> Stream | None:
        """The stream of the same site, boot, source and kind."""
        return self._streams.get((other.site, other.boot, other.source, other.kind))

    @property
    def all_offline(self) -> bool:
        """Whether the newest boot of every site that was heard has said goodbye."""
        return bool(self._newest) and all(self._boots[site, boot].offline for site, boot in self._newest.items())

    @property
    def _is_full(self) -> bool:
        return self._ranges >= MOST_RANGES

    def _stream(self, head: Head, boot: str, kind: str) -> Stream | None:
        """The stream of a message; None when there are too many to follow another."""
        key = (head.site, boot, head.source, kind)
        stream = self._streams.get(key)
        if stream is None and len(self._streams) < MOST_STREAMS:
            run = self._boot(head.site, boot)
            stream = Stream(*key, owed_from=1 if run.whole else 0)
            self._streams[key] = stream
            self.book.streams.append(stream)
        return stream

    def _boot(self, site: str, boot: str) -> Boot:
        found = self._boots.get((site, boot))
        if found is None:
            newest = self._newest.get(site, "")
            whole = self._live and bool(newest) and boot > newest and _began_ms(boot) > self.book.started_ms
            found = self._boots[site, boot] = Boot(site, boot, whole)
            self.book.boots.append(found)
            self._newest[site] = max(newest, boot)
        return found

    def _hear_gap(self, head: Head, gap: GapHead) -> None:
        why = f"{gap.sink}: {gap.reason}"
        first, last = gap.first or 0, gap.last or 0
        stream = None
        if gap.lost_kind is not None and 0 < first <= last and not self._is_full:
            stream = self._stream(head, gap.boot or head.boot, gap.lost_kind)
        if stream is None:
            count_name(self.book.unnamed_gaps, why, gap.count or 1)
            return
        fresh = Intervals([first], [last]).without(stream.told).size
        self._ranges += _added(stream.told, first, last)
        count_name(stream.told_by, why, fresh)

    def _hear_claims(self, head: Head, now_ms: float) -> None:
        """A heartbeat names the last number of each source and kind that went out, or was dropped."""
        for said in head.last or ():
            about = msgspec.structs.replace(head, source=said.source)
            stream = self._stream(about, head.boot, said.kind)
            if stream is None:
                self.book.refused += 1
                return
            if not stream.owed_from:
                stream.owed_from = said.seq + 1
            stream.claims.note(said.seq, now_ms)

    def _is_of_use(self, stream: Stream, number: int, *, served: bool) -> bool:
        """Whether a message is new, or a duplicate that counts: not one that was both published and served."""
        if served:
            return number not in stream.received
        if number not in stream.made_up:
            return True
        before = stream.made_up.ranges  # it was under way while it was asked for
        stream.made_up = stream.made_up.without(Intervals([number], [number]))
        self._ranges += stream.made_up.ranges - before
        return False

    def _remember(self, stream: Stream, number: int, body: bytes) -> None:
        self._recent[id(stream), number] = hash(body)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _compare(self, stream: Stream, number: int, body: bytes | None) -> None:
        """Count a duplicate, by whether it says the same."""
        known = self._recent.get((id(stream), number))
        if known is None or body is None:
            stream.uncompared += 1
        elif known == hash(body):
            stream.same += 1
        else:
            stream.different += 1


def _added(to: Intervals, first: int, last: int) -> int:
    """Add numbers; how many ranges more there are."""
    before = to.ranges
    to.add_range(first, last)
    return to.ranges - before


def count_name(names: dict[str, int], name: str, amount: int = 1) -> None:
    """Count by name; names beyond the first few together."""
    if name not in names and len(names) >= MOST_NAMES:
        name = "others"
    names[name] = names.get(name, 0) + amount


def _began_ms(boot: str) -> float:
    """When a run began, by its own clock: its name starts with that; 0 where it does not."""
    try:
        return float(int(boot[:12], 16))
    except ValueError:
        return 0.0
