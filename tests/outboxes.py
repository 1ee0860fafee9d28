"""Outboxes in a folder, what is put into them, and what is taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import wait_until

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.rows import Row
from edge_vision.publish.wire import Gap
from edge_vision.testing.fakes import FakeClock

Told = list[tuple[str, Gap]]
Open = Callable[..., Outbox]


def message(seq: int, kind: str = "verdict", source: str = "gate", boot: str = "b1", size: int = 40) -> Message:
    """A message of so many bytes."""
    return Message(f"{boot}-{source}-{kind}-{seq}", boot, seq, kind, source, f"t/{source}/{kind}", b"x" * size)


def eventually(clock: FakeClock, true: Callable[[], bool], what: str, step_s: float = 0.1) -> None:
    """Wait for something, while a little of the clock's time passes, too."""

    def look() -> bool:
        clock.sleep(step_s)
        return true()

    wait_until(look, 60, what)


def shut(outbox: Outbox) -> None:
    """Write what is left, and let go of the file."""
    outbox.end()
    assert outbox.worker.join(60)
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


@contextmanager
def opening(folder: Path, told: Told, clock: FakeClock) -> Iterator[Open]:
    """Opens the outbox of a folder; those left open are closed."""
    left: list[Outbox] = []

    def open_it(memory_bytes: int = 1_000_000, **limits: float) -> Outbox:
        options = OutboxOptions.model_validate(limits)
        outbox = Outbox(folder, options, clock, lambda source, gap: told.append((source, gap)), memory_bytes)
        left.append(outbox)
        return outbox

    yield open_it
    for outbox in left:
        if outbox.worker.alive:
            shut(outbox)
