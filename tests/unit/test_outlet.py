"""Checks when an outlet takes the first message in line for the one at fault, and when it waits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from edge_vision.app import outlet as outlet_module
from edge_vision.app.outlet import Outlet
from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import JsonlOptions, OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime import loops
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker
from edge_vision.testing.fakes import make_message

FAILURES = 20
"""More than any message is given."""


class _Failing:
    """A sink that fails with every message until it has failed so often."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.failures = 0
        self.taken: list[int] = []

    def send(self, messages: Sequence[Message]) -> None:
        """Fail, or take them."""
        if messages and self.failures < FAILURES:
            self.failures += 1
            msg = "not now"
            raise SinkError(msg, patience_s=self.patience_s)
        self.taken += [message.seq for message in messages]


@contextmanager
def outlet_of(sink: Any, monkeypatch: pytest.MonkeyPatch, feed: Feed | None = None) -> Iterator[Outlet]:
    """One that tries again at once."""

    @contextmanager
    def opened(*_: object) -> Iterator[Any]:
        yield sink

    def at_once(worker: Worker, _seconds: float) -> None:
        worker.beat()

    monkeypatch.setattr(outlet_module, "open_sink", opened)
    monkeypatch.setattr(loops, "_rest", at_once)
    monkeypatch.setattr(Backoff, "delay_s", lambda *_: 0.0)
    clock = SystemClock()
    wire = Wire("s", "b", clock)
    opening = SinkOpening("s", clock, wire.will(), lambda: wire.status("online", {}))
    outlet = Outlet("jsonl", JsonlOptions.model_validate({"kind": "jsonl", "path": "-"}), opening, feed)
    try:
        yield outlet
    finally:
        outlet.end()
        outlet.worker.stop()
        assert outlet.worker.join(60)


@pytest.mark.parametrize("patience_s, first", [(0.0, 6), (1.0, 1)])
def test_a_failure_that_asks_for_patience_is_not_the_fault_of_the_first_message(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, first: int
) -> None:
    """However often: a broker that lets nobody in would cost a message each time. Any other is, four times in a row."""
    sink = _Failing(patience_s)
    with outlet_of(sink, monkeypatch) as outlet:
        for number in range(10):
            outlet.put(make_message(number + 1))
        outlet.worker.start()
        wait_until(lambda: 10 in sink.taken, 60, "the rest is delivered")
    assert sink.taken == list(range(first, 11))
    assert outlet.lost == first - 1


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """One that has no sinks yet."""
    made = Outbox(tmp_path, OutboxOptions(), SystemClock(), lambda *_: None)
    yield made
    made.start()
    made.end()
    assert made.worker.join(60)
    made.close()


def test_a_message_that_may_not_be_lost_is_given_more_time(monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> None:
    """Twelve failures in a row, where others have four: of twenty, one message."""
    sink = _Failing(0.0)
    feed = outbox.feed("jsonl", (make_message(1).kind,), 0.0)
    with outlet_of(sink, monkeypatch, feed) as outlet:
        for number in range(10):
            outbox.put(make_message(number + 1))
        outlet.worker.start()
        wait_until(lambda: 10 in sink.taken, 60, "the rest is delivered")
    assert sink.taken == list(range(2, 11))


class _Stuck:
    """A sink that takes three messages, and then none."""

    def __init__(self) -> None:
        self.tries = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Take the first three of the first ten."""
        self.tries += bool(messages)
        if messages:
            msg = "not now"
            raise SinkError(msg, 3 if self.tries == 1 else 0, patience_s=1.0)


def test_what_was_delivered_of_a_batch_is_settled_and_no_more(monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> None:
    """What is still in hand must be there for the next process."""
    sink = _Stuck()
    feed = outbox.feed("jsonl", (make_message(1).kind,), 0.0)
    begun = feed.settled
    with outlet_of(sink, monkeypatch, feed) as outlet:
        for number in range(10):
            outbox.put(make_message(number + 1))
        outlet.worker.start()
        wait_until(lambda: sink.tries > 1, 60, "it is tried again")
        assert (feed.settled - begun, feed.handed - begun, feed.in_hand, feed.waiting) == (3, 10, 7, 7)


class _Back:
    """A sink that fails once."""

    def __init__(self) -> None:
        self.tries = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Fail the first time."""
        self.tries += bool(messages)
        if self.tries == 1:
            msg = "not now"
            raise SinkError(msg, patience_s=1.0)


def test_a_sink_that_takes_all_of_a_batch_again_is_online(
    monkeypatch: pytest.MonkeyPatch, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the site stays degraded, and its end does not wait for it."""
    caplog.set_level("INFO")
    feed = outbox.feed("jsonl", (make_message(1).kind,), 0.0)
    with outlet_of(_Back(), monkeypatch, feed) as outlet:
        for number in range(300):
            outbox.put(make_message(number + 1))
        outlet.worker.start()
        wait_until(lambda: outlet.delivered == 300, 60, "all is delivered")
        wait_until(lambda: outlet.state == "online", 60, "it is online")
        assert "error" not in outlet.facts()
        assert not outlet.away
    assert "delivering again, 108 messages wait" in caplog.text
