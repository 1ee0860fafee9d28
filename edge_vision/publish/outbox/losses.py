"""What a sink will never get, gathered into as few gap records as there are gaps."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from edge_vision.core.message import Message
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.rows import Range
from edge_vision.publish.wire import Gap

_log = logging.getLogger(__name__)

_TELL_NS: Final = 10_000_000_000
"""How long losses of one sink and reason are gathered after they were told."""
_SAY_NS: Final = 60_000_000_000
"""How often the log has the losses of one sink and reason."""
_MOST: Final = 1_000
"""Gaps that are kept apart until they are told; further ones are told as one that spans them."""


class _Untold(msgspec.Struct):
    """What the file keeps of losses until gap records of them are in it."""

    gaps: list[tuple[str, Gap]]
    records: list[Message]


class _Told(msgspec.Struct):
    """What a gap record says."""

    gap: Gap


def _spanning(one: Gap, other: Gap) -> Gap:
    """A gap in the place of two of the same sink, reason, boot and kind."""
    firsts, lasts = ([getattr(gap, name) or 0 for gap in (one, other)] for name in ("first", "last"))
    count = None if one.count is None or other.count is None else one.count + other.count
    return Gap(one.sink, one.reason, count, one.boot, one.lost_kind, min(firsts) or None, max(lasts) or None)


def _told_by(records: Sequence[Message]) -> Iterator[tuple[str, Gap]]:
    """What gap records say, with their source; nothing of one that cannot be read."""
    for record in records:
        with suppress(msgspec.DecodeError):
            yield record.source, msgspec.json.decode(record.body, type=_Told).gap


@dataclass(slots=True)
class _Run:
    first: int
    last: int
    count: int


class Losses:
    """Runs of lost messages by sink, reason, boot, source and kind. Used under the outbox's lock.

    What is told stays here until its gap records are on disk: a process that is killed before leaves it to the next.
    `now_ns` is of the monotonic clock.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str, str, str], list[_Run]] = {}
        self._number = 0
        self._whole: list[tuple[str, Gap]] = []
        self._records: dict[str, Message] = {}
        self._next_ns: dict[tuple[str, str], int] = {}
        self._telling = _Untold([], [])
        self._telling_last = 0

    def add(self, sink: str, reason: str, lost: Range) -> None:
        """Note that messages of one boot, source and kind are lost; neighbors make one gap."""
        runs = self._runs.setdefault((sink, reason, lost.boot, lost.source, lost.kind), [])
        if runs and (lost.first == runs[-1].last + 1 or self._number >= _MOST):
            run = runs[-1]
            run.first, run.last = min(run.first, lost.first), max(run.last, lost.last)
            run.count += lost.count
            return
        runs.append(_Run(lost.first, lost.last, lost.count))
        self._number += 1

    def lose(self, feed: Feed, reason: str, lost: Range) -> None:
        """Count what a feed will not get, and note it. The outbox's lock is held."""
        feed.lost[f"{lost.source}/{lost.kind}" if lost.source else lost.kind] += lost.count
        if lost.kind != "gap":  # of a lost gap record no other would arrive either
            self.add(feed.name, reason, lost)

    def pass_over(self, feed: Feed, reason: str, message: Message) -> None:
        """The same of a message that a feed never had in hand; a gap record comes once more instead."""
        if message.kind == "gap":
            self.repeat(message)
        else:
            self.lose(feed, reason, Range.of(message))

    def repeat(self, record: Message) -> None:
        """Let a gap record come once more, behind all the others: what it tells would be lost untold with it."""
        self._records[record.id] = record

    def gather(self, records: Sequence[Message], *, spanning: bool) -> bool:
        """Tell anew, in fewer gap records, what these tell; whether less than half as many do.

        Neighbors are joined; where `spanning`, also what has others between, of which the same is said then.
        """
        joined: dict[tuple[str, ...], list[Gap]] = {}
        for source, gap in sorted(_told_by(records), key=lambda one: one[1].first or 0):
            runs = joined.setdefault((source, gap.sink, gap.reason, gap.boot or "", gap.lost_kind or ""), [])
            if runs and (spanning or (gap.first or 1) == (runs[-1].last or 0) + 1):
                runs[-1] = _spanning(runs[-1], gap)
            else:
                runs.append(gap)
        gathered = [(source, gap) for (source, *_), runs in joined.items() for gap in runs]
        if 2 * len(gathered) >= len(records):
            return False
        self._whole.extend(gathered)
        return True

    def sum_up(self, records: Sequence[Message], more: Sequence[Gap]) -> None:
        """Tell anew how many these tell, and `more`, without numbers: one gap record for each sink and reason."""
        sums: dict[tuple[str, str], Gap] = {}
        for gap in [*(gap for _, gap in _told_by(records)), *more]:
            key, bare = (gap.sink, gap.reason), Gap(gap.sink, gap.reason, gap.count)
            sums[key] = _spanning(sums[key], bare) if key in sums else bare
        self._whole.extend(("", gap) for gap in sums.values())

    def lose_unknown(self, feed: Feed, count: int | None, reason: str) -> None:
        """The same of messages of which nothing is known any more, but perhaps how many."""
        if count is None or count > 0:
            feed.lost["unknown"] += count or 0
            self._whole.append(("", Gap(feed.name, reason, count)))

    def find(self, feeds: Sequence[Feed], kept: Callable[[Feed, int], int], reason: str, *, in_hand: bool) -> None:
        """Count what feeds still have to deliver, and is not kept any more; with what is in hand, or without.

        `kept` counts what is kept for a feed after a number. The outbox's lock is held. Raises OutboxError.
        """
        for feed in feeds:
            begun, held = (feed.settled, 0) if in_hand else (feed.handed, feed.in_hand)
            missing = max(0, feed.waiting - held - kept(feed, begun))
            feed.waiting -= missing
            self.lose_unknown(feed, missing, reason)

    @property
    def noted(self) -> bool:
        """Whether anything is not told yet, or its gap record not on disk."""
        return bool(self or self._telling.gaps or self._telling.records)

    def __bool__(self) -> bool:
        return bool(self._runs or self._whole or self._records)

    def take(self, now_ns: int, *, blocked: bool, everything: bool) -> tuple[list[tuple[str, Gap]], list[Message]]:
        """What is to be told now: gaps with their sources, and gap records that are to come once more.

        Of one sink and reason at once, and then what was gathered in ten seconds; `everything` where there is no later.
        While the disk is `blocked` the records, too, wait so long: they would push each other out of memory.
        """
        due: dict[tuple[str, str], bool] = {}

        def is_due(sink: str, reason: str) -> bool:
            return due.setdefault((sink, reason), everything or now_ns >= self._next_ns.get((sink, reason), now_ns))

        gaps = [one for one in self._whole if is_due(one[1].sink, one[1].reason)]
        self._whole = [one for one in self._whole if not is_due(one[1].sink, one[1].reason)]
        for key in [key for key in self._runs if is_due(key[0], key[1])]:
            gaps += _gaps_of(key, self._runs[key])
            self._number -= len(self._runs.pop(key))
        records: list[Message] = []
        if self._records and (is_due("", "") or not blocked):
            records, self._records = list(self._records.values()), {}
        if len(self._next_ns) > _MOST:
            self._next_ns.clear()
        self._next_ns.update((key, now_ns + _TELL_NS) for key, now in due.items() if now)
        self._telling.gaps += gaps
        self._telling.records += records
        return gaps, records

    def told(self, last: int) -> None:
        """What was taken has become messages, numbered up to this."""
        self._telling_last = last

    def written(self, up_to: int) -> None:
        """Messages up to a number are on disk."""
        if self._telling_last <= up_to:
            self._telling = _Untold([], [])

    def untold(self, up_to: int = 0) -> bytes:
        """What a process that ends now leaves to the next to be told, when messages up to a number are on disk."""
        told = _Untold([], []) if 0 < self._telling_last <= up_to else self._telling
        gaps = told.gaps + self._whole + [gap for key, runs in self._runs.items() for gap in _gaps_of(key, runs)]
        records = [*told.records, *self._records.values()]
        return msgspec.msgpack.encode(_Untold(gaps, records)) if gaps or records else b""

    def recall(self, untold: bytes) -> None:
        """Tell what an earlier process left."""
        if untold:
            left = msgspec.msgpack.decode(untold, type=_Untold)
            self._whole += left.gaps
            self._records.update((record.id, record) for record in left.records)


def _gaps_of(key: tuple[str, str, str, str, str], runs: Sequence[_Run]) -> list[tuple[str, Gap]]:
    """Gaps with their source."""
    sink, reason, boot, source, kind = key
    return [(source, Gap(sink, reason, run.count, boot, kind, run.first, run.last)) for run in runs]


class LossLog:
    """Says losses in the log: of one sink and reason at once, and then once a minute how many there were meanwhile.

    `now_ns` is of the monotonic clock.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], tuple[int, int]] = {}

    def say(self, gaps: Sequence[Gap], now_ns: int) -> None:
        """Say gaps, or count them."""
        if len(self._said) > _MOST:
            self._said.clear()
        for gap in gaps:
            count, next_ns = self._said.get((gap.sink, gap.reason), (0, now_ns))
            self._said[gap.sink, gap.reason] = count + (gap.count or 0), next_ns
        for sink, reason in dict.fromkeys((gap.sink, gap.reason) for gap in gaps):
            count, next_ns = self._said[sink, reason]
            if now_ns >= next_ns:
                _log.error("outbox: %s: %s messages lost: %s", sink, count or "an unknown number of", reason)
                self._said[sink, reason] = 0, now_ns + _SAY_NS
