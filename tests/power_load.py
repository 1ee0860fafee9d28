"""What an outbox does while the power is cut: run as a process of its own, `power_load.py DOING FOLDER LOG SEED`.

It marks in the log what the outbox says is saved, and what is delivered; see tests/power_cut.py.
"""

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox import reserve, writer
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import SystemClock

KINDS: Final = ("verdict", "gap")


def body(seq: int) -> bytes:
    """That of a message, made from its number."""
    numbers = random.Random(seq)
    return numbers.randbytes(numbers.randrange(50, 4_000))


def message(seq: int, boot: str = "b1") -> Message:
    """A message that may not be lost."""
    return Message(f"{boot}-gate-verdict-{seq}", boot, seq, "verdict", "gate", "t", body(seq))


def hurry() -> None:
    """Let much happen in little time, and on little disk."""
    writer._GATHER_S, writer._SECOND_NS = 0.001, 20_000_000  # type: ignore[misc]
    reserve._MOST = 200_000  # type: ignore[misc]


class Load:
    """An outbox with one sink, and marks of what it promised."""

    def __init__(self, folder: Path, log: Path, seed: int, max_mb: float) -> None:
        self.numbers = random.Random(seed)
        self.file = folder / "outbox.db"
        self._folder, self._options = folder, OutboxOptions(max_mb=max_mb)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._said = {"verdict": 0, "gap": 0}
        self.open()

    def open(self) -> None:
        """Open it, as a daemon does."""
        self.outbox = Outbox(self._folder, self._options, SystemClock(), self._tell, 4_000_000)
        self._feed = self.outbox.feed("sink", KINDS, 0.0)
        self.outbox.start()

    def close(self) -> None:
        """Close it."""
        self.outbox.end()
        assert self.outbox.worker.join(60)
        self.outbox.close()
        self.mark_saved()

    def _tell(self, source: str, gap: Gap) -> None:
        seq = self._said["gap"] + 1
        self.outbox.put(Message(f"b1--gap-{seq}", "b1", seq, "gap", source, "t", msgspec.json.encode({"gap": gap})))
        self._said["gap"] = seq

    def mark(self, **what: Any) -> None:
        """Write into the log what is so from now on."""
        data = json.dumps(what).encode()
        os.write(self._log, b"M 0 0 %d\n%s" % (len(data), data))

    def mark_saved(self) -> None:
        """Mark up to which message everything is on disk, if the outbox is to be believed."""
        saved = dict(self._said)
        for one in reversed(self.outbox.in_memory()):
            saved[one.kind] = min(saved[one.kind], one.seq - 1)
        self.mark(saved=saved)

    def say(self, count: int) -> None:
        """Put so many messages."""
        for _ in range(count):
            self._said["verdict"] += 1
            self.outbox.put(message(self._said["verdict"]))

    def take(self, most: int) -> int:
        """Deliver some; how many."""
        rows = [row.message for row in self._feed.take(most)]
        self.mark(delivered=[(one.kind, one.seq, one.body.decode() if one.kind == "gap" else "") for one in rows])
        self._feed.settle(len(rows), None)
        return len(rows)

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Wait for something, marking what is saved."""
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end, f"{what}: {self.outbox.facts()}"
            time.sleep(0.002)
            self.mark_saved()

    def written(self) -> None:
        """Wait until all is on disk."""
        self.wait(lambda: not self.outbox.in_memory(), "all is written")
        self.mark_saved()

    def work(self, rounds: int, taken: int = 30) -> None:
        """Put and deliver, a few at a time."""
        for _ in range(rounds):
            self.say(self.numbers.randrange(1, 20))
            self.wait(lambda: len(self.outbox.in_memory()) < self.numbers.randrange(1, 20), "some is written")
            self.mark_saved()
            if taken:
                self.take(self.numbers.randrange(1, taken))

    def empty(self) -> None:
        """Deliver all."""
        self.wait(lambda: not self.take(100) and self._feed.empty, "all is delivered")

    def ask(self, text: str) -> int:
        """Ask the file, past the outbox."""
        with closing(sqlite3.connect(self.file)) as file:
            return int(file.execute(text).fetchone()[0])

    def harm(self, offset: int, data: bytes) -> None:
        """Write over a part of the file, with no outbox knowing."""
        file = os.open(self.file, os.O_RDWR)
        os.pwrite(file, data, offset)
        os.fsync(file)
        os.close(file)


def plain(load: Load) -> None:
    """Put and deliver; end; again."""
    load.work(60)
    load.close()
    load.open()
    load.work(60)


def overfull(load: Load) -> None:
    """More than `max_mb`: the oldest go, and it is told; then all is delivered, and the disk given back."""
    load.work(70, taken=0)
    load.empty()
    load.work(20)
    load.wait(lambda: load.file.stat().st_size < 600_000, "the disk is given back")


def no_room(load: Load) -> None:
    """Somebody fills the disk, and makes room again."""
    foreign = load.file.parents[2] / "foreign"
    load.work(20, taken=10)
    with foreign.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            for _ in range(5_000):
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
    for _ in range(10):
        load.say(20)
        load.take(30)
        load.mark_saved()
        time.sleep(0.02)
    foreign.unlink()
    load.written()
    load.work(20)


def damaged_at_rest(load: Load) -> None:
    """The index is broken when it is opened: all is rescued."""
    load.work(40, taken=10)
    load.written()
    load.close()
    page = load.ask("SELECT rootpage FROM sqlite_master WHERE name = 'by_seq'")
    load.ask("PRAGMA wal_checkpoint(FULL)")
    load.harm((page - 1) * 4096, b"\xff" * 4096)
    load.open()
    assert load.outbox.facts()["set_aside"] >= 1
    load.work(20)


def damaged_at_work(load: Load) -> None:
    """One message is broken when it is to be delivered: all others are rescued."""
    load.work(40, taken=3)
    load.written()
    load.close()
    load.open()
    load.ask("PRAGMA wal_checkpoint(FULL)")
    data = load.file.read_bytes()
    seq = next(seq for seq in range(250, 0, -1) if len(body(seq)) < 1_000 and data.count(body(seq)) == 1)
    load.mark(harmed=seq)
    load.harm(data.index(body(seq)), b"not what it was")
    load.empty()
    load.written()
    load.work(20)
    assert load.outbox.facts()["set_aside"] >= 1


DOINGS: Final = (plain, overfull, no_room, damaged_at_rest, damaged_at_work)

if __name__ == "__main__":
    hurry()
    name, folder, log, seed = sys.argv[1:]
    doing = next(one for one in DOINGS if one.__name__ == name)
    load = Load(Path(folder), Path(log), int(seed), 1 if doing is overfull else 512)
    doing(load)
    load.written()
    load.close()
