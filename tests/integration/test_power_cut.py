"""Cuts the power of an outbox, thousands of times: what it called saved is there, in order, and losses are told."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import power_load
import pytest
from conftest import ROOT, wait_until
from drill import mounted
from power_cut import Disk, build_recorder, cuts, read_log

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox import reserve, writer
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.rows import Row
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import SystemClock


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorder, compiled once."""
    return build_recorder(tmp_path_factory.mktemp("recorder"))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in ((writer, ("_GATHER_S", "_SECOND_NS")), (reserve, ("_MOST",))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    power_load.hurry()


@contextmanager
def recorded(recorder: Path, doing: str, tmp_path: Path, seed: int) -> Iterator[tuple[Path, Path]]:
    """The folder in which an outbox worked, while it is there, and the log of it."""
    log = tmp_path / "log"
    small = mounted(tmp_path / "disk", "2m") if doing == "no_room" else nullcontext()
    with small:
        under = tmp_path / "disk/under"
        under.mkdir(parents=True)
        environment = {**os.environ, "LD_PRELOAD": str(recorder), "POWER_LOG": str(log), "POWER_UNDER": str(under)}
        command = [sys.executable, *map(str, (ROOT / "tests/power_load.py", doing, under / "state/site", log, seed))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        yield under, log


class Promised:
    """What an outbox must have after a cut, by the marks that it left before."""

    def __init__(self, marks: Sequence[dict[str, Any]]) -> None:
        self.saved = {"verdict": 0, "gap": 0}
        self.delivered: set[tuple[str, int]] = set()
        self.told: set[tuple[str, int]] = set()
        self.harmed: set[tuple[str, int]] = set()
        for mark in marks:
            self.saved = mark.get("saved", self.saved)
            self.harmed |= {("verdict", seq) for seq in (mark.get("harmed"),) if seq}
            for kind, seq, body in mark.get("delivered", ()):
                self.delivered.add((kind, seq))
                self.tell(body)

    def tell(self, body: str | bytes) -> None:
        """A gap record came."""
        gap = json.loads(body)["gap"] if body else {}
        numbers = range(gap.get("first") or 1, (gap.get("last") or 0) + 1)
        self.told.update((gap["lost_kind"], seq) for seq in numbers)

    @property
    def owed(self) -> set[tuple[str, int]]:
        """What must be there."""
        saved = {(kind, seq) for kind, last in self.saved.items() for seq in range(1, last + 1)}
        return saved - self.delivered - self.told


def start(folder: Path, told: list[Gap], *said: Message) -> list[tuple[int, Message]]:
    """Start an outbox, deliver all that it has, and end it: numbers and messages."""
    outbox = Outbox(folder, OutboxOptions(), SystemClock(), lambda _, gap: told.append(gap), 4_000_000)
    feed = outbox.feed("sink", power_load.KINDS, 0.0)
    outbox.start()
    for message in said:
        outbox.put(message)
    got: list[tuple[int, Message]] = []

    def all_came() -> bool:
        for rows in iter(lambda: feed.take(500), []):
            got.extend((row.n, row.message) for row in rows)
            feed.settle(len(rows), None)
        return feed.empty and feed.waiting == 0

    try:
        wait_until(all_came, 60, f"all is delivered: {outbox.facts()}")
    finally:
        outbox.end()
        assert outbox.worker.join(60)
        outbox.close()
    assert outbox.state == "online"
    return got


def check(folder: Path, promised: Promised) -> None:
    """Start an outbox on what the cut left: it opens without help, and delivers what was promised, in order."""
    told: list[Gap] = []
    got = start(folder, told, power_load.message(1, "b2"))
    numbers = [n for n, _ in got]
    assert numbers == sorted(set(numbers))
    got += start(folder, told)  # a gap record may come again at the very end
    messages = [message for _, message in got]
    messages.remove(power_load.message(1, "b2"))
    for gap in told:
        promised.tell(msgspec.json.encode({"gap": gap}))
    for message in messages:
        if message.kind == "gap":
            promised.tell(message.body)
        else:
            assert message == power_load.message(message.seq)
    assert len({message.id for message in messages}) == len(messages)
    seqs = [message.seq for message in messages if message.kind == "verdict"]
    assert seqs == sorted(seqs)  # a gap record that would have to go comes once more, behind the others
    lost = promised.owed - {(message.kind, message.seq) for message in messages}
    assert lost <= promised.harmed, sorted(lost)
    assert bool(told) >= bool(lost)


_LONG = pytest.param(12, 250, marks=[pytest.mark.full, pytest.mark.timeout(1800)])


@pytest.mark.parametrize("doing", [one.__name__ for one in power_load.DOINGS])
@pytest.mark.parametrize("loads, count", [(1, 100), _LONG], ids=["short", "long"])
def test_what_was_saved_outlives_a_cut(recorder: Path, doing: str, loads: int, count: int, tmp_path: Path) -> None:
    """At any moment, whatever part of what was not synced is there."""
    first = int(os.environ.get("POWER_SEED", random.randrange(2**32)))
    done = 0
    for seed in range(first, first + loads):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with recorded(recorder, doing, folder, seed) as (under, log):
            for place, marks in cuts(log, under, folder, count, random.Random(seed)):
                print(f"POWER_SEED={seed} {place.name}")
                check(place / "state/site", Promised(marks))
                shutil.rmtree(place)
                done += 1
        shutil.rmtree(folder)
    print(f"{doing}: {done} cuts")


@pytest.mark.parametrize("doing", ["plain", "damaged_at_work"])
def test_the_recorder_sees_all_that_is_done(recorder: Path, doing: str, tmp_path: Path) -> None:
    """Made from the log alone, the files are what they are."""
    with recorded(recorder, doing, tmp_path, 1) as (under, log):
        disk = Disk(under)
        for record in read_log(log):
            disk.apply(record)
        disk.after_cut(tmp_path / "made", Everything(), whole=True)
        for name in ("outbox.db", "outbox.db-wal"):
            made = tmp_path / "made/state/site" / name
            assert made.read_bytes() == (under / "state/site" / name).read_bytes()


class Everything(random.Random):
    """By chance, all is there."""

    def random(self) -> float:
        """Less than any share."""
        return -1.0


def test_a_log_is_not_taken_for_that_of_another_file(tmp_path: Path) -> None:
    """A cut while a damaged file is set aside, between the renames of the file and of its log."""
    old, new = Store(tmp_path / "old"), Store(tmp_path / "outbox.db.new")
    rows = [Row(seq, 0.0, power_load.message(seq)) for seq in range(1, 301)]
    for store, some in ((old, rows[:280]), (new, rows[200:])):
        with store.transaction():
            store.note({"sink": 200}, 0.0)
            store.write(some)
        store.merge_log()
    with old.transaction():
        old.delete(0, 200, power_load.KINDS)
        old.write(rows[280:])
    shutil.copyfile(tmp_path / "old-wal", tmp_path / "outbox.db-wal")
    old.close()
    new.close()
    check(
        tmp_path,
        Promised([{"saved": {"verdict": 300, "gap": 0}}, {"delivered": [("verdict", n, "") for n in range(1, 201)]}]),
    )


def test_what_went_for_room_is_told_after_a_cut(tmp_path: Path) -> None:
    """The power goes when the oldest are deleted and the gap record is yet to be made."""
    found, saved = tmp_path / "found", list[int]()

    def tell(_source: str, _gap: Gap) -> None:
        if not saved:
            saved.append(min((one.seq for one in outbox.in_memory()), default=601) - 1)
            shutil.copytree(tmp_path / "site", found)

    outbox = Outbox(tmp_path / "site", OutboxOptions(max_mb=1), SystemClock(), tell, 4_000_000)
    outbox.feed("sink", power_load.KINDS, 0.0)
    outbox.start()
    for seq in range(1, 601):
        outbox.put(power_load.message(seq))
    wait_until(lambda: bool(saved), 60, "the oldest went")
    outbox.end()
    assert outbox.worker.join(60)
    outbox.close()
    with closing(Store(found / "outbox.db")) as store:
        assert store.first() > 1
    check(found, Promised([{"saved": {"verdict": saved[0], "gap": 0}}]))
