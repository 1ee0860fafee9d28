"""What a ledger amounts to: the loss, by stream, and whether there was any."""

from collections.abc import Collection
from typing import Any, Final, Literal

import msgspec

from edge_vision.publish.audit.heads import HEARTBEAT
from edge_vision.publish.audit.intervals import Intervals, Range
from edge_vision.publish.audit.latency import Latencies
from edge_vision.publish.audit.ledger import Ledger, Stream

UNOWED: Final = frozenset({"detections", "status", HEARTBEAT})
"""Kinds of which a loss is none. Of detections the freshest count; ZeroMQ sends the first statuses before anybody who
waited for the site has joined again.
"""
UNOWED_BY_A_BROKER: Final = UNOWED - {"status"}
"""The same over MQTT, where statuses wait in the outbox like events."""
MOST_RANGES_SHOWN: Final = 20
NO_LOSS: Final = 0
LOSS: Final = 1
NOTHING: Final = 3


class Missing(msgspec.Struct):
    """Numbers that did not arrive: how many, and the first ranges of them."""

    count: int
    ranges: list[Range]


class Duplicates(msgspec.Struct):
    """Messages that came again: with the same body, another one, or too late to be compared."""

    same: int
    different: int
    uncompared: int


class StreamReport(msgspec.Struct):
    """One source and kind, of one run of a site; `counts` says whether it decides the verdict.

    Percentiles of `wall_ms` are from the capture to the receiver's clock, those of `own_ms` inside the daemon.
    """

    site: str
    boot: str
    source: str
    kind: str
    counts: bool
    received: int
    owed_from: int
    first: int
    last: int
    missing: Missing
    made_up: Missing
    """What only a replay socket brought: received, and no loss."""
    told: Missing
    told_by: dict[str, int]
    duplicates: Duplicates
    out_of_order: int
    wall_ms: dict[str, float]
    own_ms: dict[str, float]


class Lacking(msgspec.Struct):
    """Messages of the file of what was expected that did not arrive."""

    site: str
    boot: str
    source: str
    kind: str
    expected: int
    missing: Missing


class Report(msgspec.Struct):
    """The whole audit."""

    verdict: Literal["no loss", "loss", "nothing received"]
    received: int
    missing: int
    made_up: int
    told: int
    duplicates: Duplicates
    out_of_order: int
    streams: list[StreamReport]
    expected: list[Lacking] | None
    wall_ms: dict[str, float]
    own_ms: dict[str, float]
    retained: int
    redelivered: int
    wills: int
    heartbeats: int
    commands: int
    sessions_lost: int
    refused: int
    malformed: dict[str, int]
    unknown_schemas: dict[str, int]
    unnamed_gaps: dict[str, int]
    notes: list[str] = []

    @property
    def exit_code(self) -> int:
        """0 no loss, 1 loss, 3 nothing received of what counts."""
        return {"no loss": NO_LOSS, "loss": LOSS, "nothing received": NOTHING}[self.verdict]


class Scope(msgspec.Struct, frozen=True):
    """What decides: the kinds, all but those nobody owes if none are given, and whether every beginning is owed."""

    kinds: Collection[str] | None = None
    from_start: bool = False
    unowed: Collection[str] = UNOWED
    told_before: bool = True
    """Whether losses count that are told of numbers before the beginning: not where other sinks than ours tell them."""

    def counts(self, kind: str) -> bool:
        """Whether a loss of this kind is a loss."""
        return kind not in self.unowed if self.kinds is None else not self.kinds or kind in self.kinds

    def proves(self, kind: str) -> bool:
        """Whether to have received this kind, and no loss, is worth a word: a site that is up tells statuses anyway."""
        return self.counts(kind) and (self.kinds is not None or kind not in UNOWED)


def make_report(ledger: Ledger, scope: Scope, now_ms: float, expected: Ledger | None = None) -> Report:
    """What the ledger amounts to now; `now_ms` is infinite when nothing can be under way any more."""
    book = ledger.book
    streams = sorted(book.streams, key=lambda one: (one.site, one.boot, one.source, one.kind))
    rows = [_row(one, scope, now_ms) for one in streams]
    lacking = None if expected is None else _lacking(ledger, expected, scope)
    wall, own = Latencies({}), Latencies({})
    for stream in streams:
        wall.merge(stream.wall)
        own.merge(stream.own)
    deciding = [row for row in rows if row.counts]
    lost = (
        any(row.missing.count or row.told.count or row.duplicates.different for row in deciding)
        or bool(lacking)
        or bool(book.refused)
        or bool(book.unnamed_gaps)
    )
    nothing = not any(row.received for row in deciding if scope.proves(row.kind))
    return Report(
        "loss" if lost else "nothing received" if nothing else "no loss",
        book.received,
        sum(row.missing.count for row in deciding),
        sum(row.made_up.count for row in deciding),
        sum(row.told.count for row in deciding),
        Duplicates(
            sum(row.duplicates.same for row in deciding),
            sum(row.duplicates.different for row in deciding),
            sum(row.duplicates.uncompared for row in deciding),
        ),
        sum(row.out_of_order for row in deciding),
        rows,
        lacking,
        wall.facts(),
        own.facts(),
        book.retained,
        book.redelivered,
        book.wills,
        book.heartbeats,
        book.commands,
        book.sessions_lost,
        book.refused,
        book.malformed,
        book.unknown_schemas,
        book.unnamed_gaps,
    )


def _row(stream: Stream, scope: Scope, now_ms: float) -> StreamReport:
    received, told = stream.received, stream.told
    start = 1 if scope.from_start else stream.owed_from
    if not scope.told_before:
        told = told.without(Intervals.of([(1, start - 1 if start else told.last)]))
    end = max(received.last, told.last, stream.claims.at(now_ms))
    missing = received.holes(start, end).without(told) if start else Intervals([], [])
    return StreamReport(
        stream.site,
        stream.boot,
        stream.source,
        stream.kind,
        scope.counts(stream.kind),
        received.size,
        start,
        received.first,
        received.last,
        _shown(missing),
        _shown(stream.made_up),
        _shown(told.without(received)),
        stream.told_by,
        Duplicates(stream.same, stream.different, stream.uncompared),
        stream.out_of_order,
        stream.wall.facts(),
        stream.own.facts(),
    )


def _lacking(ledger: Ledger, expected: Ledger, scope: Scope) -> list[Lacking]:
    """What was expected, from the first number of each stream to its last, and is not there."""
    found = []
    for wanted in expected.book.streams:
        stream = ledger.find(wanted)
        numbers = wanted.received
        received = stream.received if stream else Intervals([], [])
        missing = received.holes(numbers.first, numbers.last) if numbers.ranges else Intervals([], [])
        if missing.ranges and scope.counts(wanted.kind):
            count = numbers.last - numbers.first + 1
            found.append(Lacking(wanted.site, wanted.boot, wanted.source, wanted.kind, count, _shown(missing)))
    return found


def _shown(missing: Intervals) -> Missing:
    return Missing(missing.size, [one for one, _ in zip(missing, range(MOST_RANGES_SHOWN), strict=False)])


def facts(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain
