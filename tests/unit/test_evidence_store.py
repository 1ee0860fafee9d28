"""The folder of evidence: whole files or none, within its limits, and nobody else's files touched."""

import hashlib
import io
import os
import stat
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_vision.core.errors import EvidenceError
from edge_vision.publish.evidence.ages import LEDGER
from edge_vision.publish.evidence.store import Store
from edge_vision.testing.fakes import NOON, FakeClock

_KB = 1000


def _store(folder: Path, kilobytes: int = 100, age_s: float = 3600.0, clock: FakeClock | None = None) -> Store:
    store = Store(folder, kilobytes * _KB, age_s, clock or FakeClock())
    store.tidy()
    return store


def _fill(store: Store, count: int, size: int = 10 * _KB, start_s: float = 0.0) -> list[str]:
    """So many sets of two files, a second apart; their names."""
    names = []
    for number in range(count):
        name = store.begin(NOON + timedelta(seconds=start_s + number), "cam-1")
        for kind in ("annotated", "clean"):
            store.save(f"{name}.0001.{kind}.jpg", bytes([number % 256]) * (size // 2))
        store.end(name)
        names.append(name)
    return names


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.name != LEDGER)


def test_a_file_is_whole_private_and_named_by_its_time(tmp_path: Path) -> None:
    """0640 in a folder of 0750, whatever the umask; what is said of it is true."""
    before = os.umask(0o077)
    try:
        store = _store(tmp_path / "a/evidence")
        name = store.begin(NOON, "gate")
        stored = store.save(f"{name}.0001.clean.jpg", b"picture")
    finally:
        os.umask(before)
    file = tmp_path / "a/evidence" / stored.path
    assert stored.path == "20261122T120000.000000Z.gate.0001.clean.jpg"
    assert file.read_bytes() == b"picture"
    assert (stored.bytes, stored.sha256) == (7, hashlib.sha256(b"picture").hexdigest())
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
    assert _names(file.parent) == [stored.path]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its name is, after `sync`: no cut of the power leaves less than what was told."""
    store, synced, fsync = _store(tmp_path), list[tuple[bool, int, list[str]]](), os.fsync

    def noted(opened: int) -> None:
        about = os.fstat(opened)
        synced.append((stat.S_ISDIR(about.st_mode), about.st_size, _names(tmp_path)))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    stored = store.save(f"{store.begin(NOON, 'gate')}.0001.clean.jpg", b"picture")
    assert synced == [(False, 7, [f".part-{stored.path}"])]
    store.sync()
    store.sync()
    assert [(folder, names) for folder, _, names in synced[1:]] == [(True, [stored.path])]


def test_two_sets_of_one_moment_have_names_of_their_own(tmp_path: Path) -> None:
    """Also behind a restart, when the clock was set back."""
    (first,) = _fill(_store(tmp_path), 1)
    again = _store(tmp_path)
    assert again.begin(NOON, "cam-1") != first
    assert again.begin(NOON, "cam-2") == f"{first.partition('Z.')[0]}Z.cam-2"


def test_the_oldest_go_first_and_together(tmp_path: Path) -> None:
    """Never half of what belongs to an event, and never more on disk than the limit."""
    store = _store(tmp_path, kilobytes=45)
    names = _fill(store, 10)
    assert _names(tmp_path) == [f"{name}.0001.{kind}.jpg" for name in names[-4:] for kind in ("annotated", "clean")]
    assert store.removed == 12
    assert store.load == sum(file.stat().st_size for file in tmp_path.iterdir()) <= 45 * _KB


def test_the_oldest_is_so_by_its_time_not_by_its_end(tmp_path: Path) -> None:
    """Clips of several cameras end in another order than they began."""
    store = _store(tmp_path, kilobytes=45)
    names = [store.begin(NOON + timedelta(seconds=second), "cam") for second in (3, 1, 2, 0)]
    for name in names:
        store.save(f"{name}.0001.clean.jpg", b"x" * 10 * _KB)
    for name in names:
        store.end(name)
    store.save(f"{store.begin(NOON + timedelta(seconds=9), 'cam')}.0001.clean.jpg", b"x" * 20 * _KB)
    assert [name[13:15] for name in _names(tmp_path)] == ["02", "03", "09"]


def test_the_limit_holds_across_restarts(tmp_path: Path) -> None:
    """What an earlier run left counts, and goes first."""
    old = _fill(_store(tmp_path), 6)
    store = _store(tmp_path, kilobytes=40)
    assert store.removed == 4
    assert {name.partition(".0001")[0] for name in _names(tmp_path)} == set(old[2:])
    new = _fill(store, 2, start_s=100)
    assert {name.partition(".0001")[0] for name in _names(tmp_path)} == {*old[4:], *new}


def test_a_set_that_has_not_ended_stays(tmp_path: Path) -> None:
    """A clip is being written to it: newer ones go, and when there is no room at all that is an error."""
    store = _store(tmp_path, kilobytes=30)
    name = store.begin(NOON, "cam")
    store.save(f"{name}.0001.clean.jpg", b"x" * 10 * _KB)
    _fill(store, 5, start_s=5)
    assert f"{name}.0001.clean.jpg" in _names(tmp_path)
    with pytest.raises(EvidenceError, match=r"no room: there are 0\.0 MB of events that last"):
        store.save(f"{name}.0002.clean.jpg", b"x" * 25 * _KB)
    assert _names(tmp_path) == [f"{name}.0001.clean.jpg"]
    assert store.load == 10 * _KB


def test_drafts_count_while_they_grow(tmp_path: Path) -> None:
    """A clip makes room as it is written, and gives it back when it is given up."""
    store = _store(tmp_path, kilobytes=30)
    _fill(store, 3)
    name = store.begin(NOON + timedelta(seconds=60), "cam")
    draft = store.open_draft(f"{name}.clip.mp4")
    for kilobytes in (5, 10, 15):
        draft.stream.write(b"x" * 5 * _KB)
        draft.stream.flush()
        store.grew(draft)
        assert store.load <= 30 * _KB
        assert draft.size == kilobytes * _KB
    assert store.removed == 4
    store.discard(draft)
    assert store.load == 10 * _KB
    assert not [file for file in _names(tmp_path) if file.endswith(".mp4")]


def test_room_is_made_before_a_draft_grows(tmp_path: Path) -> None:
    """So that there is never more than the limit, not for a moment."""
    store = _store(tmp_path)
    _fill(store, 10)
    with store.draft(f"{store.begin(NOON, 'gate')}.clip.mp4") as draft:
        store.grew(draft, 25 * _KB)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) == 70 * _KB
        with pytest.raises(EvidenceError, match="no room"):
            store.grew(draft, 101 * _KB)


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """By the time for which the daemon ran since; what is being written stays."""
    clock = FakeClock()
    store = _store(tmp_path, age_s=60, clock=clock)
    names: list[str] = []
    for _ in range(3):
        names += _fill(store, 1, start_s=len(names))
        clock.advance(1)
    clock.advance(58.5)
    store.tidy()
    assert {file.partition(".0001")[0] for file in _names(tmp_path)} == {names[2]}
    assert store.removed == 4


class SteppingClock(FakeClock):
    """One whose wall time was set to something else."""

    stepped = timedelta(0)

    def now(self) -> datetime:
        """Wall time, as it was set."""
        return super().now() + self.stepped


@pytest.mark.parametrize("years", [30, -30])
def test_a_step_of_the_clock_makes_nothing_older_or_younger(years: int, tmp_path: Path) -> None:
    """A board without a battery boots years ago and is set when the network is there: all stays for its time."""
    clock, step = SteppingClock(), timedelta(days=365 * years)
    store = _store(tmp_path, age_s=3600, clock=clock)
    (before,) = _fill(store, 1)
    clock.advance(1800)
    clock.stepped = step
    after = store.begin(NOON + step, "cam-1")
    store.save(f"{after}.0001.clean.jpg", b"x")
    store.end(after)
    store.tidy()
    assert store.removed == 0
    clock.advance(1801)
    store.tidy()
    assert _names(tmp_path) == [f"{after}.0001.clean.jpg"]
    clock.advance(1800)
    store.tidy()
    assert _names(tmp_path) == []
    assert before != after
    assert list(tmp_path.iterdir()) == [], "nothing is left to be old"


def test_what_came_first_goes_first_though_the_clock_was_set_back(tmp_path: Path) -> None:
    """The newest must not go at once because it says that it is of 1996; across a restart, too."""
    clock = FakeClock()
    store = _store(tmp_path, kilobytes=45, clock=clock)
    old = []
    for day in (0, 1, 2, -10_000, -9_999):
        old += _fill(store, 1, start_s=86_400.0 * day)
        clock.advance(10)
    assert {name.partition(".0001")[0] for name in _names(tmp_path)} == set(old[1:])
    store.note_ages()
    again = _store(tmp_path, kilobytes=45, clock=FakeClock())
    new = _fill(again, 2, start_s=-86_400.0 * 11_000)
    assert {name.partition(".0001")[0] for name in _names(tmp_path)} == {*old[3:], *new}


def test_ages_outlive_the_process(tmp_path: Path) -> None:
    """What it ran before counts, what it did not run does not; a kill costs what came since the last note."""
    clock = FakeClock()
    store = _store(tmp_path, age_s=3600, clock=clock)
    (first,) = _fill(store, 1)
    clock.advance(3000)
    store.tidy()
    _fill(store, 1, start_s=3000)  # killed before it was noted
    clock = FakeClock(NOON + timedelta(days=1000))
    store = _store(tmp_path, age_s=3600, clock=clock)
    assert store.removed == 0
    clock.advance(601)
    store.tidy()
    assert store.removed == 2
    assert not [name for name in _names(tmp_path) if name.startswith(first)]
    clock.advance(3000)
    store.tidy()
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\x00\n\n", b"nan x\ninf y\n1e300 z\n-5 a\n", b"17 \n 17\n", b"99999999"],
    ids=["empty", "garbage", "no times", "no names", "torn"],
)
def test_a_ledger_that_is_damaged_removes_nothing(damage: bytes, tmp_path: Path) -> None:
    """What it does not know is as old as this run, and goes in its time."""
    clock = FakeClock()
    _fill(_store(tmp_path), 2)
    (tmp_path / LEDGER).write_bytes(damage)
    store = _store(tmp_path, age_s=60, clock=clock)
    assert store.removed == 0
    clock.advance(61)
    store.tidy()
    assert _names(tmp_path) == []


def test_the_ledger_stays_small(tmp_path: Path) -> None:
    """A line a minute is added for years; the sets of a month, noted once, come on top."""
    clock = FakeClock()
    store = _store(tmp_path, age_s=1e9, clock=clock)
    (name,) = _fill(store, 1)
    for _ in range(5000):
        clock.advance(60)
        store.note_ages()
    assert (tmp_path / LEDGER).stat().st_size < 30_000
    again = _store(tmp_path, age_s=300_010, clock=(later := FakeClock()))
    later.advance(5)
    again.tidy()
    assert len(_names(tmp_path)) == 2
    later.advance(10)
    again.tidy()
    assert _names(tmp_path) == [], name


def test_half_a_line_on_a_full_disk_makes_nothing_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is noted next must not be joined to it: 30 and 3500 s would be 303500 s, and all would go."""
    clock = FakeClock()
    store = _store(tmp_path, age_s=3600, clock=clock)
    _fill(store, 1)
    store.note_ages()
    clock.advance(3000)

    def open_full(path: Path, mode: str) -> _FullDisk:
        return _FullDisk(path, mode)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(EvidenceError, match="No space left on device"):
        store.note_ages()
    monkeypatch.undo()
    assert not (tmp_path / LEDGER).read_bytes().endswith(b"\n")
    clock.advance(500)
    (newest,) = _fill(store, 1, start_s=3500)
    store.note_ages()
    later = FakeClock()
    again = _store(tmp_path, age_s=3600, clock=later)
    assert again.removed == 0
    later.advance(150)
    again.tidy()
    assert {file.partition(".0001")[0] for file in _names(tmp_path)} == {newest}


class _FullDisk(io.FileIO):
    """A file that takes half of what is written, as there is no more room."""

    def write(self, content: Any) -> int:
        """Half of it."""
        super().write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")


def test_what_could_not_be_removed_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was read-only for an hour must not stay full for ever."""
    store = _store(tmp_path, kilobytes=45)
    _fill(store, 4)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".jpg") and not path.name.startswith("."):
            raise OSError(30, "Read-only file system")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(EvidenceError, match="no room"):
        store.save(f"{store.begin(NOON, 'gate')}.0001.clean.jpg", b"x" * 10 * _KB)
    assert (store.removed, len(_names(tmp_path))) == (0, 8)
    monkeypatch.undo()
    store.tidy()
    _fill(store, 1, start_s=100)
    assert store.removed == 2


def test_a_restart_removes_what_is_half_written_and_nothing_of_others(tmp_path: Path) -> None:
    """Files of other names stay and do not count, folders and links too, whatever they are called."""
    (kept,) = _fill(_store(tmp_path), 1)
    other = ["notes.txt", ".part-notes", "20261122T120000.000000Z.gate.0001.clean.jpeg", "x.clip.mp4",
             "20261322T120000.000000Z.gate.clip.mp4"]  # fmt: skip
    for name in other:
        (tmp_path / name).write_bytes(b"y" * 200 * _KB)
    (tmp_path / "20261122T120001.000000Z.gate.clip.mp4").mkdir()
    (tmp_path / "20261122T120002.000000Z.gate.clip.mp4").symlink_to("notes.txt")
    (tmp_path / ".part-20261122T120003.000000Z.gate.clip.mp4").write_bytes(b"z")
    store = _store(tmp_path, kilobytes=11)
    assert store.load == 10 * _KB
    _fill(store, 1, start_s=100)
    left = _names(tmp_path)
    assert [name for name in left if kept in name or "120003" in name] == []
    assert set(other) <= set(left)
    assert {name for name in left if "12000" in name} > {"20261122T120001.000000Z.gate.clip.mp4"}
    assert (tmp_path / "notes.txt").stat().st_size == 200 * _KB


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "/etc/passwd", "20261122T120000.000000Z.gate.clip.mp4/../secret", "secret", "", ".",
        "20261122T120000.000000Z.../../secret.clip.mp4", ".part-20261122T120000.000000Z.gate.clip.mp4",
        "20261122T120000.000000Z.gate.clip.mp4\n", "20261122T120000.000000Z.gate.clip.mp4\x00",
    ],
)  # fmt: skip
def test_nothing_but_evidence_is_given_out(path: str, tmp_path: Path) -> None:
    """By names that are none, whatever lies there."""
    folder = tmp_path / "evidence"
    store = _store(folder)
    (tmp_path / "secret").write_text("secret")
    (folder / "secret").write_text("secret")
    with pytest.raises(EvidenceError, match="is no path of a file of evidence"):
        store.fetch(path, 0, 100)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A link is not followed; a folder and a pipe are no files; what is gone is told."""
    store = _store(tmp_path)
    (name,) = _fill(store, 1)
    assert store.fetch(f"{name}.0001.clean.jpg", 0, 5 * _KB) == (b"\x00" * 5 * _KB, 5 * _KB)
    target, gone = "20261122T120009.000000Z.gate.clip.mp4", "20261122T120010.000000Z.gate.clip.mp4"
    (tmp_path / target).symlink_to("/etc/passwd")
    with pytest.raises(EvidenceError, match="symbolic link"):
        store.fetch(target, 0, 10_000)
    with pytest.raises(EvidenceError, match="is not there"):
        store.fetch(gone, 0, 10_000)
    for make in (Path.mkdir, os.mkfifo):
        make(tmp_path / gone)
        with pytest.raises(EvidenceError, match=f"^{gone}: is not a file"):
            store.fetch(gone, 0, 10_000)
        (tmp_path / gone).rmdir() if make is Path.mkdir else (tmp_path / gone).unlink()


def test_only_the_part_that_is_asked_for_is_read(tmp_path: Path) -> None:
    """Of a file of any size: 64 GB of holes costs as little as its last bytes. Behind the end there is nothing."""
    store = _store(tmp_path)
    (name,) = _fill(store, 1)
    path = f"{name}.0001.clean.jpg"
    size = 1 << 36
    with (tmp_path / path).open("wb") as stream:
        stream.truncate(size - 4)
        stream.seek(0, os.SEEK_END)
        stream.write(b"last")
    tracemalloc.start()
    try:
        assert store.fetch(path, size - 6, 100) == (b"\0\0last", size)
        assert store.fetch(path, size - 1000, 10) == (bytes(10), size)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert store.fetch(path, 1 << 48, 262_144) == (b"", size)


def test_what_another_site_is_writing_is_not_removed(tmp_path: Path) -> None:
    """Two sites by mistake in one folder: the clip of the one is there when it is done, though the other looked."""
    one = _store(tmp_path)
    name = one.begin(NOON, "gate")
    with one.draft(f"{name}.clip.mp4") as draft:
        draft.stream.write(b"half")
        _fill(_store(tmp_path), 1)
        draft.stream.write(b" and half")
        stored = one.keep(draft)
    assert one.fetch(stored.path, 0, 100)[0] == b"half and half"
    (tmp_path / f".part-{name}.clip.mp4").write_bytes(b"of a process that died")
    assert _store(tmp_path).load == 10 * _KB + 13
    assert not list(tmp_path.glob(".part-*"))


def test_a_look_that_broke_off_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one goes on from there; what is being written stays, whoever wants room."""
    _fill(_store(tmp_path), 3)
    looks = []

    def look(store: Store, entry: "os.DirEntry[str]") -> None:
        looks.append(entry)
        if len(looks) == 4:
            raise PermissionError(13, "Permission denied")
        take_in(store, entry)

    take_in = Store._take_in
    monkeypatch.setattr(Store, "_take_in", look)
    store = Store(tmp_path, 45 * _KB, 3600, FakeClock())
    with pytest.raises(EvidenceError, match="Permission denied"):
        store.tidy()
    name = store.begin(NOON - timedelta(minutes=1), "cam-1")
    store.save(f"{name}.0001.clean.jpg", b"x" * 10 * _KB)
    assert store.load == 40 * _KB
    store.save(f"{name}.0002.clean.jpg", b"x" * 10 * _KB)
    assert store.fetch(f"{name}.0001.clean.jpg", 0, 10 * _KB)[0]
    assert store.load == 40 * _KB


def test_a_folder_that_cannot_be_is_an_error_and_comes_back(tmp_path: Path) -> None:
    """A file stands in its place; when it is gone, writing works; a folder that was removed is made again."""
    place = tmp_path / "evidence"
    place.write_text("in the way")
    store = Store(place, 100 * _KB, 60, FakeClock())
    with pytest.raises(EvidenceError, match="cannot be written: File exists"):
        store.tidy()
    with pytest.raises(EvidenceError, match="cannot be written"):
        store.save(f"{store.begin(NOON, 'cam')}.0001.clean.jpg", b"x")
    place.unlink()
    _fill(store, 1)
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    _fill(store, 1, start_s=5)
    assert len(_names(place)) == 2
