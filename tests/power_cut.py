"""What a disk may hold after a cut of the power: all that was synced, and any part of what was not.

`tests/power_recorder.c` writes down what a process did. Of data not synced any sectors may be there, in any order; of
directory entries not synced the newest may be missing, and with a directory all that is in it.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from conftest import ROOT
from servers import absent

_SECTOR: Final = 512
_CHANGES: Final = "CURK"
"""Creates, unlinks, renames, makes a directory."""


def build_recorder(folder: Path) -> Path:
    """The recorder, compiled; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        absent("no C compiler: apt-get install gcc libc6-dev")
    library = folder / "recorder.so"
    source = ROOT / "tests/power_recorder.c"
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Record(NamedTuple):
    """One thing that was done: a letter as in the recorder, or M for a mark of the process itself."""

    what: str
    inode: int
    offset: int
    data: bytes

    @property
    def paths(self) -> list[str]:
        """The path, or both."""
        return [path.decode() for path in self.data.split(b"\0")]


def read_log(log: Path) -> list[Record]:
    """All that was done, in order."""
    data, at = log.read_bytes(), 0
    records: list[Record] = []
    for _ in range(len(data)):
        if at >= len(data):
            break
        end = data.index(b"\n", at)
        what, inode, offset, size = data[at:end].decode().split()
        at = end + 1 + int(size)
        records.append(Record(what, int(inode), int(offset), data[end + 1 : at]))
    return records


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes at an offset, and new sizes (no data)."""

    def sync(self) -> None:
        for change in self.waiting:
            _apply(self.synced, *change)
        self.waiting.clear()

    def after_cut(self, numbers: random.Random, share: float) -> bytearray:
        data = bytearray(self.synced)
        for offset, written in self.waiting:
            if written is None:
                if numbers.random() < share:
                    _apply(data, offset, None)
                continue
            ends = [*range(_SECTOR - offset % _SECTOR, len(written), _SECTOR), len(written)]
            for begin, end in zip([0, *ends], ends, strict=False):
                if numbers.random() < share:
                    _apply(data, offset + begin, written[begin:end])
        return data


def _apply(data: bytearray, offset: int, written: bytes | None) -> None:
    if written is None:
        del data[offset:]
        data.extend(bytes(offset - len(data)))
    else:
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(written)] = written


_Entries = dict[str, _File | None]
"""Files by their path below the folder; None is a folder."""


class Disk:
    """A folder as a process saw it, and what of it would outlive a cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, _File] = {}
        self._names: dict[int, str] = {}
        self._now: _Entries = {".": None}
        self._synced: _Entries = {".": None}
        self._waiting: list[tuple[str, list[str], _File | None]] = []

    def _name(self, path: str) -> str:
        return str(Path(path).relative_to(self._folder)) if path.startswith(f"{self._folder}") else path

    def apply(self, record: Record) -> None:
        """Do what was done."""
        what, inode, offset, data = record
        if what in _CHANGES:
            self._enter(record)
        elif what == "O":
            self._names[inode] = self._name(record.paths[0])
        elif what == "S" and self._now.get(self._names.get(inode, ""), self) is None:
            self._sync_folder(self._names[inode])
        elif what == "S":
            self._files[inode].sync()
        elif what in "WT":
            self._files[inode].waiting.append((offset, data if what == "W" else None))

    def _enter(self, record: Record) -> None:
        names = [self._name(path) for path in record.paths]
        file = None
        if record.what == "C":
            file = self._files[record.inode] = _File()
            self._names[record.inode] = names[0]
        change = record.what, names, file
        _enter(self._now, *change)
        self._waiting.append(change)

    def _sync_folder(self, name: str) -> None:
        for change in self._waiting:
            if _parent(change[1][0]) == name:
                _enter(self._synced, *change)
        self._waiting = [change for change in self._waiting if _parent(change[1][0]) != name]

    def after_cut(self, to: Path, numbers: random.Random, *, whole: bool) -> None:
        """Make in a new folder one of the many that may be found after a cut now; with all names, or any number."""
        entries = dict(self._synced)
        for change in self._waiting[: None if whole else numbers.randrange(len(self._waiting) + 1)]:
            _enter(entries, *change)
        share = numbers.choice((0.0, 1.0, 0.5, numbers.random()))
        to.mkdir()
        for name, file in sorted(entries.items()):
            if name == "." or not (to / name).parent.is_dir():
                continue
            if file is None:
                (to / name).mkdir()
            else:
                (to / name).write_bytes(file.after_cut(numbers, share))


def _parent(name: str) -> str:
    return str(Path(name).parent)


def _enter(entries: _Entries, what: str, names: list[str], file: _File | None) -> None:
    if what == "U":
        entries.pop(names[0], None)
    elif what == "R":
        entries[names[1]] = entries.pop(names[0])
    else:
        entries[names[0]] = file


def cuts(
    log: Path, folder: Path, to: Path, count: int, numbers: random.Random
) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Cut the power after each change of a directory, all of which are on disk then, and so many times anywhere.

    Each with a new folder as it may be found then, and the marks up to then.
    """
    records = read_log(log)
    disk, marks = Disk(folder), list[dict[str, Any]]()
    where = [(at + 1, True) for at, one in enumerate(records) if one.what in _CHANGES]
    where += [(numbers.randrange(len(records) + 1), False) for _ in range(count)]
    done = 0
    for number, (until, whole) in enumerate(sorted(where)):
        for record in records[done:until]:
            if record.what == "M":
                marks.append(json.loads(record.data))
            else:
                disk.apply(record)
        done = until
        disk.after_cut(to / f"cut-{number}", numbers, whole=whole)
        yield to / f"cut-{number}", marks
