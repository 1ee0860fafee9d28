"""Checks that losses are told: not each by itself, and also when the process is killed before it could."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from conftest import wait_until

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.losses import Losses
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.rows import Range, Row
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import FakeClock

_KINDS = ("verdict", "gap")


def verdict(seq: int, size: int = 40) -> Message:
    """A message of so many bytes."""
    return Message(f"b1-gate-verdict-{seq}", "b1", seq, "verdict", "gate", "t", b"x" * size)


def record(seq: int, boot: str = "b1") -> Message:
    """A gap record; what it says does not matter here."""
    return Message(f"{boot}--gap-{seq}", boot, seq, "gap", "", "t", b"{}")


def eventually(clock: FakeClock, true: Callable[[], bool], what: str) -> None:
    """Wait for something, while a little of the clock's time passes, too."""

    def look() -> bool:
        clock.sleep(0.1)
        return true()

    wait_until(look, 60, what)


def taken(feed: Feed, outbox: Outbox, clock: FakeClock) -> list[Message]:
    """All that is delivered, to the end."""
    got: list[Message] = []

    def emptied() -> bool:
        rows = feed.take(500)
        got.extend(row.message for row in rows)
        feed.settle(len(rows), None)
        return feed.empty and not outbox.in_memory() and not outbox._stock.losses

    outbox.say_last_words()
    eventually(clock, emptied, "all is taken")
    return got


def test_a_gap_record_that_goes_alone_comes_once_more(tmp_path: Path) -> None:
    """One that is as large as all that had to go: it goes to the end of what waits."""
    clock, told = FakeClock(), list[Gap]()
    outbox = Outbox(tmp_path, OutboxOptions(max_mb=1), clock, lambda _, gap: told.append(gap), 10_000_000)
    feed = outbox.feed("one", _KINDS, 0.0)
    outbox.start()
    body = msgspec.json.encode({"gap": Gap("other", "x" * 60_000, 1, "b1", "verdict", 1, 1)})
    outbox.put(replace(record(1), body=body))
    for seq in range(1, 51):
        outbox.put(verdict(seq, 30_000))
        eventually(clock, lambda: not outbox.in_memory(), "it is written")
    eventually(clock, lambda: feed.waiting < 40, "no more than fits waits")
    got = taken(feed, outbox, clock)
    outbox.end()
    assert outbox.worker.join(10)
    outbox.close()
    assert record(1).id in [one.id for one in got]
    assert {gap.lost_kind for gap in told} == {"verdict"}


def test_losses_that_go_on_are_told_every_ten_seconds_and_all_at_the_end(tmp_path: Path) -> None:
    """A limit of age that is hit all the time: not a gap record a second, and none is left out."""
    clock, told = FakeClock(), list[Gap]()
    outbox = Outbox(tmp_path, OutboxOptions(max_age_h=5 / 3600), clock, lambda _, gap: told.append(gap))
    feed = outbox.feed("one", ("verdict",), 0.0)
    outbox.start()
    begun_ns = clock.monotonic_ns()
    for seq in range(1, 121):
        outbox.put(verdict(seq))
        clock.sleep(0.5)
        eventually(clock, lambda: not outbox.in_memory(), "it is written")
    seconds = (clock.monotonic_ns() - begun_ns) / 1e9
    assert feed.lost["gate/verdict"] > 80
    assert 2 <= len(told) <= seconds / 10 + 1
    outbox.end()
    assert outbox.worker.join(60)
    outbox.close()
    assert sum(gap.count or 0 for gap in told) == feed.lost["gate/verdict"]
    lost = [seq for gap in told for seq in range(gap.first or 0, (gap.last or 0) + 1)]
    assert lost == list(range(1, len(lost) + 1))


class _KilledError(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("when", ["before it is told", "before the record is on disk"])
def test_a_cut_is_told_by_the_next_process_when_this_one_is_killed_first(
    tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is gone from the disk, either the gap record is there, or what is needed to make it."""
    write = Store.write

    def tell(_: str, gap: Gap) -> None:
        assert gap.lost_kind == "verdict"
        if when == "before it is told":
            raise _KilledError
        first.put(record(1))

    def write_or_die(store: Store, rows: list[Row]) -> None:
        if any(row.message.kind == "gap" for row in rows):
            raise _KilledError
        write(store, rows)

    monkeypatch.setattr(Store, "write", write_or_die)
    first = Outbox(tmp_path, OutboxOptions(max_mb=1), SystemClock(), tell, 10_000_000)
    first.feed("one", _KINDS, 0.0)
    for seq in range(1, 401):
        first.put(verdict(seq, size=4000))
    first.start()
    assert first.worker.join(60)
    assert isinstance(first.worker.error, _KilledError)
    first.close()
    monkeypatch.setattr(Store, "write", write)

    told: list[Gap] = []
    for run in range(2):
        got = _run_again(tmp_path, told)
        lost = [seq for gap in told for seq in range(gap.first or 0, (gap.last or 0) + 1)]
        assert got
        assert sorted([*got, *lost]) == list(range(1, 401)), f"each once, in run {run}"


def _run_again(folder: Path, told: list[Gap]) -> set[int]:
    """A process that takes what is there, without delivering it, and ends."""

    def tell(_: str, gap: Gap) -> None:
        told.append(gap)
        outbox.put(record(len(told), "b2"))

    outbox = Outbox(folder, OutboxOptions(max_mb=1), SystemClock(), tell, 10_000_000)
    feed = outbox.feed("one", _KINDS, 0.0)
    outbox.start()
    wait_until(lambda: bool(told) and not outbox.in_memory(), 60, "it is told")
    rows = feed.take(1000)
    outbox.end()
    assert outbox.worker.join(60)
    outbox.close()
    return {row.message.seq for row in rows if row.message.kind == "verdict"}


def test_what_is_told_is_kept_until_its_record_is_on_disk() -> None:
    """A commit between the two must not forget it."""
    losses = Losses()
    losses.add("one", "full", Range("b1", "gate", "verdict", 1, 9, 9))
    gaps, _ = losses.take(0, blocked=False, everything=False)
    losses.told(5)
    assert [gap.last for _, gap in gaps] == [9]
    assert losses.noted
    left = losses.untold(4)
    losses.written(4)
    assert losses.untold(4) == left != b""
    assert losses.untold(5) == b""
    losses.written(5)
    assert not losses.noted
    again = Losses()
    again.recall(left)
    assert again.take(0, blocked=False, everything=False)[0] == gaps


@pytest.mark.parametrize("taken", [False, True])
def test_a_gap_record_that_is_to_come_once_more_is_kept_until_it_is_on_disk(taken: bool) -> None:
    """Its row is gone: in between, only the note has it."""
    losses = Losses()
    losses.repeat(record(1))
    if taken:
        assert losses.take(0, blocked=False, everything=False)[1] == [record(1)]
        losses.told(5)
    again = Losses()
    again.recall(losses.untold(4))
    assert again.noted
    assert again.take(0, blocked=False, everything=False)[1] == [record(1)]


def test_what_a_sink_that_went_never_got_is_told_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed behind the commit that forgets the sink, and lets go of what was for it."""
    first = Outbox(tmp_path, OutboxOptions(), SystemClock(), lambda *_: None)
    first.feed("old", _KINDS, 0.0)
    for seq in (1, 2, 3):
        first.put(verdict(seq))
    first.start()
    first.end()
    assert first.worker.join(10)
    first.close()

    def die(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", die)
        second = Outbox(tmp_path, OutboxOptions(), SystemClock(), lambda *_: None)
        second.feed("new", ("count", "gap"), 0.0)
        second.start()
        assert second.worker.join(20)
        assert isinstance(second.worker.error, _KilledError)
        second.close()

    told: list[Gap] = []
    third = Outbox(tmp_path, OutboxOptions(), SystemClock(), lambda _, gap: told.append(gap))
    third.feed("new", ("count", "gap"), 0.0)
    third.start()
    third.end()
    assert third.worker.join(20)
    third.close()
    assert [(gap.sink, gap.first, gap.last, gap.count) for gap in told] == [("old", 1, 3, 3)]
