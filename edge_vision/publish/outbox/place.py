"""The folder of the outbox: one process at a time, and a damaged file is set aside."""

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_vision.core.errors import CorruptOutboxError, OutboxError, OutboxInUseError
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.outbox.store import Reader, Store

_FILE: Final = "outbox.db"
_ASIDE: Final = ".damaged"
_BESIDE: Final = ("", "-wal", "-shm")
"""What SQLite keeps beside a file with a write-ahead log."""


class Place:
    """The folder, held by this process. Raises OutboxError or OutboxInUseError."""

    def __init__(self, folder: Path) -> None:
        self.set_aside = 0
        self.damage = ""
        self._file = folder / _FILE
        self._readers = threading.local()
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(folder / "outbox.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            msg = f"{folder}: {error.strerror}"
            raise OutboxError(msg) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            msg = f"{folder}: another process runs this site"
            raise OutboxInUseError(msg) from error

    def open(self) -> tuple[Store, dict[str, int], float]:
        """The file as it is, or a new one where it is damaged; how far each sink was, and how long it has lived."""
        try:
            return self._opened()
        except CorruptOutboxError as error:
            self.damage = f"the file they waited in was damaged: {error}"
            self.begin_anew().close()
            return self._opened()
        except OutboxError:
            self.leave()
            raise

    def _opened(self) -> tuple[Store, dict[str, int], float]:
        store = Store(self._file)
        try:
            settled, lived_s = store.read_notes()
            store.ranges(MESSAGE_KINDS, 0, store.last())  # walks through all of it
        except OutboxError:
            store.close()
            raise
        return store, settled, lived_s

    def begin_anew(self) -> Store:
        """Set the file aside, in the place of one set aside before, and begin a new one."""
        self.set_aside += 1
        for end in _BESIDE:
            old, aside = (Path(f"{self._file}{more}{end}") for more in ("", _ASIDE))
            with suppress(FileNotFoundError):
                aside.unlink()
            try:
                with suppress(FileNotFoundError):
                    old.rename(aside)
            except OSError as error:
                msg = f"{old}: cannot be set aside: {error.strerror}"
                raise OutboxError(msg) from error
        return Store(self._file)

    def reader(self) -> Reader:
        """The reading side of the calling thread, of the file as it is now."""
        reader: Reader | None = getattr(self._readers, "reader", None)
        if reader is not None and self._readers.file == self.set_aside:
            return reader
        if reader is not None:
            reader.close()
            self._readers.reader = None
        reader = Reader(self._file)
        self._readers.reader, self._readers.file = reader, self.set_aside
        return reader

    def leave(self) -> None:
        """Let another process have it."""
        os.close(self._lock)
