"""Every loop that runs for as long as the daemon does; there is no other `while` in the package."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from edge_vision.core.errors import SinkError
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.worker import Worker

Item = TypeVar("Item")

POLL_S = 0.5
"""How often a waiting loop looks whether it should stop."""
MOST_PATIENCE: Final = 5
"""The waits for what asks for patience grow to so many times what it asks for."""


def keep_trying(
    attempt: Callable[[], None],
    worker: Worker,
    backoff: Backoff,
    *,
    steady_s: float = 10.0,
    progressed: Callable[[], bool] = lambda: False,
    on_failure: Callable[[Exception, float], None],
) -> None:
    """Call `attempt` until it returns; after each failure, wait and call it again. The one place that retries.

    An attempt that lasted `steady_s` seconds before it failed, or for which `progressed` says that it got something
    done, starts the waits from the shortest again. The waits of an error that asks for patience start with that.
    `on_failure` hears the error and the seconds until the next attempt. Returns when asked to stop.
    """
    failures = 0
    while not worker.stopping.is_set():
        started = worker.clock.monotonic_ns()
        try:
            attempt()
        except Exception as error:  # noqa: BLE001 - told to on_failure, and the unit lives on
            steady = worker.clock.monotonic_ns() - started >= steady_s * 1e9
            failures = 1 if progressed() or steady else failures + 1
            delay_s = _waits(backoff, error).delay_s(failures)
            on_failure(error, delay_s)
            _rest(worker, delay_s)
        else:
            return


def _waits(backoff: Backoff, error: Exception) -> Backoff:
    patience_s = error.patience_s if isinstance(error, SinkError) else 0.0
    return replace(backoff, first_s=patience_s, most_s=MOST_PATIENCE * patience_s) if patience_s else backoff


def _rest(worker: Worker, seconds: float) -> None:
    """Wait, or until asked to stop; a pause is progress too."""
    end_ns = worker.clock.monotonic_ns() + int(seconds * 1e9)
    while not worker.stopping.is_set():
        worker.beat()
        left_s = (end_ns - worker.clock.monotonic_ns()) / 1e9
        if left_s <= 0:
            return
        worker.stopping.wait(min(left_s, POLL_S))


def pump(read: Callable[[], Item | None], channel: Channel[Item], worker: Worker) -> bool:
    """Move what `read` gives into the channel; True at the end of the source, False when asked to stop."""
    while not worker.stopping.is_set():
        item = read()
        worker.beat()
        if worker.stopping.is_set():  # perhaps abandoned while it hung: what it brings is stale
            return False
        if item is None:
            return True
        while not channel.put(item, POLL_S):
            worker.beat()
            if channel.ended:
                return False
            if worker.stopping.is_set():
                channel.discard(item)
                return False
    return False


def consume(channel: Channel[Item], each: Callable[[Item], None], worker: Worker) -> None:
    """Hand over every item of the channel until it is exhausted or the worker is asked to stop."""
    while not worker.stopping.is_set():
        item = channel.get(POLL_S)
        worker.beat()
        if item is not None:
            each(item)
            worker.beat()
        elif channel.exhausted:
            return


def deliver(
    fill: Callable[[], bool],
    pending: list[Item],
    send: Callable[[list[Item]], None],
    worker: Worker,
) -> None:
    """Send what `fill` puts into `pending`, until that is True, for nothing will come any more, or asked to stop.

    `send` takes a prefix of its batch off the list as it is delivered: what a failure leaves in `pending` is for
    the next attempt. It is called with nothing when `fill` waited for something in vain.
    """
    while not worker.stopping.is_set():
        ended = not pending and fill()
        worker.beat()
        if ended:
            return
        send(pending)
        worker.beat()


def repeat(step: Callable[[], bool], worker: Worker) -> None:
    """Call `step`, which does its own waiting, until it returns True or the worker is asked to stop."""
    while not worker.stopping.is_set():
        worker.beat()
        if step():
            return


def every(period_s: float, tick: Callable[[], bool], clock: Clock) -> None:
    """Call `tick` every `period_s` seconds until it returns True."""
    while not tick():
        clock.sleep(period_s)


def until(done: Callable[[], bool], step: Callable[[], None], timeout_s: float, clock: Clock) -> bool:
    """Call `step` until `done()`, for at most `timeout_s` seconds; whether it was done. `step` does the waiting."""
    end_ns = clock.monotonic_ns() + int(timeout_s * 1e9)
    while not done():
        if clock.monotonic_ns() >= end_ns:
            return False
        step()
    return True
