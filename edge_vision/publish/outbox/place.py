"""The folder of the outbox: one process at a time, and a damaged file is set aside."""

import errno
import fcntl
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Final

from edge_vision.core.errors import CorruptOutboxError, OutboxBlockedError, OutboxError, OutboxInUseError
from edge_vision.publish.outbox.reserve import Reserve
from edge_vision.publish.outbox.store import Reader, Store

_FILE: Final = "outbox.db"
_ASIDE: Final = ".damaged"
_NEW: Final = ".new"
_BESIDE: Final = ("", "-wal", "-shm")
"""What SQLite keeps beside a file with a write-ahead log."""
_BLOCKED: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""What may be well again; anything else is a mistake in the site file or of who set the machine up."""


def _translated(where: Path, error: OSError) -> OutboxError:
    text = f"{where}: {error.strerror}"
    if error.errno in _BLOCKED:
        return OutboxBlockedError(text, full=error.errno in (errno.ENOSPC, errno.EDQUOT))
    return OutboxError(text)


def _remove(file: Path) -> None:
    for end in _BESIDE:
        Path(f"{file}{end}").unlink(missing_ok=True)


def _rename(file: Path, to: Path) -> None:
    for end in _BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{file}{end}").rename(f"{to}{end}")


def _make_folder(folder: Path) -> None:
    """Make a folder, and let its name outlive a cut of the power: SQLite sees to what is inside of it, not to that."""
    parents = {one.parent for one in (folder, *folder.parents) if not one.exists()} | {folder.absolute().parent}
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for parent in parents:
        with suppress(OSError):  # some file systems cannot, and who may not read it did not make it
            file = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(file)
            finally:
                os.close(file)


class Place:
    """The folder, held by this process from `open` on."""

    def __init__(self, folder: Path) -> None:
        self.set_aside = 0
        self.damage = ""
        """What was wrong with the file at the start; then a sink that it does not know begins with all there is."""
        self.loss = ""
        """The same, unless everything in it could be rescued."""
        self.reserve = Reserve(folder)
        self._folder = folder
        self._file = folder / _FILE
        self._readers = threading.local()
        self._lock = -1
        self._known: tuple[int, int] | None = None
        self._rescued = self._complete = False

    def open(self) -> Store:
        """The file as it is; or a new one where it is damaged, with what can be rescued. It may say less than it knew.

        Raises OutboxBlockedError where the disk does not let it for now, OutboxInUseError where another process holds
        the folder, else OutboxError.
        """
        self._hold()
        try:
            return self._opened()
        except OutboxBlockedError as error:
            if not (error.full and self.reserve.release()):
                raise
            return self._opened()

    def _opened(self) -> Store:
        try:
            store = self._whole()
        except CorruptOutboxError as error:
            self.damage = f"the file they waited in was damaged: {error}"
            store = self.begin_anew(None, {}, 0.0)
            self.loss = "" if self._complete else self.damage
        except OutboxBlockedError:
            self._check_rights()
            raise
        self.reserve = Reserve(self._folder)
        self.reserve.make()
        store.bound_log(self.reserve.size // 2)
        return store

    def _whole(self) -> Store:
        """The file, walked through once."""
        new = Path(f"{self._file}{_NEW}")
        if new.exists() and not self._file.exists():  # a process before ended between two renames
            _rename(self._file, Path(f"{self._file}{_ASIDE}"))  # the log of the old one is not that of the new one
            _rename(new, self._file)
        store = Store(self._file)
        try:
            store.read_notes()
            store.read_untold()
            store.check()
        except OutboxError:
            store.close()
            raise
        self._known = self._identity()
        return store

    def _check_rights(self) -> None:
        """A file that belongs to somebody else is a mistake, and no disk that may be well again."""
        if self._file.exists() and not os.access(self._file, os.R_OK | os.W_OK) and os.access(self._folder, os.W_OK):
            msg = f"{self._file}: belongs to somebody else"
            raise OutboxError(msg)

    def _hold(self) -> None:
        """Make the folder and hold it, unless it is held. Raises OutboxError or OutboxInUseError."""
        file = self._folder / "outbox.lock"
        try:
            if self._lock >= 0 and file.exists() and os.path.samestat(file.stat(), os.fstat(self._lock)):
                return
            _make_folder(self._folder)
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise _translated(self._folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            msg = f"{self._folder}: another process runs this site"
            raise OutboxInUseError(msg) from error
        self.leave()
        self._lock = lock

    def look(self) -> None:
        """Whether the file is still the one that was opened. Raises CorruptOutboxError when it is not."""
        if self._identity() != self._known:
            msg = f"{self._file}: was removed, or replaced by another file"
            raise CorruptOutboxError(msg)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def begin_anew(self, old: Store | None, settled: Mapping[str, int], lived_s: float) -> Store:
        """Begin a new file with what can still be read of a damaged one; that is set aside, in the place of another.

        `old` is the damaged one if it is open; what is said of its sinks is only used then. Raises OutboxError: then
        `old` is as it was, and it may be tried again.
        """
        self._hold()
        new = Path(f"{self._file}{_NEW}")
        try:
            if not self._rescued:
                _remove(new)
                with closing(Store(new)) as store:
                    store.bound_log(self.reserve.size // 2)
                    self._rescue(old, store, settled, lived_s)
                    store.merge_log()
                self._rescued = True
            if old is not None:
                with suppress(OutboxError):
                    old.close()  # before the rename: SQLite removes a log by its name
            if self._file.exists():
                _remove(Path(f"{self._file}{_ASIDE}"))
                _rename(self._file, Path(f"{self._file}{_ASIDE}"))
            _remove(self._file)
            _rename(new, self._file)
        except OSError as error:
            if isinstance(error, OutboxError):
                raise
            raise _translated(self._file, error) from error
        self._rescued = False
        self.set_aside += 1
        fresh = Store(self._file)
        self._known = self._identity()
        fresh.bound_log(self.reserve.size // 2)
        self.reserve.make()
        return fresh

    def _rescue(self, old: Reader | None, store: Store, settled: Mapping[str, int], lived_s: float) -> None:
        """Copy what can be read; what the disk does not take of it is lost.

        It is complete when the messages that were copied, each with its checksum, are those that the index knows, and
        what was not told yet is there.
        """
        self._complete = False
        saved: set[int] = set()
        with ExitStack() as stack, suppress(OutboxError):
            if old is None:
                old = stack.enter_context(closing(Reader(self._file)))
                with suppress(OutboxError):
                    settled, lived_s = old.read_notes()
            with store.transaction():
                store.note(settled, lived_s)
            told = False
            with suppress(OutboxError):
                untold = old.read_untold()
                with store.transaction():
                    store.note_untold(untold)
                told = True
            for rows in old.rescue():
                with store.transaction():
                    store.write(rows)
                saved.update(row.n for row in rows)
            self._complete = told and saved == old.numbers()

    def reader(self) -> Reader:
        """The reading side of the calling thread, of the file as it is now. Raises OutboxError."""
        reader: Reader | None = getattr(self._readers, "reader", None)
        if reader is not None and self._readers.file == self.set_aside:
            return reader
        if reader is not None:
            reader.close()
            self._readers.reader = None
        reader = Reader(self._file)
        self._readers.reader, self._readers.file = reader, self.set_aside
        return reader

    def log_bytes(self) -> int:
        """How large the log is."""
        try:
            return Path(f"{self._file}-wal").stat().st_size
        except OSError:
            return 0

    def leave(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
