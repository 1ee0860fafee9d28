"""Checks which sinks the end of a run waits for."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge_vision.app.outbox import drain
from edge_vision.app.outlet import Outlet
from edge_vision.publish.options import JsonlOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_message

LOOKS = 5


class _Worker:
    """A thread that ends after some looks at it."""

    def __init__(self) -> None:
        self.looks = 0
        self.stopped = False

    def join(self, _timeout_s: float) -> bool:
        self.looks += 1
        return self.looks >= LOOKS

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize(
    "state, asked, unsaved, queued, waits",
    [
        ("lost", True, 0, 0, False),
        ("starting", True, 0, 0, False),
        ("online", True, 0, 0, True),
        ("lost", False, 0, 0, True),
        ("lost", True, 1, 0, True),
        ("lost", True, None, 0, True),
        ("lost", True, 0, 1, True),
    ],
)
def test_an_end_waits_unless_the_sink_is_away_and_nothing_is_lost_by_going(
    state: str, asked: bool, unsaved: int | None, queued: int, waits: bool
) -> None:
    """Only where it was asked for: a run that ends by itself is done when everything is delivered."""
    clock = SystemClock()
    wire = Wire("s", "b", clock)
    opening = SinkOpening("s", clock, wire.will(), lambda: wire.status("online", {}))
    outlet = Outlet("jsonl", JsonlOptions.model_validate({"kind": "jsonl", "path": "-"}), opening)
    worker: Any = _Worker()
    outlet.state, outlet.worker = state, worker
    for number in range(queued):
        outlet.put(make_message(number + 1))
    outbox: Any = None if unsaved is None else SimpleNamespace(unsaved=unsaved, say_last_words=lambda: None)
    drain([outlet], outbox, clock, clock.monotonic_ns() + 60_000_000_000, asked=asked)
    assert worker.looks == (LOOKS if waits else 1)
    assert worker.stopped
