"""Keeps the outbox within its limits: what nobody needs goes, and then the oldest."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper
from edge_vision.publish.outbox.losses import Losses
from edge_vision.publish.outbox.rows import Range
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap

_MOST: Final = 20_000
"""Messages that one look deletes, at most: the writer must not be busy with that for long."""
_PART: Final = 20
"""When the outbox is full, this part of it goes at once: a twentieth."""
_STEP: Final = 2_000
"""Messages that are counted as lost at once: nothing can be put meanwhile."""
_CAREFUL: Final = 500
"""Messages that are deleted at once on a full disk: the log grows with them before the file is rid of them."""
_ROUNDS: Final = 40
_CAREFUL_BYTES: Final = 100_000
_GATHERED: Final = "gathered into fewer gap records"
_NO_WEIGHT: Final = 2**62
"""More than anything weighs."""


class Trimmer:
    """Deletes what every sink has, and what lies beyond the limits; used by the thread that writes.

    What a feed will not get is noted under the lock.
    """

    def __init__(
        self,
        options: OutboxOptions,
        lock: threading.Lock,
        feeds: Sequence[Feed],
        keepers: Sequence[Keeper],
        losses: Losses,
    ) -> None:
        self._options = options
        self._lock = lock
        self._feeds = feeds
        self._keepers = keepers
        self._losses = losses
        self._deleted: dict[tuple[str, ...], int] = {}
        self._turned = 0
        """Bytes of gap records that came once more since a cut last made room."""

    def forget(self) -> None:
        """The file is a new one."""
        self._deleted.clear()

    def tidy(self, store: Store, settled: Mapping[str, int], committed: int) -> None:
        """Let go of what no sink owes any more; what one still owed that is not in the site file any more is told."""
        now = {feed.name: feed.kinds for feed in self._feeds}
        wants: list[Feed | Keeper] = [*self._feeds, *self._keepers]
        wanted = {kind for one in wants for kind in one.kinds}
        for name, owed in store.read_kinds().items():
            reason = "the site no longer keeps such messages for it" if name in now else "the site has no such sink"
            unowed = [kind for kind in owed if kind not in now.get(name, ())]
            ranges = store.ranges(unowed, settled.get(name, 0), committed) if unowed else ()
            with self._lock:
                for lost in ranges:
                    if lost.kind != "gap":
                        self._losses.add(name, reason, lost)
            if any(lost.kind == "gap" for lost in ranges):
                self._hand_on_records(store, settled.get(name, 0), committed)
        with self._lock:
            untold = self._losses.untold()
        with store.transaction():
            store.note_untold(untold)
            store.forget([name for name in settled if name not in now])
            store.delete_others([kind for kind in MESSAGE_KINDS if kind in wanted])

    def _hand_on_records(self, store: Store, after: int, committed: int) -> None:
        """Let gap records come once more, for the sinks there are: one may have the subscribers of that which went."""
        for _ in range(_NO_WEIGHT):
            rows, after = store.read(after, committed, ("gap",), _STEP)
            records = [row.message for row in rows]
            with self._lock:
                if len(records) < _STEP:
                    for record in records:
                        self._losses.repeat(record)
                elif not self._losses.gather(records, spanning=True):
                    self._losses.sum_up(records, ())
            if after >= committed:
                break

    def trim(self, store: Store, lived_s: float, committed: int, *, full: bool = False) -> bool:
        """Look once, with small steps on a full disk; whether there is more to do at once. Raises OutboxError."""
        most = _CAREFUL if full else _MOST
        with self._lock:
            for feed in self._feeds:
                feed.mark(lived_s)
        more = self._drop_settled(store, lived_s, committed, most)
        oldest = store.number_at(lived_s - self._options.max_age_h * 3600.0) - 1
        if oldest >= store.first() > 0:
            self._cut(store, oldest, f"older than {self._options.max_age_h:g} h")
        if store.used_bytes() > self._options.max_mb * 1_000_000:
            more |= self._drop_settled(store, None, committed, most)
            if store.used_bytes() > self._options.max_mb * 1_000_000:
                more |= self._cut_part(store, committed, f"the outbox is full at {self._options.max_mb:g} MB")
        return more

    def make_room(self, store: Store, committed: int, *, cut: bool) -> bool:
        """Make room inside the file on a full disk; whether there is any now. Raises OutboxError.

        What every sink has goes; where that is nothing, and `cut`, the oldest.
        """
        before = store.free_pages()
        for _ in range(_ROUNDS):
            store.merge_log()
            if not self._drop_settled(store, None, committed, _CAREFUL):
                break
        if cut and store.free_pages() <= before:
            self._cut_part(store, committed, "the disk is full")
        store.merge_log()
        return store.free_pages() > before

    def _groups(self) -> Iterator[tuple[tuple[str, ...], list[Feed], float]]:
        """Kinds that the same sinks owe and the same others want kept; those sinks; how long the others want them."""
        wants: list[Feed | Keeper] = [*self._feeds, *self._keepers]
        groups: dict[tuple[str, ...], list[str]] = {}
        for kind in MESSAGE_KINDS:
            groups.setdefault(tuple(one.name for one in wants if kind in one.kinds), []).append(kind)
        for names, kinds in groups.items():
            keep_s = max((keeper.keep_s for keeper in self._keepers if keeper.name in names), default=0.0)
            yield tuple(kinds), [feed for feed in self._feeds if feed.name in names], keep_s

    def _drop_settled(self, store: Store, lived_s: float | None, committed: int, most: int) -> bool:
        """Delete what every sink that owes it has.

        What one has for less than its `keep_s`, or what is younger than another wants, only when `lived_s` is None.
        """
        more = False
        deleted: dict[tuple[str, ...], int] = {}
        with store.transaction():
            for kinds, feeds, keep_s in self._groups():
                with self._lock:
                    far = [feed.settled if lived_s is None else feed.settled_long(lived_s) for feed in feeds]
                last = min(far, default=committed)
                if lived_s is not None and keep_s > 0:
                    last = min(last, store.number_at(lived_s - keep_s) - 1)
                last = min(last, committed)
                done = self._deleted.get(kinds, store.first() - 1)
                if last > done:
                    weight = _CAREFUL_BYTES if most == _CAREFUL else _NO_WEIGHT
                    until = min(last, store.reach(done, weight, most))
                    until = last if until <= done else until
                    store.delete(done, until, kinds)
                    deleted[kinds] = until
                    more |= until < last
        self._deleted.update(deleted)  # only now: a full disk may have undone it
        return more

    def _cut_part(self, store: Store, committed: int, reason: str) -> bool:
        """Delete the oldest part; whether that made room: gap records that come once more do not."""
        part, first = max(1, store.used_bytes() // _PART), store.first()
        with self._lock:  # what is in hand does not go, and no room is made by it
            begun = max([first - 1, *(feed.handed for feed in self._feeds if feed.in_hand and feed.settled < first)])
        return self._cut(store, min(committed, store.reach(begun, part, _NO_WEIGHT)), reason)

    def _cut(self, store: Store, last: int, reason: str) -> bool:
        """Delete everything up to a number but what is in a sink's hands; who did not get it is told."""
        first, made_room = store.first() - 1, False
        for _ in range(_NO_WEIGHT):
            first = min(last, store.reach(first, _NO_WEIGHT, _STEP))
            made_room |= self._cut_step(store, first, reason)
            if first >= last:
                break
        return made_room

    def _cut_step(self, store: Store, last: int, reason: str) -> bool:
        with self._lock:
            spared = [(feed.settled + 1, feed.handed) for feed in self._feeds if feed.in_hand]
            behind = [(feed, feed.handed) for feed in self._feeds if feed.handed < last]
            lost = [(feed, store.ranges(feed.kinds, handed, last)) for feed, handed in behind]
            repeated = self._save_records(store, last, lost)
            for feed, ranges in lost:
                for one in ranges:
                    if one.kind != "gap" or not repeated:
                        self._losses.lose(feed, reason, one)
                feed.skip(last, sum(one.count for one in ranges))
            untold = self._losses.untold()
        with store.transaction():  # in one: a process that is killed has cut and can tell, or neither
            store.delete(0, last, MESSAGE_KINDS, spared)
            store.note_untold(untold)  # behind it: on a full disk it takes the room of what went
        return not repeated or any(one.kind != "gap" for _, ranges in lost for one in ranges)

    def _save_records(self, store: Store, last: int, lost: Sequence[tuple[Feed, list[Range]]]) -> bool:
        """Keep what gap records tell that are about to go; whether they come once more as they are.

        Many of them are gathered into few: else there would be no room for anything else in the end. Where they cannot
        be, they come once more, too, unless half of the outbox is such records: then they are joined over what lies
        between, or tell no numbers any more.
        """
        gaps = [(feed, one) for feed, ranges in lost for one in ranges if one.kind == "gap"]
        if not gaps:
            return False
        records = [row.message for row in store.read(min(feed.handed for feed, _ in gaps), last, ("gap",), _STEP)[0]]
        others = sum(one.count for _, ranges in lost for one in ranges if one.kind != "gap")
        few, crowded = sum(one.count for _, one in gaps) <= others, self._turned > store.used_bytes() // 2
        if not few and self._losses.gather(records, spanning=crowded):
            for feed, one in gaps:
                self._losses.add(feed.name, _GATHERED, one)
            return False
        if not few and crowded:
            self._losses.sum_up(records, [Gap(feed.name, _GATHERED, one.count) for feed, one in gaps])
            return False
        self._turned = 0 if few else self._turned + sum(record.weight for record in records)
        for record in records:
            self._losses.repeat(record)
        return True
