"""Checks which sinks the end of a run waits for."""

from types import SimpleNamespace
from typing import Any

import pytest

from edge_vision.app.ending import Ending
from edge_vision.app.outbox import drain, tell_losses
from edge_vision.app.outlet import Outlet
from edge_vision.publish.options import JsonlOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import FakeClock, make_message

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
    outbox: Any = None if unsaved is None else SimpleNamespace(unsaved=unsaved)
    drain([outlet], outbox, clock, clock.monotonic_ns() + 60_000_000_000, asked=asked)
    assert worker.looks == (LOOKS if waits else 1)
    assert worker.stopped


class _Outbox:
    """Has told its losses after some looks, once it was asked to."""

    def __init__(self, state: str, looks: int) -> None:
        self.said: list[str] = []
        self.state = state
        self._left = looks

    def say_last_words(self) -> None:
        self.said.append("last words")

    @property
    def untold(self) -> bool:
        self._left -= 1
        self.said += [] if self._left > 0 else ["told"]
        return self._left > 0


@pytest.mark.parametrize(
    "state, looks, said, seconds",
    [
        ("online", LOOKS, ["last words", "told"], 0.2),
        ("lost", LOOKS, ["last words"], 0.0),
        ("online", 1_000, ["last words"], 2.0),
    ],
)
def test_losses_are_told_before_the_sinks_end(state: str, looks: int, said: list[str], seconds: float) -> None:
    """Not for longer than two seconds, and not at all where the disk does not let it."""
    clock, outbox = FakeClock(), _Outbox(state, looks)
    begun_ns = clock.monotonic_ns()
    any_outbox: Any = outbox
    tell_losses(any_outbox, clock)
    assert outbox.said == said
    assert (clock.monotonic_ns() - begun_ns) / 1e9 == pytest.approx(seconds, abs=0.1)


def test_the_last_status_comes_after_the_last_gap_records() -> None:
    """Else a sink that has delivered all it has is gone when they come."""
    outbox = _Outbox("online", LOOKS)

    class _SaidLastError(Exception):
        pass

    def say_last(_: dict[str, Any]) -> None:
        outbox.said.append("offline")
        raise _SaidLastError

    voice: Any = SimpleNamespace(outbox=outbox, say_last=say_last)
    with pytest.raises(_SaidLastError):
        Ending(voice, FakeClock()).close_sinks([], {}, by_itself=False)
    assert outbox.said == ["last words", "told", "offline"]
