"""Checks the named thread that reports its progress, its end and its error."""

import logging
import threading
from collections.abc import Iterator

import pytest
from conftest import wait_until

from edge_vision.core.errors import SourceError
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker
from edge_vision.testing.fakes import FakeClock

SOON = 60.0


@pytest.fixture(name="gate")
def _gate() -> Iterator[threading.Event]:
    """What a worker's work waits for; opened at the end of the test whatever happens."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture(autouse=True)
def _log_propagates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("edge_vision"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("edge_vision"), "handlers", [])


def _hang_here(gate: threading.Event) -> None:
    gate.wait(SOON)


def test_a_worker_lives_from_start_to_the_end_of_its_work(gate: threading.Event) -> None:
    """Not alive before the start, alive while it works, and joined when the work returns."""
    seen: list[Worker] = []

    def work(worker: Worker) -> None:
        seen.append(worker)
        gate.wait(SOON)

    worker = Worker("capture gate", work, 1.0, SystemClock())
    assert not worker.alive
    assert worker.join(0.0)
    worker.start()
    assert worker.alive
    assert not worker.join(0.0)
    gate.set()
    assert worker.join(SOON)
    assert (worker.alive, worker.error, seen) == (False, None, [worker])


def test_the_thread_has_the_name_and_does_not_hold_the_process() -> None:
    """A daemon thread, so that one that hangs cannot keep the process from ending."""
    found: list[tuple[str, bool]] = []

    def work(_worker: Worker) -> None:
        thread = threading.current_thread()
        found.append((thread.name, thread.daemon))

    worker = Worker("analyze gate", work, 1.0, SystemClock())
    worker.start()
    assert worker.join(SOON)
    assert found == [("analyze gate", True)]


def test_a_worker_silent_past_its_limit_is_stuck_until_it_beats(gate: threading.Event) -> None:
    """At the limit it is not, past it it is, and a beat makes it well again."""
    clock = FakeClock()
    worker = Worker("capture", lambda _: _hang_here(gate), 2.0, clock)
    clock.advance(100.0)
    assert not worker.stuck  # it has not begun
    worker.start()
    assert (worker.silent_s, worker.stuck) == (0.0, False)
    clock.advance(2.0)
    assert (worker.silent_s, worker.stuck) == (2.0, False)
    clock.advance(0.5)
    assert (worker.silent_s, worker.stuck) == (2.5, True)
    worker.beat()
    assert (worker.silent_s, worker.stuck) == (0.0, False)
    clock.advance(3.0)
    assert worker.stuck
    gate.set()
    assert worker.join(SOON)
    assert not worker.stuck  # it has ended: that is not the same


def test_the_stack_names_the_function_that_hangs(gate: threading.Event) -> None:
    """What is written to the log when a thread is left behind says where it hangs."""
    worker = Worker("capture", lambda _: _hang_here(gate), 1.0, SystemClock())
    assert "ended" in worker.stack()
    worker.start()
    wait_until(lambda: "_hang_here" in worker.stack(), SOON, "the stack names the function")
    assert "gate.wait(SOON)" in worker.stack()
    gate.set()
    assert worker.join(SOON)
    assert worker.stack() == "(no stack: the thread has ended)\n"


def test_stop_only_asks(gate: threading.Event) -> None:
    """The work sees `stopping` when it looks; nothing is interrupted."""

    def work(worker: Worker) -> None:
        worker.stopping.wait(SOON)
        gate.wait(SOON)

    worker = Worker("capture", work, 1.0, SystemClock())
    worker.start()
    worker.stop()
    assert worker.stopping.is_set()
    assert not worker.join(0.01)
    gate.set()
    assert worker.join(SOON)


@pytest.mark.parametrize(
    "error, traceback", [(SourceError("gone"), False), (ZeroDivisionError("a bug"), True), (SystemExit(3), True)]
)
def test_the_error_that_ended_the_work_is_kept(
    error: BaseException, traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever supervises finds it, and so does the log: a foreseen one in a line, a bug with its traceback."""

    def work(_worker: Worker) -> None:
        raise error

    worker = Worker("capture gate", work, 1.0, SystemClock())
    with caplog.at_level(logging.DEBUG, logger="edge_vision"):
        worker.start()
        assert worker.join(SOON)
    assert worker.error is error
    (record,) = caplog.records
    assert f"capture gate ended: {type(error).__name__}" in record.getMessage()
    assert bool(record.exc_info) is traceback
