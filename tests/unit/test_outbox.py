"""Checks what waits for its delivery: in order, across processes, within its limits, and every loss told."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from conftest import wait_until

from edge_vision.core.errors import OutboxError, OutboxInUseError
from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.history import Keeper, OutboxHistory
from edge_vision.publish.outbox.losses import LossLog
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.rows import Row
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.testing.fakes import FakeClock

Told = list[tuple[str, Gap]]
Open = Callable[..., Outbox]


def message(seq: int, kind: str = "verdict", source: str = "gate", boot: str = "b1", size: int = 40) -> Message:
    """A message of so many bytes."""
    return Message(f"{boot}-{source}-{kind}-{seq}", boot, seq, kind, source, f"t/{source}/{kind}", b"x" * size)


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
    left: list[Outbox] = []

    def open_it(memory_bytes: int = 1_000_000, **limits: float) -> Outbox:
        options = OutboxOptions.model_validate(limits)
        outbox = Outbox(tmp_path, options, clock, lambda source, gap: told.append((source, gap)), memory_bytes)
        left.append(outbox)
        return outbox

    yield open_it
    for outbox in left:
        if outbox.worker.alive:
            shut(outbox)


def eventually(clock: FakeClock, true: Callable[[], bool], what: str) -> None:
    """Wait for something, while a little of the clock's time passes, too."""

    def look() -> bool:
        clock.sleep(0.1)
        return true()

    wait_until(look, 20, what)


def shut(outbox: Outbox) -> None:
    """Write what is left, and let go of the file."""
    outbox.end()
    assert outbox.worker.join(10)
    outbox.close()


def numbers(rows: list[Row]) -> list[int]:
    """Their numbers in their series."""
    return [row.message.seq for row in rows]


def take_all(feed: Feed) -> list[int]:
    """Everything there is, delivered."""
    found: list[int] = []
    rows = feed.take(100)
    for _ in range(1000):
        found += numbers(rows)
        feed.settle(len(rows), None)
        rows = feed.take(100)
        if not rows and feed.empty:
            break
    return found


def test_what_is_put_is_handed_out_in_order_at_once_and_from_disk(opened: Open, clock: FakeClock) -> None:
    """Before the first commit and after it; to each sink what it owes."""
    outbox = opened()
    one, other = outbox.feed("one", ("verdict", "count"), 0.0), outbox.feed("other", ("count",), 0.0)
    for seq in (1, 2):
        outbox.put(message(seq))
        outbox.put(message(seq, "count"))
        outbox.put(message(seq, "reading"))
    assert [row.message.id for row in one.take(3)] == ["b1-gate-verdict-1", "b1-gate-count-1", "b1-gate-verdict-2"]
    outbox.start()
    eventually(clock, lambda: not outbox.in_memory(), "all is written")
    assert [row.message.id for row in one.take(3)] == ["b1-gate-count-2"]
    assert [row.message.id for row in other.take(3)] == ["b1-gate-count-1", "b1-gate-count-2"]
    assert (one.waiting, other.waiting) == (4, 2)
    assert other.take(3) == []
    assert other.empty


def test_a_row_comes_back_as_it_went_in(opened: Open, clock: FakeClock) -> None:
    """Every field, through the disk."""
    outbox = opened()
    feed = outbox.feed("one", ("status",), 0.0)
    sent = Message("a-b-status-7", "a", 7, "status", "", "t/ä", b'{"\xc3\xa4": 1}', retain=True)
    outbox.put(sent)
    outbox.start()
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    assert feed.take(1)[0].message == sent


def test_what_was_not_delivered_is_there_for_the_next_process_and_nothing_else(opened: Open) -> None:
    """Up to where each sink said that it is; in hand is not delivered."""
    outbox = opened()
    one, other = outbox.feed("one", ("verdict",), 0.0), outbox.feed("other", ("verdict",), 0.0)
    for seq in range(1, 9):
        outbox.put(message(seq))
    outbox.start()
    rows = one.take(6)
    one.settle(3, rows[3].n)
    other.settle(len(other.take(8)), None)
    shut(outbox)
    again = opened()
    one, other = again.feed("one", ("verdict",), 0.0), again.feed("other", ("verdict",), 0.0)
    newcomer = again.feed("newcomer", ("verdict",), 0.0)
    again.start()
    assert (one.waiting, other.waiting, newcomer.waiting) == (5, 0, 0)
    again.put(message(1, boot="b2"))
    assert numbers(one.take(100)) == [4, 5, 6, 7, 8]
    assert numbers(one.take(100)) == [1]
    assert numbers(other.take(100)) == [1]
    assert numbers(newcomer.take(100)) == [1]


def test_delivered_messages_leave_the_disk(opened: Open, tmp_path: Path, clock: FakeClock) -> None:
    """When every sink that owes them has them, and no longer than the longest that one wants them kept."""
    outbox = opened()
    one, other = outbox.feed("one", ("verdict", "count"), 0.0), outbox.feed("other", ("count",), 60.0)
    outbox.start()
    for seq in range(1, 21):
        outbox.put(message(seq))
        outbox.put(message(seq, "count"))
    assert len(take_all(one)) == 40
    store = Store(tmp_path / "outbox.db")

    def on_disk() -> list[tuple[str, int]]:
        return [(one.kind, one.count) for one in store.ranges(("verdict", "count"), 0, 10_000)]

    try:
        eventually(clock, lambda: on_disk() == [("count", 20)], "what only one sink owed is gone")
        assert len(take_all(other)) == 20
        clock.sleep(30)
        eventually(clock, lambda: not outbox.in_memory(), "all is written")
        assert on_disk() == [("count", 20)]
        clock.sleep(60)
        eventually(clock, lambda: on_disk() == [], "nobody wants them any more")
    finally:
        store.close()


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


def test_a_sink_that_was_forgotten_gets_the_last_seconds_again(opened: Open, clock: FakeClock) -> None:
    """What it holds, what it had acknowledged within its time, and nothing older."""
    outbox = opened()
    feed = outbox.feed("one", ("verdict",), 60.0)
    outbox.start()
    for seq in (1, 2, 3):
        outbox.put(message(seq))
        assert numbers(feed.take(1)) == [seq]
        feed.settle(1, None)
        eventually(clock, lambda: not outbox.in_memory(), "it is written")
        clock.sleep(40)
    outbox.put(message(4))
    eventually(clock, lambda: numbers(feed.take(9)) == [4], "the next")
    eventually(clock, lambda: not outbox.in_memory(), "on disk, and in hand")
    clock.sleep(0.1)
    feed.rewind()
    eventually(clock, lambda: feed.waiting == 2, "two to be delivered")
    assert take_all(feed) == [3, 4]


def test_what_no_sink_owes_any_more_is_let_go(opened: Open, tmp_path: Path) -> None:
    """A sink that is not in the site file any more leaves nothing behind."""
    outbox = opened()
    outbox.feed("old", ("verdict",), 0.0)
    outbox.put(message(1))
    outbox.start()
    shut(outbox)
    again = opened()
    new = again.feed("new", ("count",), 0.0)
    again.start()
    shut(again)
    store = Store(tmp_path / "outbox.db")
    assert (store.last(), list(store.read_notes()[0])) == (0, ["new"])
    store.close()
    assert new.waiting == 0


def test_what_is_not_on_disk_at_the_end_does_not_wait_for_the_next_run(opened: Open) -> None:
    """Of two that are on disk and one that is not, two wait."""
    outbox = opened()
    feed, other = outbox.feed("one", ("verdict",), 0.0), outbox.feed("two", ("count",), 0.0)
    outbox.start()
    for seq in (1, 2):
        outbox.put(message(seq))
    shut(outbox)
    assert (outbox.give_up_unsaved(), feed.waiting) == (0, 2)
    outbox.put(message(3))
    assert (outbox.give_up_unsaved(), feed.waiting, other.waiting) == (1, 2, 0)


def test_one_process_at_a_time(opened: Open, tmp_path: Path, clock: FakeClock) -> None:
    """A second one is told; after the first has gone it may."""
    outbox = opened()
    outbox.start()
    with pytest.raises(OutboxInUseError, match="another process runs this site"):
        Outbox(tmp_path, OutboxOptions(), clock, lambda *_: None)
    shut(outbox)
    opened().start()


def test_a_file_that_knows_less_is_taken_over(opened: Open, told: Told, tmp_path: Path) -> None:
    """One of before there was a note of what is lost and not told yet."""
    outbox = opened()
    outbox.feed("one", ("verdict",), 0.0)
    outbox.put(message(1))
    outbox.start()
    shut(outbox)
    with closing(sqlite3.connect(tmp_path / "outbox.db")) as file:
        file.execute("DROP TABLE untold")
    again = opened()
    feed = again.feed("one", ("verdict",), 0.0)
    again.start()
    assert take_all(feed) == [1]
    shut(again)
    assert (told, again.facts()["set_aside"]) == ([], 0)


def test_a_damaged_file_is_set_aside_at_the_start(opened: Open, clock: FakeClock, told: Told, tmp_path: Path) -> None:
    """Kept for whoever wants to look; a new one serves, and the sinks hear that something is lost."""
    (tmp_path / "outbox.db").write_bytes(b"not a database" * 1000)
    outbox = opened()
    feed = outbox.feed("one", ("verdict",), 0.0)
    outbox.start()
    outbox.put(message(1))
    eventually(clock, lambda: bool(told), "it is told")
    assert take_all(feed) == [1]
    assert (tmp_path / "outbox.db.damaged").read_bytes().startswith(b"not a database")
    assert (told[0][1].sink, told[0][1].count, told[0][1].first) == ("one", None, None)
    assert "was damaged" in told[0][1].reason
    assert outbox.facts()["set_aside"] == 1


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


def test_what_was_published_can_be_asked_for_again(opened: Open, clock: FakeClock) -> None:
    """From disk and from memory, also of the process before; up to the time it is kept."""
    outbox = opened()
    outbox.keep(Keeper("replay", ("verdict",), 600.0))
    for seq in range(1, 6):
        outbox.put(message(seq))
        outbox.put(message(seq, "count"))
    outbox.start()
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    shut(outbox)
    again = opened()
    again.keep(Keeper("replay", ("verdict",), 600.0))
    history = OutboxHistory(again)
    again.put(message(1, boot="b2"))
    assert [one.seq for one in history.since("b1", "gate", "verdict", 2, 4, 10)] == [2, 3, 4]
    assert [one.seq for one in history.since("b1", "gate", "verdict", 2, None, 2)] == [2, 3]
    assert [one.seq for one in history.since("b2", "gate", "verdict", 0, 2**80, 9)] == [1]
    assert history.since("b1", "gate", "count", 1, None, 10) == []
    assert history.ranges() == [("b1", "gate", "verdict", 1, 5), ("b2", "gate", "verdict", 1, 1)]
    again.start()
    clock.sleep(700)
    again.put(message(2, boot="b2"))
    eventually(clock, lambda: history.ranges() == [("b2", "gate", "verdict", 2, 2)], "the old ones are gone")


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
    for seq in range(1, 2_001):
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
    missing = set(range(1, 2_001)) - {seq for kind, seq in got if kind == "verdict"}
    verdicts = [gap for gap in heard if gap.lost_kind == "verdict"]
    assert {seq for gap in verdicts for seq in range(gap.first or 0, (gap.last or 0) + 1)} == missing
    assert sum(gap.count or 0 for gap in verdicts) == len(missing)
    told_of = {seq for gap in heard if gap.lost_kind == "gap" for seq in range(gap.first or 0, (gap.last or 0) + 1)}
    assert {seq for kind, seq in got if kind == "gap"} | told_of == set(range(1, len(records) + 1))
    assert len(heard) < 100, "many are gathered into few"
    assert len(missing) > 1_500


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
