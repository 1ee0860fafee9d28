"""Checks what waits for its delivery: in order, across processes, and as long as a sink owes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from outboxes import Open, Told, eventually, message, numbers, opening, shut, take_all

from edge_vision.core.errors import OutboxInUseError
from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.history import Keeper, OutboxHistory
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.store import Reader, Store
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
    reader = Reader(tmp_path / "outbox.db")

    def on_disk() -> list[tuple[str, int]]:
        return [(one.kind, one.count) for one in reader.ranges(("verdict", "count"), 0, 10_000)]

    try:
        eventually(clock, lambda: on_disk() == [("count", 20)], "what only one sink owed is gone")
        assert len(take_all(other)) == 20
        clock.sleep(30)
        eventually(clock, lambda: not outbox.in_memory(), "all is written")
        assert on_disk() == [("count", 20)]
        clock.sleep(60)
        eventually(clock, lambda: on_disk() == [], "nobody wants them any more", 5.0)
    finally:
        reader.close()


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


def test_a_backlog_that_was_just_delivered_comes_again(opened: Open, clock: FakeClock) -> None:
    """What counts is when it was delivered, not when it came; and whose process delivered it does not matter."""
    outbox = opened()
    feed = outbox.feed("one", ("verdict",), 60.0)
    outbox.start()
    for seq in (1, 2, 3):
        outbox.put(message(seq))
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    clock.sleep(600)
    assert take_all(feed) == [1, 2, 3]
    clock.sleep(20)
    feed.rewind()
    assert take_all(feed) == [1, 2, 3]
    shut(outbox)
    again = opened()
    feed = again.feed("one", ("verdict",), 60.0)
    again.start()
    clock.sleep(20)
    feed.rewind()
    assert take_all(feed) == [1, 2, 3]
    eventually(clock, lambda: again.reader().first() == 0, "after a minute it goes", 5.0)
    feed.rewind()
    assert take_all(feed) == []


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
