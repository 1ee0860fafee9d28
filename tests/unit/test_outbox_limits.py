"""Checks what the outbox lets go, by size, age and memory, and what it tells of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from outboxes import Open, Told, eventually, message, numbers, opening, shut, take_all

from edge_vision.core.errors import OutboxError
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.losses import LossLog
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.rows import Row
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.testing.fakes import FakeClock


@pytest.fixture
def told() -> Told:
    """The gaps that were told."""
    return []


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still unless it is slept on."""
    return FakeClock()


@pytest.fixture
def opened(tmp_path: Path, told: Told, clock: FakeClock) -> Iterator[Open]:
    """Opens the outbox of the test's folder; those left open are closed."""
    with opening(tmp_path, told, clock) as open_it:
        yield open_it


def test_beyond_its_size_the_oldest_go_and_are_told(opened: Open, clock: FakeClock, told: Told) -> None:
    """What a sink gets and what the gaps say are together everything, each once; what is in hand is not lost."""
    outbox = opened(max_mb=1.0, memory_bytes=10_000_000)
    feed = outbox.feed("one", ("verdict",), 0.0)
    outbox.start()
    for seq in (1, 2, 3, 4):
        outbox.put(message(seq, size=4000))
    eventually(clock, lambda: not outbox.in_memory(), "they are written")
    held = feed.take(4)
    for seq in range(5, 601):
        outbox.put(message(seq, size=4000))
    eventually(clock, lambda: bool(told) and not outbox.in_memory(), "the rest is written, and some of it let go")
    feed.settle(len(held), None)
    eventually(clock, lambda: feed.waiting <= 260, "no more than fits waits")
    got = numbers(held) + take_all(feed)
    eventually(clock, lambda: sum(gap.count or 0 for _, gap in told) == feed.lost["gate/verdict"], "all of it is told")
    lost = [seq for _, gap in told for seq in range(gap.first or 0, (gap.last or 0) + 1)]
    assert numbers(held) == [1, 2, 3, 4]
    assert sorted(got + lost) == list(range(1, 601))
    assert sum(gap.count or 0 for _, gap in told) == len(lost) == feed.lost["gate/verdict"]
    assert {(source, gap.sink, gap.boot, gap.lost_kind) for source, gap in told} == {("gate", "one", "b1", "verdict")}
    assert "full at 1 MB" in told[0][1].reason
    assert feed.waiting == 0


def test_beyond_their_age_messages_go_by_the_time_the_daemon_ran(opened: Open, told: Told, clock: FakeClock) -> None:
    """Also the time of an earlier process counts; that in which none ran does not."""
    outbox = opened(max_age_h=1.0)
    feed = outbox.feed("one", ("verdict",), 0.0)
    outbox.start()
    outbox.put(message(1))
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    clock.sleep(3000)
    outbox.put(message(2))
    eventually(clock, lambda: outbox.last == 2, "it came")
    shut(outbox)
    clock.sleep(1e6)
    again = opened(max_age_h=1.0)
    feed = again.feed("one", ("verdict",), 0.0)
    again.start()
    assert feed.waiting == 2
    clock.sleep(1000)
    eventually(clock, lambda: bool(told), "the older one is lost")
    assert (told[0][1].first, told[0][1].last, told[0][1].reason) == (1, 1, "older than 1 h")
    assert take_all(feed) == [2]


def test_while_the_disk_takes_nothing_memory_serves_and_its_losses_are_told(
    opened: Open, told: Told, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sinks go on from memory; what does not fit there is counted, and told when the disk is well again."""
    outbox = opened(memory_bytes=100 * message(1).weight)
    near, far = outbox.feed("near", ("verdict",), 0.0), outbox.feed("far", ("verdict",), 0.0)
    broken = [True]
    write = Store.write

    def fail(store: Store, rows: list[Row]) -> None:
        if broken[0] and rows:
            msg = "the disk is full"
            raise OutboxError(msg)
        write(store, rows)

    monkeypatch.setattr(Store, "write", fail)
    outbox.start()
    got: list[int] = []
    for seq in range(1, 251):
        outbox.put(message(seq))
        if seq % 50 == 0:
            got += take_all(near)
    eventually(clock, lambda: outbox.state == "lost", "it is said")
    assert got == list(range(1, 251))
    assert near.lost == {}
    assert far.lost == {"gate/verdict": 150}
    broken[0] = False
    clock.sleep(5)
    eventually(clock, lambda: outbox.state == "online" and bool(told), "it is well again")
    assert [(gap.sink, gap.first, gap.last, gap.count) for _, gap in told] == [("far", 1, 150, 150)]
    assert take_all(far) == list(range(151, 251))
    assert far.waiting == 0


def test_of_a_lost_gap_record_no_other_tells(opened: Open, clock: FakeClock, told: Told) -> None:
    """Of one that a sink refused: or there would be no end of them."""
    outbox = opened()
    feed = outbox.feed("one", ("gap", "verdict"), 0.0)
    outbox.start()
    for kind in ("gap", "verdict"):
        outbox.put(message(1, kind))
        row = feed.take(1)[0]
        feed.lose(row.message, "refused")
        feed.settle(1, None)
    eventually(clock, lambda: bool(told), "one is told")
    assert [gap.lost_kind for _, gap in told] == ["verdict"]
    assert feed.lost == {"gate/gap": 1, "gate/verdict": 1}


def test_a_gap_record_that_must_go_comes_once_more(tmp_path: Path, clock: FakeClock) -> None:
    """However often the outbox is filled while a sink is away, it hears in the end of everything it will not get."""
    records: list[Gap] = []

    def tell(source: str, gap: Gap) -> None:
        records.append(gap)
        body = msgspec.json.encode({"gap": gap})
        outbox.put(replace(message(len(records), "gap", source), body=body))

    outbox = Outbox(tmp_path, OutboxOptions(max_mb=1), clock, tell, 10_000_000)
    feed = outbox.feed("one", ("gap", "verdict"), 0.0)
    outbox.start()
    for seq in range(1, 1_001):
        outbox.put(message(seq, size=4_000))
        if seq % 100 == 0:
            eventually(clock, lambda: not outbox.in_memory(), "it is written")
            clock.sleep(2)
    eventually(clock, lambda: feed.waiting < 300, "no more than fits waits")
    outbox.say_last_words()
    eventually(clock, lambda: not outbox._stock.losses, "all is told")
    got: list[tuple[str, int]] = []

    def emptied() -> bool:
        rows = feed.take(500)
        got.extend((row.message.kind, row.message.seq) for row in rows)
        feed.settle(len(rows), None)
        return feed.empty and not outbox.in_memory()

    eventually(clock, emptied, "all is taken")
    shut(outbox)
    heard = [records[seq - 1] for kind, seq in got if kind == "gap"]
    missing = set(range(1, 1_001)) - {seq for kind, seq in got if kind == "verdict"}
    verdicts = [gap for gap in heard if gap.lost_kind == "verdict"]
    assert {seq for gap in verdicts for seq in range(gap.first or 0, (gap.last or 0) + 1)} == missing
    assert sum(gap.count or 0 for gap in verdicts) == len(missing)
    told_of = {seq for gap in heard if gap.lost_kind == "gap" for seq in range(gap.first or 0, (gap.last or 0) + 1)}
    assert {seq for kind, seq in got if kind == "gap"} | told_of == set(range(1, len(records) + 1))
    assert len(heard) < 100, "many are gathered into few"
    assert len(missing) > 600


def test_what_a_sink_has_in_hand_does_not_keep_the_outbox_from_its_size(opened: Open, clock: FakeClock) -> None:
    """However large: what comes behind it goes."""
    outbox = opened(max_mb=1.0, memory_bytes=10_000_000)
    feed = outbox.feed("one", ("verdict",), 0.0)
    outbox.start()
    for seq in range(1, 41):
        outbox.put(message(seq, size=20_000))
    assert len(feed.take(100)) == 40
    for seq in range(41, 101):
        outbox.put(message(seq, size=20_000))
        eventually(clock, lambda: not outbox.in_memory(), "it is written")
    eventually(clock, lambda: feed.waiting <= 40 + 10, "no more than fits waits")


def test_losses_of_one_cause_are_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """With their number; those of another cause at once."""
    log = LossLog()
    for second in range(61):
        log.say([Gap("one", "full", 4), Gap("one", "full", 6)], second * 1_000_000_000)
    log.say([Gap("one", "too old")], 1)
    assert [record.message.removeprefix("outbox: one: ") for record in caplog.records] == [
        "10 messages lost: full",
        "600 messages lost: full",
        "an unknown number of messages lost: too old",
    ]
