"""Checks what becomes of messages that wait when the site file is edited meanwhile."""

from pathlib import Path

from conftest import wait_until

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import SystemClock


def run(folder: Path, sinks: dict[str, tuple[str, ...]], messages: int, boot: str) -> list[Gap]:
    """A run in which messages come and nobody delivers; the gaps that were told."""
    told: list[Gap] = []
    outbox = Outbox(folder, OutboxOptions(), SystemClock(), lambda _, gap: told.append(gap))
    for name, kinds in sinks.items():
        outbox.feed(name, kinds, 0.0)
    outbox.start()
    for seq in range(1, messages + 1):
        for kind in ("verdict", "count", "gap"):
            outbox.put(Message(f"{boot}-gate-{kind}-{seq}", boot, seq, kind, "gate", "t", b"{}"))
    wait_until(lambda: not outbox.in_memory(), 60, "all is written")
    outbox.end()
    assert outbox.worker.join(60)
    outbox.close()
    return told


def test_what_waited_for_a_sink_that_is_gone_is_told(tmp_path: Path) -> None:
    """By its numbers, once; of the sinks that are still there nothing is lost."""
    assert run(tmp_path, {"old": ("verdict", "gap"), "kept": ("count", "gap")}, 5, "b1") == []
    told = run(tmp_path, {"kept": ("count", "gap")}, 2, "b2")
    assert told == [Gap("old", "the site has no such sink", 5, "b1", "verdict", 1, 5)]
    assert run(tmp_path, {"kept": ("count", "gap")}, 0, "b3") == []
    store = Store(tmp_path / "outbox.db")
    assert [(one.boot, one.kind, one.count) for one in store.ranges(("verdict", "count"), 0, 10_000)] == [
        ("b1", "count", 5),
        ("b2", "count", 2),
    ]
    store.close()


def test_a_kind_that_a_sink_does_not_owe_any_more_is_told(tmp_path: Path) -> None:
    """What it owes besides still waits."""
    run(tmp_path, {"one": ("verdict", "count")}, 3, "b1")
    told = run(tmp_path, {"one": ("count",)}, 0, "b2")
    assert told == [Gap("one", "the site no longer keeps such messages for it", 3, "b1", "verdict", 1, 3)]
    again = run(tmp_path, {"one": ("count",)}, 0, "b3")
    assert again == []
