"""Checks the outbox on disks that are full, gone, damaged or not to be written: nothing is lost that is not told."""

import os
import random
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import wait_until
from drill import fill, mounted

from edge_vision.core.message import Message
from edge_vision.publish.options import OutboxOptions
from edge_vision.publish.outbox.feed import Feed
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import SystemClock

_KINDS = ("verdict", "gap")


class Site:
    """An outbox with one sink, and what came to it of what was said."""

    def __init__(self, folder: Path, memory_bytes: int = 4_000_000, boot: str = "b1", max_mb: float = 512.0) -> None:
        self.boot = boot
        self.said = 0
        self.gaps: list[Gap] = []
        self.got: Counter[int] = Counter()
        self.sums: dict[str, int] = {}
        options = OutboxOptions(max_mb=max_mb)
        self.outbox = Outbox(folder, options, SystemClock(), self._tell, memory_bytes)
        self.feed: Feed = self.outbox.feed("sink", _KINDS, 0.0)
        self.outbox.start()

    def _tell(self, _source: str, gap: Gap) -> None:
        self.gaps.append(gap)

    def say(self, count: int, size: int = 400) -> None:
        """Put so many messages."""
        for _ in range(count):
            self.said += 1
            name, body = f"{self.boot}-gate-verdict-{self.said}", os.urandom(size)
            self.sums[name] = zlib.crc32(body)
            self.outbox.put(Message(name, self.boot, self.said, "verdict", "gate", "t", body))

    def take(self, most: int = 200) -> int:
        """Deliver some; how many."""
        rows = self.feed.take(most)
        self.got.update(row.message.seq for row in rows if row.message.boot == self.boot)
        self.feed.settle(len(rows), None)
        return len(rows)

    def take_all(self) -> None:
        """Deliver everything."""

        def empty() -> bool:
            return not self.take() and self.feed.empty and self.feed.waiting == 0

        wait_until(empty, 60, f"all is delivered: {self.feed.waiting} wait, {self.outbox.facts()}")

    def written(self) -> bool:
        """Whether nothing waits in memory."""
        return not self.outbox.in_memory()

    def close(self) -> None:
        """End, as a daemon does."""
        self.outbox.end()
        assert self.outbox.worker.join(60)
        assert self.outbox.worker.error is None
        self.outbox.close()

    def check(self) -> int:
        """Each message came, or a gap tells of it, and of no other; how many did not come."""
        self.outbox.say_last_words()
        wait_until(lambda: not self.outbox._stock.losses, 60, "all gaps are told")
        missing = set(range(1, self.said + 1)) - set(self.got)
        known = {seq for gap in self.gaps for seq in range(gap.first or 1, (gap.last or 0) + 1)}
        unknown = sum(gap.count or 0 for gap in self.gaps if gap.lost_kind is None)
        assert known <= missing
        assert len(missing) == len(known) + unknown
        return len(missing)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    with mounted(tmp_path / "disk", "8m") as folder:
        yield folder


@pytest.fixture
def open_site() -> Iterator[Callable[..., Site]]:
    """Opens outboxes that are closed in the end."""
    sites: list[Site] = []

    def open_it(*arguments: object, **options: object) -> Site:
        sites.append(Site(*arguments, **options))  # type: ignore[arg-type]
        return sites[-1]

    yield open_it
    for site in sites:
        if site.outbox.worker.alive:
            site.close()


Open = Callable[..., Site]


def test_on_a_disk_that_somebody_filled_the_outbox_goes_on_and_loses_nothing(small_disk: Path, open_site: Open) -> None:
    """What is delivered is deleted all the same; what is new finds room there, or waits in memory."""
    site = open_site(small_disk)
    site.say(3_000)
    wait_until(site.written, 60, "all is written")
    foreign = fill(small_disk)
    site.say(1_000)
    wait_until(lambda: site.outbox.state == "lost", 60, "it is said")
    assert "full" in site.outbox.facts()["error"]
    wait_until(lambda: site.take() > 0 and sum(site.got.values()) >= 2_000, 60, "some are delivered")
    wait_until(site.written, 60, f"what is new is written into the room of what was delivered: {site.outbox.facts()}")
    site.say(100)
    foreign.unlink()
    wait_until(lambda: site.outbox.state == "online", 60, "it is well again")
    assert (small_disk / "outbox.reserve").exists()
    site.take_all()
    assert site.check() == 0


@pytest.mark.timeout(300)  # it syncs hundreds of times, and disks may be slow
def test_an_outbox_larger_than_its_disk_lets_the_oldest_go_and_tells(small_disk: Path, open_site: Open) -> None:
    """The disk is the limit then; whoever reads the gaps knows what is missing."""
    site = open_site(small_disk, memory_bytes=3_000_000)
    for _ in range(10):
        site.say(500, size=2_000)
        wait_until(lambda: len(site.outbox.in_memory()) < 600, 60, f"it goes on: {site.outbox.facts()}")
    site.take_all()
    assert site.check() > 500
    assert {gap.reason for gap in site.gaps} == {"the disk is full"}
    assert min(gap.first or 0 for gap in site.gaps) == 1
    wait_until(lambda: site.outbox.state == "online", 60, "it is well again")


def test_while_nothing_can_be_written_what_memory_cannot_hold_is_told(small_disk: Path, open_site: Open) -> None:
    """Nobody takes a message, and a foreign file took the reserve, too."""
    site = open_site(small_disk, memory_bytes=500_000)
    site.say(100)
    wait_until(site.written, 60, "all is written")
    foreign = fill(small_disk)
    for _ in range(10):
        site.say(200)
        wait_until(lambda: site.outbox.state == "lost", 60, "it is said")
        fill(small_disk)
    foreign.unlink()
    wait_until(site.written, 60, "it writes again")
    site.take_all()
    assert site.check() > 100


def test_on_a_disk_that_is_full_at_the_start_memory_serves_until_it_is_not(small_disk: Path, open_site: Open) -> None:
    """What waits on that disk is delivered then, too."""
    before = open_site(small_disk, boot="b0")
    before.say(50)
    wait_until(before.written, 60, "all is written")
    before.close()
    (small_disk / "outbox.reserve").unlink()
    foreign = fill(small_disk)
    site = open_site(small_disk)
    assert site.outbox.state == "lost"
    site.say(300)
    wait_until(lambda: site.take() > 0, 60, "memory serves")
    site.say(300)
    foreign.unlink()
    wait_until(lambda: site.outbox.state == "online", 60, f"it is well again: {site.outbox.facts()}")
    seen: Counter[str] = Counter()

    def empty() -> bool:
        rows = site.feed.take(200)
        seen.update(row.message.boot for row in rows)
        site.got.update(row.message.seq for row in rows if row.message.boot == "b1")
        site.feed.settle(len(rows), None)
        return not rows and site.feed.waiting == 0

    wait_until(empty, 60, "all is delivered")
    assert seen["b0"] == 50
    assert site.check() == 0
    site.close()
    again = open_site(small_disk, boot="b2")
    assert again.feed.waiting == 0
    again.say(10)
    again.take_all()
    assert again.check() == 0


def test_a_first_start_on_a_full_disk_holds_nothing_up(small_disk: Path, open_site: Open) -> None:
    """Nothing can be made there: no file, no log."""
    foreign = fill(small_disk)
    site = open_site(small_disk / "site" / "state")
    site.say(300)
    wait_until(lambda: site.take() > 0, 60, "memory serves")
    assert "full" in site.outbox.facts()["error"]
    foreign.unlink()
    wait_until(lambda: site.outbox.state == "online" and site.written(), 60, "it is well again")
    site.take_all()
    assert site.check() == 0


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("removed", marks=pytest.mark.full),
        "folder removed",
        pytest.param("replaced", marks=pytest.mark.full),
        "garbage",
        "truncated",
    ],
)
def test_a_file_that_is_spoiled_under_us_is_begun_anew(tmp_path: Path, open_site: Open, how: str) -> None:
    """What is on its way goes on, what can be read is saved, and what cannot is counted."""
    folder = tmp_path / "state"
    file = folder / "outbox.db"
    site = open_site(folder, memory_bytes=30_000_000)
    site.say(8_000)
    wait_until(site.written, 60, "all is written")
    assert site.take() == 200
    if how == "removed":
        file.unlink()
    elif how == "folder removed":
        shutil.rmtree(folder)
    elif how == "replaced":
        (folder / "other").write_bytes(b"something else" * 1_000)
        (folder / "other").rename(file)
    elif how == "garbage":
        with file.open("r+b") as target:
            target.write(os.urandom(file.stat().st_size))
    else:
        os.truncate(file, file.stat().st_size // 2)

    def seen() -> bool:
        site.say(20)
        site.take()
        return bool(site.outbox.facts()["set_aside"] == 1)

    wait_until(seen, 60, "it is seen")
    site.say(500)
    site.take_all()
    wait_until(site.written, 60, "all is written")
    lost = site.check()
    if how in ("removed", "folder removed", "replaced"):
        assert lost == 0
    assert file.exists()
    site.close()
    again = open_site(folder, boot="b2")
    assert (again.outbox.facts()["set_aside"], again.feed.waiting) == (0, 0)


def test_a_disk_that_becomes_read_only_is_waited_for(small_disk: Path, open_site: Open) -> None:
    """In memory; what is on disk is still delivered."""
    site = open_site(small_disk)
    site.say(500)
    wait_until(site.written, 60, "all is written")
    site.close()
    command = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(command, check=True)
    again = open_site(small_disk, boot="b2")
    assert again.outbox.state == "lost"
    again.say(100)
    wait_until(lambda: again.take() > 0 and sum(again.got.values()) == 100, 60, "memory serves")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    wait_until(lambda: again.outbox.state == "online", 60, "it is well again")
    wait_until(lambda: again.take() >= 0 and again.feed.waiting == 0, 60, "what was on disk is delivered")
    assert again.check() == 0


@pytest.mark.parametrize("spoiled", [False, True])
def test_nothing_is_said_to_be_lost_when_all_of_a_damaged_file_could_be_rescued(
    tmp_path: Path, open_site: Open, spoiled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Every message is as it was written, and the index knows of no other; with one that is not, it is said."""
    before = open_site(tmp_path, boot="b0")
    before.say(300)
    wait_until(before.written, 60, "all is written")
    before.take(100)
    before.close()
    file = tmp_path / "outbox.db"
    with closing(Store(file)) as store:
        body = store.read(0, 2**62, _KINDS, 200)[0][150].message.body
        store.merge_log()
    content = bytearray(file.read_bytes())
    content[36:40] = (77).to_bytes(4, "big")  # how many pages are free: https://sqlite.org/fileformat.html, 1.3
    if spoiled:
        content[content.index(body[:40]) + 5] ^= 1
    file.write_bytes(content)
    site = open_site(tmp_path, boot="b1")
    assert site.feed.waiting == (199 if spoiled else 200)
    site.say(1)
    site.take_all()
    wait_until(site.written, 60, "all is written")
    site.close()
    assert site.outbox.facts()["set_aside"] == 1
    assert [gap.count for gap in site.gaps] == ([None] if spoiled else [])
    assert ("everything in it could be rescued" in caplog.text) is not spoiled


def _fuzz(folder: Path, open_site: Open, seed: int) -> None:
    """Damage a file at random places and see what comes of it, at a start and while it is in use."""
    numbers = random.Random(seed)
    file = folder / "outbox.db"
    before = open_site(folder, boot="b0")
    before.say(3_000, size=200)
    wait_until(before.written, 60, "all is written")
    before.close()
    bodies: dict[str, int] = {}

    def spoil() -> None:
        size = file.stat().st_size
        with file.open("r+b") as target:
            for _ in range(numbers.choice((1, 3, 10, 100, 1_000))):
                target.seek(numbers.randrange(size))
                target.write(bytes([numbers.randrange(256)]))

    spoil()
    site = open_site(folder)
    site.say(5_000, size=200)
    wait_until(site.written, 60, "all is written")
    spoil()

    def take() -> bool:
        rows = site.feed.take(300)
        for row in rows:
            bodies[row.message.id] = zlib.crc32(row.message.body)
            if row.message.boot == "b1":
                site.got[row.message.seq] += 1
        site.feed.settle(len(rows), None)
        return not rows and site.feed.empty and site.feed.waiting == 0

    wait_until(take, 60, f"all is delivered: {site.feed.waiting} wait, {site.outbox.facts()}")
    site.say(100, size=200)
    wait_until(take, 60, f"it goes on: {site.feed.waiting} wait, {site.outbox.facts()}")
    said = {**before.sums, **site.sums}
    assert all(said[name] == body for name, body in bodies.items()), "what came is what was said"
    lost = set(said) - set(bodies)
    assert not lost or site.gaps, f"{len(lost)} are lost, and nobody says it"
    at_runtime = [gap.count for gap in site.gaps if gap.count is not None]
    at_start = any(gap.count is None for gap in site.gaps)
    assert at_start or len(lost) == sum(at_runtime)
    site.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_never_ends_the_process_and_never_changes_a_message(
    tmp_path: Path, open_site: Open, seed: int
) -> None:
    """Bytes are changed at random, at rest and in use."""
    _fuzz(tmp_path / "state", open_site, seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3, 53))
def test_fifty_damaged_files(tmp_path: Path, open_site: Open, seed: int) -> None:
    """The same, many times."""
    _fuzz(tmp_path / "state", open_site, seed)
