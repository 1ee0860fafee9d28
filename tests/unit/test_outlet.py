"""Checks when an outlet takes the first message in line for the one at fault, and when it waits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from conftest import wait_until

from edge_vision.app import outlet as outlet_module
from edge_vision.app.outlet import Outlet
from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import JsonlOptions
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


@pytest.mark.parametrize("patience_s, first", [(0.0, 6), (1.0, 1)])
def test_a_failure_that_asks_for_patience_is_not_the_fault_of_the_first_message(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, first: int
) -> None:
    """However often: a broker that lets nobody in would cost a message each time. Any other is, four times in a row."""
    sink = _Failing(patience_s)

    @contextmanager
    def opened(*_: object) -> Iterator[_Failing]:
        yield sink

    def at_once(worker: Worker, _seconds: float) -> None:
        worker.beat()

    monkeypatch.setattr(outlet_module, "open_sink", opened)
    monkeypatch.setattr(loops, "_rest", at_once)
    monkeypatch.setattr(Backoff, "delay_s", lambda *_: 0.0)
    clock = SystemClock()
    wire = Wire("s", "b", clock)
    opening = SinkOpening("s", clock, wire.will(), lambda: wire.status("online", {}))
    outlet = Outlet("jsonl", JsonlOptions.model_validate({"kind": "jsonl", "path": "-"}), opening)
    for number in range(10):
        outlet.put(make_message(number + 1))
    outlet.worker.start()
    try:
        wait_until(lambda: 10 in sink.taken, 60, "the rest is delivered")
    finally:
        outlet.end()
        outlet.worker.stop()
        assert outlet.worker.join(60)
    assert sink.taken == list(range(first, 11))
    assert outlet.lost == first - 1
