"""The file of the outbox: SQLite with a write-ahead log, written by one thread and read by others."""

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge_vision.core.errors import CorruptOutboxError, OutboxError
from edge_vision.core.message import Message

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS message (
    n INTEGER PRIMARY KEY, lived_s REAL, id TEXT, boot TEXT, seq INTEGER, kind TEXT, source TEXT, topic TEXT,
    body BLOB, retain INTEGER
);
CREATE INDEX IF NOT EXISTS by_seq ON message (boot, source, kind, seq);
CREATE TABLE IF NOT EXISTS sink (name TEXT PRIMARY KEY, settled INTEGER);
CREATE TABLE IF NOT EXISTS life (one INTEGER PRIMARY KEY CHECK (one = 1), lived_s REAL);
"""
_VERSION: Final = 1
_COLUMNS: Final = "id, boot, seq, kind, source, topic, body, retain"
_WAL_BYTES: Final = 8_000_000
_READ_BYTES: Final = 4_000_000
"""About as much is read at once."""
_ENVIRONMENT: Final = ("full", "I/O error", "readonly", "unable to open", "locked")
"""What SQLite says when the place is at fault, not the file."""


class Row(NamedTuple):
    """A message with its number in the outbox, and how long the outbox had lived when it came, in seconds."""

    n: int
    lived_s: float
    message: Message


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers of messages of one boot, source and kind: the first, the last, and how many there are."""

    boot: str
    source: str
    kind: str
    first: int
    last: int
    count: int


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=1.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = f"{file}: {error}"
        if isinstance(error, sqlite3.OperationalError) and any(cause in str(error) for cause in _ENVIRONMENT):
            raise OutboxError(text) from error
        raise CorruptOutboxError(text) from error


def _among(kinds: Sequence[str]) -> str:
    return f"kind IN ({','.join('?' * len(kinds))})"


class Reader:
    """A reading side, for one thread at a time. Every method raises OutboxError or CorruptOutboxError."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with _translated(file):
            self._db = _connect(file)
            try:
                self._begin()
            except BaseException:
                self._db.close()
                raise

    def _begin(self) -> None:
        self._db.execute("PRAGMA query_only=1")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def read(self, after: int, last: int, kinds: Sequence[str], most: int) -> tuple[list[Row], int]:
        """Messages after a number up to another, in order; and the number up to which all were looked at."""
        with _translated(self.file):
            found = self._db.execute(
                f"SELECT n, lived_s, {_COLUMNS} FROM message"  # noqa: S608
                f" WHERE n > ? AND n <= ? AND {_among(kinds)} ORDER BY n LIMIT ?",
                (after, last, *kinds, most),
            )
            rows: list[Row] = []
            weight = 0
            for n, lived_s, *columns in found:
                rows.append(Row(n, lived_s, _message(columns)))
                weight += rows[-1].message.weight
                if weight > _READ_BYTES:
                    break
            return rows, last if len(rows) < most and weight <= _READ_BYTES else rows[-1].n

    def count(self, after: int, last: int, kinds: Sequence[str]) -> int:
        """How many messages there are after a number up to another."""
        with _translated(self.file):
            text = f"SELECT count(*) FROM message WHERE n > ? AND n <= ? AND {_among(kinds)}"  # noqa: S608
            return int(self._db.execute(text, (after, last, *kinds)).fetchone()[0])

    def since(self, boot: str, source: str, kind: str, first: int, last: int, most: int) -> list[Message]:
        """Messages of one boot, source and kind by their `seq`, in order."""
        with _translated(self.file):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM message WHERE boot = ? AND source = ? AND kind = ?"  # noqa: S608
                " AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
                (boot, source, kind, first, last, most),
            )
            return [_message(columns) for columns in found]

    def last(self) -> int:
        """The highest number in the outbox, 0 when it is empty."""
        with _translated(self.file):
            return int(self._db.execute("SELECT coalesce(max(n), 0) FROM message").fetchone()[0])

    def first(self) -> int:
        """The lowest number in the outbox, 0 when it is empty."""
        with _translated(self.file):
            return int(self._db.execute("SELECT coalesce(min(n), 0) FROM message").fetchone()[0])

    def number_at(self, lived_s: float) -> int:
        """The number of the first message that came at a time of the outbox's life, or later; 1 + the last if none."""
        with _translated(self.file):
            first, last = self.first(), self.last()
            if not last:
                return 1
            numbers = range(first, last + 1)
            return first + bisect_left(numbers, lived_s, key=self._lived_at)

    def _lived_at(self, n: int) -> float:
        row = self._db.execute("SELECT lived_s FROM message WHERE n >= ? ORDER BY n LIMIT 1", (n,)).fetchone()
        return float(row[0])

    def ranges(self, kinds: Sequence[str], after: int, last: int) -> list[Range]:
        """What is kept after a number up to another, by boot, source and kind, in the order of the first of each."""
        with _translated(self.file):
            found = self._db.execute(
                f"SELECT boot, source, kind, min(seq), max(seq), count(*) FROM message"  # noqa: S608
                f" WHERE n > ? AND n <= ? AND {_among(kinds)} GROUP BY boot, source, kind ORDER BY min(n)",
                (after, last, *kinds),
            )
            return [Range(*row) for row in found]


class Store(Reader):
    """The writing side; for one thread at a time.

    Every method raises OutboxError where the disk does not let it, CorruptOutboxError where the file is damaged.
    """

    def _begin(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            msg = f"{self.file}: is of version {version}; this program knows {_VERSION}"
            raise OutboxError(msg)
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a commit is on the disk, not only in the kernel (ADR 18)
        self._db.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        self._db.executescript(_SCHEMA)
        if version != _VERSION:
            self._db.execute(f"PRAGMA user_version={_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, or nothing of it."""
        with _translated(self.file):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def write(self, rows: Sequence[Row]) -> None:
        """Keep messages."""
        self._db.executemany(
            f"INSERT OR REPLACE INTO message (n, lived_s, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            [
                (n, lived_s, one.id, one.boot, one.seq, one.kind, one.source, one.topic, one.body, one.retain)
                for n, lived_s, one in rows
            ],
        )

    def note(self, settled: Mapping[str, int], lived_s: float) -> None:
        """Keep how far each sink is, and how long the outbox has lived."""
        self._db.executemany("INSERT OR REPLACE INTO sink VALUES (?, ?)", settled.items())
        self._db.execute("INSERT OR REPLACE INTO life VALUES (1, ?)", (lived_s,))

    def read_notes(self) -> tuple[dict[str, int], float]:
        """How far each sink was, and how long the outbox had lived."""
        with _translated(self.file):
            life = self._db.execute("SELECT lived_s FROM life").fetchone()
            return dict(self._db.execute("SELECT name, settled FROM sink")), float(life[0]) if life else 0.0

    def forget(self, sinks: Sequence[str]) -> None:
        """Sinks that there are no more."""
        self._db.executemany("DELETE FROM sink WHERE name = ?", [(name,) for name in sinks])

    def used_bytes(self) -> int:
        """Disk that messages take, without what is free inside of the file."""
        with _translated(self.file):
            pages, free, size = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)

    def delete(self, after: int, last: int, kinds: Sequence[str], spared: Sequence[tuple[int, int]] = ()) -> None:
        """Delete messages after a number up to another, but for those from the first to the last of a pair."""
        apart = "".join(" AND n NOT BETWEEN ? AND ?" for _ in spared)
        self._db.execute(
            f"DELETE FROM message WHERE n > ? AND n <= ? AND {_among(kinds)}{apart}",  # noqa: S608
            (after, last, *kinds, *(n for pair in spared for n in pair)),
        )

    def delete_others(self, kinds: Sequence[str]) -> None:
        """Delete messages of any other kind: nobody wants them any more."""
        self._db.execute(f"DELETE FROM message WHERE NOT {_among(kinds)}", kinds)  # noqa: S608

    def give_back(self, pages: int) -> None:
        """Give free disk back to the file system, at most so many pages."""
        with _translated(self.file):
            self._db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()


def _message(columns: Sequence[Any]) -> Message:
    name, boot, seq, kind, source, topic, body, retain = columns
    return Message(name, boot, seq, kind, source, topic, body, bool(retain))
