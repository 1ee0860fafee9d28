"""Checks the loops that run for as long as the daemon does, on a clock that moves only when they wait."""

import threading
from collections.abc import Callable, Iterator

import pytest

from edge_vision.core.errors import SinkError, SourceError
from edge_vision.core.frame import Frame
from edge_vision.core.message import Message
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.loops import POLL_S, consume, deliver, every, keep_trying, pump, until
from edge_vision.testing.fakes import FakeClock, FakeSink, FakeSource, FakeWorker, make_frame, make_message

PLAIN = Backoff(first_s=0.5, factor=2.0, most_s=3.0, jitter=0.0)


class _Failing:
    """An attempt that takes `lasts_s` and fails, `failures` times, and then returns."""

    def __init__(self, clock: FakeClock, failures: int, lasts_s: tuple[float, ...] = (0.0,)) -> None:
        self.calls = 0
        self._clock = clock
        self._failures = failures
        self._lasts_s = lasts_s

    def __call__(self) -> None:
        self.calls += 1
        self._clock.advance(self._lasts_s[min(self.calls, len(self._lasts_s)) - 1])
        if self.calls <= self._failures:
            msg = f"failure {self.calls}"
            raise SourceError(msg)


def _try(attempt: Callable[[], None], worker: FakeWorker) -> list[tuple[str, float]]:
    """Run `keep_trying`; what `on_failure` heard."""
    heard: list[tuple[str, float]] = []
    keep_trying(attempt, worker, PLAIN, on_failure=lambda error, delay_s: heard.append((str(error), delay_s)))
    return heard


def test_keep_trying_waits_longer_and_longer_and_then_returns() -> None:
    """The waits double up to the most; each failure is told with the wait that follows; success ends it."""
    clock = FakeClock()
    worker = FakeWorker(clock)
    attempt = _Failing(clock, failures=5)
    heard = _try(attempt, worker)
    assert heard == [
        ("failure 1", 0.5), ("failure 2", 1.0), ("failure 3", 2.0), ("failure 4", 3.0), ("failure 5", 3.0),
    ]  # fmt: skip
    assert attempt.calls == 6
    assert sum(worker.event.waits) == pytest.approx(9.5)


def test_a_steady_attempt_starts_the_waits_afresh() -> None:
    """A camera that ran for ten seconds and fails is tried again soon, whatever was before."""
    clock = FakeClock()
    heard = _try(_Failing(clock, failures=5, lasts_s=(0.0, 0.0, 0.0, 10.0, 9.9)), FakeWorker(clock))
    assert [delay for _, delay in heard] == [0.5, 1.0, 2.0, 0.5, 1.0]


def test_a_pause_between_attempts_counts_as_progress() -> None:
    """The worker beats at least twice a second while it waits, so that nobody takes it for stuck."""
    clock = FakeClock()
    worker = FakeWorker(clock)
    _try(_Failing(clock, failures=4), worker)
    assert max(worker.event.waits) <= POLL_S
    assert worker.beats >= len(worker.event.waits)


def test_keep_trying_is_patient_where_an_error_asks_for_it() -> None:
    """The waits start with what the error asks for and grow to five times that; the next error has its own."""
    errors = [SinkError("wrong password", patience_s=60.0)] * 5 + [SinkError("refused")]
    attempts = iter(errors)

    def attempt() -> None:
        error = next(attempts, None)
        if error is not None:
            raise error

    heard = _try(attempt, FakeWorker(FakeClock()))
    assert [delay_s for _, delay_s in heard[:5]] == [60.0, 120.0, 240.0, 300.0, 300.0]
    assert heard[5][1] <= PLAIN.most_s


def test_keep_trying_stops_promptly_when_asked() -> None:
    """A stop during the pause ends it after one turn, without another attempt."""
    clock = FakeClock()
    worker = FakeWorker(clock)
    attempt = _Failing(clock, failures=99)

    def on_failure(_error: Exception, _delay_s: float) -> None:
        if attempt.calls == 3:
            worker.stop()

    keep_trying(attempt, worker, PLAIN, on_failure=on_failure)
    assert attempt.calls == 3
    assert sum(worker.event.waits) == pytest.approx(1.5)


def test_keep_trying_does_not_begin_when_already_stopped() -> None:
    """Asked to stop before the start: no attempt at all."""
    clock = FakeClock()
    worker = FakeWorker(clock)
    worker.stop()
    attempt = _Failing(clock, failures=0)
    assert _try(attempt, worker) == []
    assert attempt.calls == 0


def test_progress_starts_the_waits_from_the_shortest_again() -> None:
    """Whoever gets something done with each attempt is not made to wait longer and longer."""
    waits: dict[bool, list[float]] = {True: [], False: []}
    for progressed, heard in waits.items():
        failures = iter([SourceError("cut")] * 5)

        def attempt(failures: Iterator[Exception] = failures) -> None:
            for error in failures:
                raise error

        def note(_: Exception, delay_s: float, heard: list[float] = heard) -> None:
            heard.append(delay_s)

        keep_trying(
            attempt,
            FakeWorker(FakeClock()),
            Backoff(0.5, 2.0, 8.0, jitter=0.0),
            progressed=lambda progressed=progressed: progressed,  # type: ignore[misc]
            on_failure=note,
        )
    assert waits == {True: [0.5] * 5, False: [0.5, 1.0, 2.0, 4.0, 8.0]}


def test_every_error_is_told_and_retried_a_bug_too() -> None:
    """What nobody raised on purpose is handed to `on_failure` like the rest: the unit lives on."""
    clock = FakeClock()
    errors: list[Exception] = [SourceError("gone"), ZeroDivisionError("a bug")]

    def attempt() -> None:
        if errors:
            raise errors.pop(0)

    heard = _try(attempt, FakeWorker(clock))
    assert [text for text, _ in heard] == ["gone", "a bug"]


def test_pump_moves_every_frame_and_tells_the_end() -> None:
    """True at the end of the source; the channel is left open for whoever decides what the end means."""
    clock = FakeClock()
    worker = FakeWorker(clock)
    frames = [make_frame(index=index) for index in range(3)]
    channel: Channel[Frame] = Channel(5, Overflow.BLOCK)
    assert pump(FakeSource(frames).read, channel, worker)
    assert channel.take(9, 0.0) == frames
    assert not channel.ended
    assert worker.beats >= 3


def test_pump_passes_errors_on() -> None:
    """What came before a failure is in the channel; the error reaches who retries."""
    channel: Channel[Frame] = Channel(5, Overflow.BLOCK)
    source = FakeSource([make_frame(), SourceError("lost")])
    with pytest.raises(SourceError, match="lost"):
        pump(source.read, channel, FakeWorker(FakeClock()))
    assert len(channel) == 1


def test_pump_throws_away_what_came_after_it_was_abandoned() -> None:
    """A read that returns after the worker was told to stop brings nothing into the channel."""
    worker = FakeWorker(FakeClock())
    channel: Channel[Frame] = Channel(5, Overflow.BLOCK)

    def read() -> Frame:
        worker.stop()
        return make_frame()

    assert not pump(read, channel, worker)
    assert len(channel) == 0


def test_pump_reads_nothing_when_already_stopped() -> None:
    """A stop before the first read is obeyed."""
    worker = FakeWorker(FakeClock())
    worker.stop()
    source = FakeSource([make_frame()])
    channel: Channel[Frame] = Channel(1, Overflow.BLOCK)
    assert not pump(source.read, channel, worker)
    assert source.reads == 0


def test_pump_gives_up_a_full_channel_that_ends() -> None:
    """A receiver that is gone lets the reader go: no wait without end."""
    worker = FakeWorker(FakeClock())
    channel: Channel[Frame] = Channel(1, Overflow.BLOCK)
    source = FakeSource([make_frame(index=index) for index in range(9)])
    channel.end()
    assert not pump(source.read, channel, worker)
    assert source.reads == 1


def test_pump_waits_for_room_and_beats_meanwhile() -> None:
    """Against a slow receiver no frame of a recording is lost, and the reader does not look stuck."""
    worker = FakeWorker(FakeClock())
    frames = [make_frame(index=index) for index in range(20)]
    channel: Channel[Frame] = Channel(1, Overflow.BLOCK)
    received: list[Frame] = []
    thread = threading.Thread(target=lambda: consume(channel, received.append, FakeWorker(FakeClock())))
    thread.start()
    assert pump(FakeSource(frames).read, channel, worker)
    channel.end()
    thread.join(60)
    assert received == frames


def test_consume_hands_over_everything_until_the_channel_is_exhausted() -> None:
    """Items queued before the end are still handed over, in order; every turn is a beat."""
    worker = FakeWorker(FakeClock())
    channel: Channel[int] = Channel(5, Overflow.BLOCK)
    for item in range(4):
        channel.put(item, 0.0)
    channel.end()
    received: list[int] = []
    consume(channel, received.append, worker)
    assert received == [0, 1, 2, 3]
    assert worker.beats >= 8


def test_consume_stops_when_asked() -> None:
    """A stop is obeyed between two items; what is left stays in the channel."""
    worker = FakeWorker(FakeClock())
    channel: Channel[int] = Channel(5, Overflow.BLOCK)
    for item in range(4):
        channel.put(item, 0.0)

    def each(item: int) -> None:
        if item == 1:
            worker.stop()

    consume(channel, each, worker)
    assert len(channel) == 2


def test_consume_lets_errors_through() -> None:
    """A failed item ends the loop with its error; the next attempt goes on with the item after it."""
    channel: Channel[int] = Channel(5, Overflow.BLOCK)
    for item in (0, 1):
        channel.put(item, 0.0)
    channel.end()

    def each(item: int) -> None:
        if item == 0:
            msg = "bad item"
            raise ValueError(msg)
        received.append(item)

    received: list[int] = []
    worker = FakeWorker(FakeClock())
    with pytest.raises(ValueError, match="bad item"):
        consume(channel, each, worker)
    consume(channel, each, worker)
    assert received == [1]


def _queue_of(count: int) -> Channel[Message]:
    channel: Channel[Message] = Channel(100, Overflow.DROP_OLDEST)
    for number in range(1, count + 1):
        channel.put(make_message(number), 0.0)
    return channel


def _filler(channel: Channel[Message], pending: list[Message], most: int) -> Callable[[], bool]:
    def fill() -> bool:
        pending.extend(channel.take(most, 0.01))
        return channel.exhausted and not pending

    return fill


def _sender(sink: FakeSink) -> Callable[[list[Message]], None]:
    """Send a batch and take off the list what was delivered, as `deliver` asks of whoever sends."""

    def send(batch: list[Message]) -> None:
        done = len(batch)
        try:
            sink.send(batch)
        except SinkError as error:
            done = error.delivered
            raise
        finally:
            del batch[:done]

    return send


def test_deliver_sends_in_batches_until_exhausted() -> None:
    """At most `most` at once, oldest first, everything; then it returns with nothing pending."""
    sink, pending = FakeSink(), list[Message]()
    sizes: list[int] = []
    channel = _queue_of(7)
    channel.end()

    def send(batch: list[Message]) -> None:
        sizes.append(len(batch))
        _sender(sink)(batch)

    deliver(_filler(channel, pending, 3), pending, send, FakeWorker(FakeClock()))
    assert [message.seq for message in sink.sent] == [1, 2, 3, 4, 5, 6, 7]
    assert sizes == [3, 3, 1]
    assert pending == []


def test_deliver_leaves_in_the_list_what_a_failure_did_not_deliver() -> None:
    """The next attempt sends exactly the rest, before anything newer, and nothing twice."""
    sink, pending = FakeSink(failures=2, delivers=2), list[Message]()
    channel = _queue_of(7)
    channel.end()
    worker = FakeWorker(FakeClock())
    for left in ([3, 4, 5], [5]):
        with pytest.raises(SinkError):
            deliver(_filler(channel, pending, 5), pending, _sender(sink), worker)
        assert [message.seq for message in pending] == left
    deliver(_filler(channel, pending, 5), pending, _sender(sink), worker)
    assert [message.seq for message in sink.sent] == [1, 2, 3, 4, 5, 6, 7]


def test_deliver_calls_with_nothing_when_there_is_nothing() -> None:
    """An idle sink is still called, so that it can keep its connection alive; a stop then ends it."""
    worker = FakeWorker(FakeClock())
    calls: list[int] = []
    into: list[Message] = []

    def send(batch: list[Message]) -> None:
        calls.append(len(batch))
        if len(calls) == 2:
            worker.stop()

    deliver(_filler(_queue_of(0), into, 5), into, send, worker)
    assert calls == [0, 0]
    assert worker.beats >= 2


def test_deliver_stops_when_asked_and_keeps_the_rest() -> None:
    """A stop between two batches leaves the others queued: they are counted as undelivered, not lost."""
    worker = FakeWorker(FakeClock())
    channel, pending = _queue_of(6), list[Message]()

    def send(batch: list[Message]) -> None:
        batch.clear()
        worker.stop()

    deliver(_filler(channel, pending, 2), pending, send, worker)
    assert (len(channel), pending) == (4, [])


def test_every_ticks_until_the_tick_is_done() -> None:
    """One tick at once, then one a period, until a tick returns True."""
    clock = FakeClock()
    ticks: list[int] = []

    def tick() -> bool:
        ticks.append(clock.monotonic_ns())
        return len(ticks) == 4

    every(0.25, tick, clock)
    assert [(ns - ticks[0]) / 1e9 for ns in ticks] == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    "steps_needed, timeout_s, done, steps",
    [(0, 1.0, True, 0), (3, 1.0, True, 3), (3, 0.25, False, 3), (99, 1.0, False, 10)],
)
def test_until_steps_until_done_or_out_of_time(steps_needed: int, timeout_s: float, done: bool, steps: int) -> None:
    """It asks before each step, steps no more once done, and gives up after the time-out."""
    clock = FakeClock()
    taken: list[int] = []

    def step() -> None:
        taken.append(1)
        clock.advance(0.1)

    needed = steps_needed if done else 99
    assert until(lambda: len(taken) >= needed, step, timeout_s, clock) is done
    assert len(taken) == steps


def test_an_error_that_wants_patience_gets_it() -> None:
    """A camera that refuses a password is not asked every second; the next failure waits as usual."""
    clock, heard, failures = FakeClock(), list[float](), [SourceError("refused", patience_s=60), SourceError("gone")]

    def attempt() -> None:
        if failures:
            raise failures.pop(0)

    keep_trying(attempt, FakeWorker(clock), PLAIN, on_failure=lambda _, delay_s: heard.append(delay_s))
    assert heard == [60.0, 1.0]
    assert clock.monotonic_ns() == pytest.approx(62e9, abs=1e8)
