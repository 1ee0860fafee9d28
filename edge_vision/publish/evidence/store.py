"""The folder of evidence: files are there whole or not at all, and the oldest go when there are too many."""

import fcntl
import hashlib
import heapq
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from edge_vision.core.errors import EvidenceError
from edge_vision.publish.evidence.ages import Ages
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.trouble import Trouble

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"(?P<set>(?P<time>\d{8}T\d{6}\.\d{6}Z)\.[a-z0-9][a-z0-9_-]{0,31})\.(?:\d{4,9}\.(?:annotated|clean)\.jpg|clip\.mp4)"
)
"""TIME.SOURCE.0001.clean.jpg, TIME.SOURCE.clip.mp4: what belongs together begins alike, and sorts by time."""
_UNFINISHED: Final = ".part-"
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is kept: its path in the folder of evidence, and what is in it."""

    path: str
    sha256: str
    bytes: int


@dataclass(slots=True)
class Draft:
    """A file that is being written; nobody sees it by its name until it is whole. `size` bytes of it are counted."""

    name: str
    path: Path
    stream: BinaryIO
    size: int = 0


class Store:
    """Files of evidence in sets: what belongs to events that are near each other comes and goes together.

    The set that began first is the oldest, by the hours in which the daemon ran: what the wall clock says is in names
    only. What an earlier run left, and the ledger does not know, is as old as this run.

    One thread writes; `fetch` may be called by any. Whatever has another kind of name is nobody's business here.
    """

    def __init__(self, folder: Path, most_bytes: int, most_age_s: float, clock: Clock) -> None:
        self.folder = folder
        self.removed = 0
        """Files that went because of their age, or for want of room."""
        self._most_bytes = most_bytes
        self._most_age_s = most_age_s
        self._ages = Ages(folder, clock)
        self._sets: dict[str, dict[str, int]] = {}
        self._closed: list[tuple[float, str]] = []
        self._stuck: list[tuple[float, str]] = []
        self._bytes = 0
        self._scanned = False
        self._named = False
        self._trouble = Trouble()

    @property
    def load(self) -> int:
        """Bytes of the files, those that are being written included."""
        return self._bytes

    def tidy(self) -> None:
        """Make the folder where there is none, look once at what is in it, and remove what is too old or too much.

        Raises EvidenceError.
        """
        self._open()
        self._closed, self._stuck = self._closed + self._stuck, []
        old = set(self._ages.older_than((name for _, name in self._closed), self._most_age_s))
        gone = {name for name in old if self._remove(name)}
        self._closed = [one for one in self._closed if one[1] not in gone]
        heapq.heapify(self._closed)
        self._make_room(0)
        self.note_ages()

    def note_ages(self) -> None:
        """Keep how old everything is for the next run. Raises EvidenceError."""
        if self._scanned:
            with _translated():
                self._ages.write()

    def begin(self, timestamp: datetime, source: str) -> str:
        """The name of a new set, which stays until it has ended."""
        steps = (f"{timestamp + timedelta(microseconds=step):{_TIME}}.{source}" for step in range(1_000_000))
        name = next(name for name in steps if name not in self._sets)
        self._sets[name] = {}
        self._ages.begin(name)
        return name

    def size_of(self, name: str) -> int:
        """Bytes of the files of a set, as far as they are whole."""
        return sum(self._sets.get(name, {}).values())

    def end(self, name: str) -> None:
        """Nothing more comes into a set: from now on it may be removed."""
        if self._sets.get(name):
            heapq.heappush(self._closed, (self._ages.born_s(name), name))
        else:
            self._sets.pop(name, None)
            self._ages.forget(name)

    def save(self, name: str, content: bytes) -> Stored:
        """Keep a file of a set that has begun. Raises EvidenceError where it cannot be."""
        self._open()
        self._make_room(len(content))
        with self.draft(name) as draft, _translated():
            draft.stream.write(content)
            return self.keep(draft)

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """A file to be written, and then kept; removed at the end where it was not. Raises EvidenceError."""
        draft = self.open_draft(name)
        try:
            yield draft
        finally:
            self.discard(draft)

    def open_draft(self, name: str) -> Draft:
        """The same for a file that takes longer: who opens it keeps or discards it. Raises EvidenceError."""
        self._open()
        path = self.folder / f"{_UNFINISHED}{name}"
        with _translated():
            path.unlink(missing_ok=True)
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as long as it is open others leave it alone
            os.fchmod(opened, _FILE_MODE)  # whatever the umask
        return Draft(name, path, os.fdopen(opened, "w+b"))

    def grew(self, draft: Draft, more: int = 0) -> None:
        """Make room for what was written of a draft so far, and for `more` bytes. Raises EvidenceError."""
        with _translated():
            size = os.fstat(draft.stream.fileno()).st_size
        self._make_room(max(0, size - draft.size) + more)
        self._bytes += size - draft.size
        draft.size = size

    def keep(self, draft: Draft) -> Stored:
        """Give a draft its name: it is on the disk, whole; its name is, too, after `sync`. Raises EvidenceError."""
        with _translated():
            draft.stream.flush()
            os.fsync(draft.stream.fileno())
            self.grew(draft)
            digest = _sha256_of(draft.stream)
            draft.stream.close()
            draft.path.rename(self.folder / draft.name)
        self._named = True
        name = _NAME.fullmatch(draft.name)
        assert name is not None
        self._sets.setdefault(name["set"], {})[draft.name] = draft.size
        return Stored(draft.name, digest, draft.size)

    def sync(self) -> None:
        """Let the names of what was kept be on the disk before anybody is told of them. Raises EvidenceError."""
        if not self._named:
            return
        self._named = False
        with _translated():
            opened = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)

    def discard(self, draft: Draft) -> None:
        """Remove a draft that was not kept."""
        with suppress(OSError):  # what cannot be written does not matter any more
            draft.stream.close()
        if draft.name in self._files_of(draft.name):
            return
        self._bytes -= draft.size
        draft.size = 0
        with suppress(OSError):
            draft.path.unlink(missing_ok=True)

    def fetch(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """At most `length` bytes of a file from `offset`, and the size of the whole, by the path that messages give.

        Nothing else of the file is read. Raises EvidenceError for any other file.
        """
        if _NAME.fullmatch(path) is None:
            raise EvidenceError(f"{path[:80]!r} is no path of a file of evidence")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe in its place does not block
        try:
            opened = os.open(self.folder / path, flags)
        except FileNotFoundError:
            raise EvidenceError(f"{path}: is not there; the oldest evidence is removed") from None
        except OSError as error:
            raise EvidenceError(f"{path}: {error.strerror}") from None
        try:
            about = os.fstat(opened)
            part = os.pread(opened, length, offset) if stat.S_ISREG(about.st_mode) else None
        except OSError as error:
            raise EvidenceError(f"{path}: {error.strerror or error}") from None
        finally:
            os.close(opened)
        if part is None:
            raise EvidenceError(f"{path}: is not a file")
        return part, about.st_size

    def _files_of(self, name: str) -> dict[str, int]:
        found = _NAME.fullmatch(name)
        return {} if found is None else self._sets.get(found["set"], {})

    def _open(self) -> None:
        """Make the folder, and the first time take in what an earlier run left there."""
        with _translated():
            if not self.folder.is_dir():
                self.folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
                self.folder.chmod(_FOLDER_MODE)
            if self._scanned:
                return
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    self._take_in(entry)
            found = [name for name, files in self._sets.items() if files]
            self._ages.read(found)
        self._closed = [(self._ages.born_s(name), name) for name in found]
        heapq.heapify(self._closed)
        self._scanned = True

    def _take_in(self, entry: "os.DirEntry[str]") -> None:
        """A file that an earlier run left; one that was not finished goes."""
        found = _NAME.fullmatch(entry.name.removeprefix(_UNFINISHED))
        if found is None or not _is_time(found["time"]) or not entry.is_file(follow_symlinks=False):
            return
        if entry.name.startswith(_UNFINISHED):
            if not _is_being_written(entry.path):
                Path(entry.path).unlink(missing_ok=True)
            return
        size = entry.stat(follow_symlinks=False).st_size
        files = self._sets.setdefault(found["set"], {})
        self._bytes += size - files.get(entry.name, 0)  # where an earlier look broke off it is counted already
        files[entry.name] = size

    def _make_room(self, size: int) -> None:
        for _ in range(len(self._closed)):
            if self._bytes + size <= self._most_bytes:
                return
            oldest = heapq.heappop(self._closed)
            if not self._remove(oldest[1]):
                self._stuck.append(oldest)  # tried again once in a while, not with every picture
        if self._bytes + size > self._most_bytes:
            room = f"{size / 1e6:.1f} MB more than max_mb, {self._most_bytes / 1e6:g} MB, allows"
            raise EvidenceError(f"no room: there are {self._bytes / 1e6:.1f} MB of events that last, and {room}")

    def _remove(self, name: str) -> bool:
        """Remove a set; whether it is gone: what cannot be removed goes on to count."""
        files = self._sets.get(name, {})
        for file, size in list(files.items()):
            try:
                (self.folder / file).unlink(missing_ok=True)
            except OSError as error:
                if self._trouble.is_news(error):
                    _log.warning("%s: cannot be removed: %s", self.folder / file, error.strerror)
                continue
            del files[file]
            self._bytes -= size
            self.removed += 1
        if not files:
            self._sets.pop(name, None)
            self._ages.forget(name)
        return not files


def _sha256_of(stream: BinaryIO) -> str:
    stream.seek(0)
    digest = hashlib.sha256()
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def _is_being_written(path: str) -> bool:
    """Whether another process, or another site of this one, has a draft open."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(opened)
    return False


def _is_time(text: str) -> bool:
    try:
        datetime.strptime(text, _TIME)  # noqa: DTZ007 - whether it is one is all that matters
    except ValueError:
        return False
    return True


@contextmanager
def _translated() -> Iterator[None]:
    """What the system says of a file, as an EvidenceError."""
    try:
        yield
    except EvidenceError:
        raise
    except OSError as error:
        raise EvidenceError(f"cannot be written: {error.strerror or error}") from error
