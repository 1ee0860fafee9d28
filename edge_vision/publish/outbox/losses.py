"""What a sink will never get, gathered into as few gap records as there are gaps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.store import Range
from edge_vision.publish.wire import Gap

_MOST: Final = 1_000
"""Gaps that are kept apart until they are told; further ones are told as one that spans them."""


@dataclass(slots=True)
class _Run:
    first: int
    last: int
    count: int


class Losses:
    """Runs of lost messages by sink, reason, boot, source and kind."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, str, str, str], list[_Run]] = {}
        self._number = 0
        self._unknown: list[tuple[str, Gap]] = []

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

    def lose_unknown(self, feed: Feed, count: int | None, reason: str) -> None:
        """The same of messages of which nothing is known any more, but perhaps how many."""
        if count is None or count > 0:
            feed.lost["unknown"] += count or 0
            self._unknown.append(("", Gap(feed.name, reason, count)))

    def find(self, feeds: Sequence[Feed], kept: Callable[[Feed, int], int], reason: str, *, in_hand: bool) -> None:
        """Count what feeds still have to deliver, and is not kept any more; with what is in hand, or without.

        `kept` counts what is kept for a feed after a number. The outbox's lock is held. Raises OutboxError.
        """
        for feed in feeds:
            begun, held = (feed.settled, 0) if in_hand else (feed.handed, feed.in_hand)
            missing = max(0, feed.waiting - held - kept(feed, begun))
            feed.waiting -= missing
            self.lose_unknown(feed, missing, reason)

    def __bool__(self) -> bool:
        return bool(self._runs or self._unknown)

    def gaps(self) -> Iterator[tuple[str, Gap]]:
        """Each gap with its source, and nothing is left to be told."""
        runs, self._runs, self._number = self._runs, {}, 0
        unknown, self._unknown = self._unknown, []
        yield from unknown
        for (sink, reason, boot, source, kind), gaps in runs.items():
            for run in gaps:
                yield source, Gap(sink, reason, run.count, boot, kind, run.first, run.last)
