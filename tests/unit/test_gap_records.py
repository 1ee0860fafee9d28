"""Checks that gap records reach who is left to hear them: many that cannot be joined, and those of a sink that went."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
from conftest import wait_until

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.losses import Losses
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.wire import Gap
from edge_vision.testing.fakes import FakeClock

_KINDS = ("verdict", "gap")


def verdict(source: str, seq: int, size: int = 4_000) -> Message:
    """A message of so many bytes."""
    return Message(f"b1-{source}-verdict-{seq}", "b1", seq, "verdict", source, "t", b"x" * size)


def record(seq: int, source: str, gap: Gap) -> Message:
    """A gap record."""
    return Message(f"b1-{source}-gap-{seq}", "b1", seq, "gap", source, "t", msgspec.json.encode({"gap": gap}))


def gap_of(message: Message) -> Gap:
    """What a gap record says."""
    return msgspec.convert(msgspec.json.decode(message.body)["gap"], Gap)


def eventually(clock: FakeClock, true: Callable[[], bool], what: str) -> None:
    """Wait for something, while a little of the clock's time passes, too."""

    def look() -> bool:
        clock.sleep(0.1)
        return true()

    wait_until(look, 20, what)


def everything(outbox: Outbox, feed: Feed, clock: FakeClock) -> list[Message]:
    """All that waits for a feed, delivered; then the outbox is closed."""
    got: list[Message] = []

    def emptied() -> bool:
        rows = feed.take(500)
        got.extend(row.message for row in rows)
        feed.settle(len(rows), None)
        return feed.empty and not outbox.in_memory() and not outbox._stock.losses

    outbox.say_last_words()
    eventually(clock, emptied, "all is taken")
    outbox.end()
    assert outbox.worker.join(10)
    outbox.close()
    return got


def opened(folder: Path, clock: FakeClock, records: list[Message] | None = None) -> Outbox:
    """An outbox of 1 MB that puts gap records."""

    def tell(source: str, gap: Gap) -> None:
        number[0] += 1
        outbox.put(record(number[0], source, gap))
        if records is not None:
            records.append(record(number[0], source, gap))

    number = [10_000]
    outbox = Outbox(folder, OutboxOptions(max_mb=1), clock, tell, 10_000_000)
    return outbox


def test_gap_records_that_cannot_be_joined_come_once_more(tmp_path: Path) -> None:
    """As many cameras have after a few restarts: more of them in a row than a cut removes, each of another camera."""
    clock = FakeClock()
    outbox = opened(tmp_path, clock)
    feed = outbox.feed("one", _KINDS, 0.0)
    outbox.start()
    cameras = [f"c{number}" for number in range(200)]
    for number, camera in enumerate(cameras, 1):
        outbox.put(record(number, camera, Gap("one", "older", 5, "b0", "verdict", 1, 5)))
    for seq in range(1, 801):
        outbox.put(verdict("gate", seq))
        if seq % 50 == 0:
            eventually(clock, lambda: not outbox.in_memory(), "it is written")
            clock.sleep(2)
    got = everything(outbox, feed, clock)
    told = Counter(one.source for one in got if one.kind == "gap" and gap_of(one).boot == "b0")
    assert set(told) == set(cameras)
    missing = {*range(1, 801)} - {one.seq for one in got if one.kind == "verdict"}
    gaps = [gap_of(one) for one in got if one.kind == "gap" and one.source == "gate"]
    lost = [gap for gap in gaps if gap.boot == "b1" and gap.lost_kind == "verdict"]
    assert sum(gap.count or 0 for gap in lost) == len(missing) > 400


def test_where_half_of_the_outbox_is_gap_records_they_tell_numbers_no_more(tmp_path: Path) -> None:
    """More than fit: how many are lost of each sink and reason is still told, and the outbox keeps its size."""
    clock = FakeClock()
    outbox = opened(tmp_path, clock)
    feed = outbox.feed("one", _KINDS, 0.0)
    outbox.start()
    for number in range(1, 4_001):
        outbox.put(record(number, f"c{number}", Gap("one", "older" * 100, 5, "b0", "verdict", 1, 5)))
        if number % 200 == 0:
            eventually(clock, lambda: not outbox.in_memory(), "it is written")
            clock.sleep(2)
    eventually(clock, lambda: feed.waiting < 2_000, "no more than fits waits")
    got = [gap_of(one) for one in everything(outbox, feed, clock) if one.kind == "gap"]
    assert sum(gap.count or 0 for gap in got if gap.reason.startswith("older")) == 5 * 4_000
    assert any(gap.boot is None for gap in got)


def test_gap_records_for_a_sink_that_went_are_for_those_that_are_left(tmp_path: Path) -> None:
    """Under another name it may be the same broker, and its subscribers would never hear of the loss."""
    clock = FakeClock()
    outbox = opened(tmp_path, clock)
    outbox.feed("old", _KINDS, 0.0)
    outbox.put(record(1, "gate", Gap("old", "full", 5, "b0", "verdict", 1, 5)))
    outbox.put(verdict("gate", 1))
    outbox.start()
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    outbox.end()
    assert outbox.worker.join(10)
    outbox.close()

    again = opened(tmp_path, clock)
    feed = again.feed("new", _KINDS, 0.0)
    again.start()
    eventually(clock, lambda: feed.waiting == 2, "it is told")
    got = [gap_of(one) for one in everything(again, feed, clock)]
    assert [(gap.boot, gap.first, gap.last) for gap in got] == [("b0", 1, 5), ("b1", 1, 1)]


def test_a_new_sink_that_is_forgotten_gets_nothing_from_before_it(tmp_path: Path) -> None:
    """A broker always knows nothing of a new client: what was for others, a moment ago, is not for it."""
    clock = FakeClock()
    outbox = opened(tmp_path, clock)
    outbox.feed("old", _KINDS, 60.0)
    for seq in range(1, 10):
        outbox.put(verdict("gate", seq))
    outbox.start()
    eventually(clock, lambda: not outbox.in_memory(), "it is written")
    outbox.end()
    assert outbox.worker.join(10)
    outbox.close()

    again = opened(tmp_path, clock)
    old, new = again.feed("old", _KINDS, 60.0), again.feed("new", _KINDS, 60.0)
    again.put(verdict("gate", 10))
    old.rewind()
    new.rewind()
    assert [row.message.seq for row in new.take(20)] == [10]
    assert (old.waiting, new.waiting) == (10, 1)
    again.start()
    again.end()
    assert again.worker.join(10)
    again.close()


def test_losses_summed_up_are_one_for_each_sink_and_reason() -> None:
    """What cannot be read says nothing; of a sum of something unknown nothing is known."""
    losses = Losses()
    gaps = [
        Gap("one", "full", 3, "b1", "verdict", 1, 3),
        Gap("one", "full", 2, "b2", "verdict", 1, 2),
        Gap("two", "old"),
    ]
    records = [record(number, "gate", gap) for number, gap in enumerate(gaps)]
    assert not losses.gather(records, spanning=True)
    losses.sum_up([*records, replace(records[0], body=b"?")], [Gap("two", "old", 4)])
    told, _ = losses.take(0, blocked=False, everything=True)
    assert told == [("", Gap("one", "full", 5)), ("", Gap("two", "old"))]


def test_only_neighbors_are_joined_unless_there_is_no_room() -> None:
    """What lies between two gaps was delivered, or is told by a record of its own."""
    losses = Losses()
    gaps = [Gap("one", "full", 3, "b1", "verdict", *span) for span in ((1, 3), (13, 15), (4, 6), (16, 18), (7, 9))]
    records = [record(number, "gate", gap) for number, gap in enumerate(gaps)]
    assert losses.gather(records, spanning=False)
    told, _ = losses.take(0, blocked=False, everything=True)
    joined = [Gap("one", "full", 9, "b1", "verdict", 1, 9), Gap("one", "full", 6, "b1", "verdict", 13, 18)]
    assert told == [("gate", gap) for gap in joined]
    assert not losses.gather(records[:2] * 2, spanning=False)
    assert losses.gather(records[:2] * 2, spanning=True)
    told, _ = losses.take(0, blocked=False, everything=True)
    assert told == [("gate", Gap("one", "full", 12, "b1", "verdict", 1, 15))]
