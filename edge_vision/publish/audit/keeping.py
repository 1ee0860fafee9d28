"""Keeps a ledger in a file, so that the next run goes on where this one ended, however it ended.

Beside the file is a journal of what came since it was written: a message is in one of them, on the disk, before the
broker hears that it arrived.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.core.files import write_whole
from edge_vision.publish.audit.heads import Head
from edge_vision.publish.audit.ledger import Book, Ledger

VERSION: Final = 1
_MOST_ENTRIES: Final = 50_000
"""After so many entries the file is written anew and the journal begins again."""
_LONGEST: Final = 1 << 20


class _Saved(msgspec.Struct):
    version: int
    turn: int
    """The journal that follows begins with this number."""
    book: Book


class Entry(msgspec.Struct, array_like=True):
    """A message in the journal; with `missed_to` those from its number on that cannot be had.

    `now_ms` is when it came, by the wall clock.
    """

    now_ms: float
    redelivered: bool
    head: Head
    served: bool = False
    missed_to: int = 0


_encode: Final = msgspec.json.Encoder().encode
_decode_entry: Final = msgspec.json.Decoder(Entry).decode


class Kept:
    """The files of an audit: `book` is what they say so far, `fresh` that they said nothing."""

    def __init__(self, path: Path, saved: _Saved, *, fresh: bool) -> None:
        self._path = path
        self.book = saved.book
        self.fresh = fresh
        self._turn = saved.turn
        self._entries = 0
        self._size = 0
        self._journal: FileIO | None = None

    def note(self, entry: Entry) -> None:
        """Enter a message into the journal before it is acknowledged. Raises SinkError, for a full disk."""
        assert self._journal is not None
        line = _encode(entry) + b"\n"
        try:
            written = self._journal.write(line)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error
        if written != len(line):
            self._journal.truncate(self._size)  # half a line would hide those that follow
            raise SinkError(f"{self._path}: {os.strerror(errno.ENOSPC)}")
        self._size += len(line)
        self._entries += 1
        if self._entries >= _MOST_ENTRIES:
            self.save()

    def sync(self) -> None:
        """Have the journal on the disk, over a cut of the power. Raises SinkError."""
        assert self._journal is not None
        try:
            os.fdatasync(self._journal)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error

    def save(self) -> None:
        """Write the book whole, and begin a new journal. Raises SinkError, for a full disk."""
        assert self._journal is not None
        try:
            write_whole(self._path, _encode(_Saved(VERSION, self._turn + 1, self.book)), sync=True)
            self._turn += 1
            self._journal.truncate(0)
            self._size = self._journal.write(b"%d\n" % self._turn)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error
        self._entries = 0

    def open_journal(self, journal: FileIO, *, live: bool) -> None:
        """Enter what an audit that was killed had received since it wrote its book."""
        journal.seek(0)
        turn = journal.readline(_LONGEST).strip()
        if turn == b"%d" % self._turn:
            ledger = Ledger(self.book, live=live)
            for line in iter(lambda: journal.readline(_LONGEST), b""):
                try:
                    entry = _decode_entry(line)
                except (msgspec.MsgspecError, ValueError):
                    break  # half a line: the message was not acknowledged and comes again
                self.book.redelivered += entry.redelivered
                if entry.missed_to:
                    ledger.miss(entry.head, entry.missed_to)
                else:
                    ledger.take(entry.head, None, entry.now_ms, served=entry.served)
        self._journal = journal
        self.save()


@contextmanager
def keep(path: Path, *, live: bool = True) -> Iterator[Kept]:
    """Continue the audit in a file, or begin one there; nobody else may meanwhile. `live`: see `Ledger`.

    Raises ConfigError, SinkError.
    """
    journal_path = path.with_name(f"{path.name}.journal")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(journal_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"{journal_path}: {error.strerror}"
        raise ConfigError(msg) from error
    with FileIO(descriptor, "a+") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            msg = f"{path}: another audit is at work on it"
            raise ConfigError(msg) from None
        kept = _read(path)
        kept.open_journal(journal, live=live)
        yield kept
        kept.save()


def _read(path: Path) -> Kept:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Kept(path, _Saved(VERSION, 0, Book()), fresh=True)
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ConfigError(msg) from error
    try:
        saved = msgspec.json.decode(content, type=_Saved)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        msg = f"{path}: is not the state of an audit; give another file, or remove it to begin anew"
        raise ConfigError(msg) from None
    if saved.version != VERSION:
        msg = f"{path}: is the state of another version ({saved.version}, not {VERSION})"
        raise ConfigError(msg)
    return Kept(path, saved, fresh=False)
