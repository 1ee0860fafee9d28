"""The file of the outbox: SQLite with a write-ahead log, written by one thread and read by others."""

import sqlite3
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from edge_vision.core.errors import CorruptOutboxError, OutboxBlockedError, OutboxError
from edge_vision.core.message import Message
from edge_vision.publish.outbox.rows import Range, Row, crc_of, fields_of, row_of

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS message (
    n INTEGER PRIMARY KEY, lived_s REAL, id TEXT, boot TEXT, seq INTEGER, kind TEXT, source TEXT, topic TEXT,
    body BLOB, retain INTEGER, crc INTEGER
);
CREATE INDEX IF NOT EXISTS by_seq ON message (boot, source, kind, seq);
CREATE TABLE IF NOT EXISTS sink (name TEXT PRIMARY KEY, settled INTEGER, kinds TEXT DEFAULT '');
CREATE TABLE IF NOT EXISTS life (one INTEGER PRIMARY KEY CHECK (one = 1), lived_s REAL);
CREATE TABLE IF NOT EXISTS untold (one INTEGER PRIMARY KEY CHECK (one = 1), losses BLOB, crc INTEGER);
"""
_VERSION: Final = 1
_COLUMNS: Final = "n, lived_s, id, boot, seq, kind, source, topic, body, retain, crc"
_READ_BYTES: Final = 4_000_000
"""About as much is read at once."""
_PAGE_BYTES: Final = 4096
_NO_LIMIT: Final = 4_294_967_294
"""The most pages that a file of SQLite may have."""
_SPARE_PAGES: Final = 250
_PIECE: Final = 200
"""Messages that are rescued at once."""
_FULL: Final = "full"
_BLOCKED: Final = (_FULL, "I/O error", "readonly", "locked")
"""What SQLite says when the disk is at fault, not the file, and may be well again."""
_ELSEWHERE: Final = "unable to open"


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    address = f"{file.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, timeout=1.0, isolation_level=None, check_same_thread=False, uri=True)
    connection.execute("PRAGMA temp_store=MEMORY")
    return connection


_DAMAGE: Final = (sqlite3.Error, TypeError, ValueError, OverflowError)
"""What reading a file raises in which anything may stand."""


@contextmanager
def _translated(file: Path, causes: tuple[type[Exception], ...] = _DAMAGE) -> Iterator[None]:
    try:
        yield
    except causes as error:
        text = f"{file}: {error}"
        if isinstance(error, sqlite3.OperationalError):
            if any(cause in str(error) for cause in _BLOCKED):
                raise OutboxBlockedError(text, full=_FULL in str(error)) from error
            if _ELSEWHERE in str(error):
                raise OutboxError(text) from error
        raise CorruptOutboxError(text) from error


def _among(kinds: Sequence[str]) -> str:
    return f"kind IN ({','.join('?' * len(kinds))})"


class Reader:
    """A reading side, for one thread at a time. Every method raises OutboxError or CorruptOutboxError."""

    _mode = "ro"  # SQLite removes the log, by its name, with the last connection that might write

    def __init__(self, file: Path) -> None:
        self.file = file
        with _translated(file):
            self._db = _connect(file, self._mode)
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

    def __del__(self) -> None:
        """Close it with the thread that reads there: nobody else hears when that ends."""
        with suppress(AttributeError):  # it could not be opened
            self.close()

    def read(self, after: int, last: int, kinds: Sequence[str], most: int) -> tuple[list[Row], int]:
        """Messages after a number up to another, in order; and the number up to which all were looked at."""
        with _translated(self.file):
            found = self._db.execute(
                f"SELECT {_COLUMNS} FROM message"  # noqa: S608
                f" WHERE n > ? AND n <= ? AND {_among(kinds)} ORDER BY n LIMIT ?",
                (after, last, *kinds, most),
            )
            rows: list[Row] = []
            weight = 0
            for columns in found:
                rows.append(row_of(columns))
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
            return [row_of(columns).message for columns in found]

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

    def reach(self, after: int, weight: int, most: int) -> int:
        """The number up to which messages after another one weigh so many bytes, or are so many; it, if none is."""
        with _translated(self.file):
            found = self._db.execute(
                "SELECT n, length(body) + 400 FROM message WHERE n > ? ORDER BY n LIMIT ?", (after, most)
            )
            for n, bytes_of_it in found:
                after, weight = n, weight - bytes_of_it
                if weight <= 0:
                    break
            return after

    def read_notes(self) -> tuple[dict[str, int], float]:
        """How far each sink was, and how long the outbox had lived."""
        with _translated(self.file):
            life = self._db.execute("SELECT lived_s FROM life").fetchone()
            return dict(self._db.execute("SELECT name, settled FROM sink")), float(life[0]) if life else 0.0

    def read_kinds(self) -> dict[str, list[str]]:
        """What each sink owed."""
        with _translated(self.file):
            return {name: kinds.split() for name, kinds in self._db.execute("SELECT name, kinds FROM sink")}

    def read_untold(self) -> bytes:
        """What was lost and is not told yet, as it was noted."""
        with _translated(self.file):
            losses, crc = self._db.execute("SELECT losses, crc FROM untold").fetchone() or (b"", 0)
            if zlib.crc32(losses) != crc:
                msg = "the losses that are to be told are not as they were written"
                raise ValueError(msg)
            return bytes(losses)

    def check(self) -> None:
        """Look at the structure once. Raises CorruptOutboxError when it is damaged; a damaged message shows when read.

        But for one whose kind is damaged: nobody would ask for it.
        """
        with _translated(self.file):
            answer = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                raise ValueError(answer)
            counts = [
                dict(self._db.execute(f"SELECT kind, count(*) FROM message {how} GROUP BY kind"))  # noqa: S608
                for how in ("NOT INDEXED", "INDEXED BY by_seq")
            ]
            if counts[0] != counts[1]:
                msg = f"messages by kind are {counts[0]}, and by the index {counts[1]}"
                raise ValueError(msg)

    def numbers(self) -> set[int]:
        """The numbers of all messages as the index has them: a second witness, beside the messages."""
        with _translated(self.file):
            return {n for (n,) in self._db.execute("SELECT n FROM message INDEXED BY by_seq")}

    def rescue(self) -> Iterator[list[Row]]:
        """All that can still be read of a damaged file, in pieces: from the front, and from the end to where it broke.

        What was changed since it was written is left out.
        """
        self._db.text_factory = lambda text: text.decode(errors="replace")
        low, high = -1, 2**63 - 1
        for order in ("ASC", "DESC"):
            text = f"SELECT {_COLUMNS} FROM message WHERE n > ? AND n < ? ORDER BY n {order} LIMIT {_PIECE}"  # noqa: S608
            for _ in range(2**40 // _PIECE):
                found: list[Row] = []
                seen = broken = False
                try:
                    for columns in self._db.execute(text, (low, high)):
                        seen = True
                        low, high = (columns[0], high) if order == "ASC" else (low, columns[0])
                        with suppress(ValueError, TypeError, OverflowError):
                            found.append(row_of(columns))
                except _DAMAGE:
                    broken = True
                if found:
                    yield sorted(found)
                if broken or not seen:
                    break

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
    Messages and notes are changed inside `transaction`.
    """

    _mode = "rwc"

    def _begin(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            msg = f"{self.file}: is of version {version}; this program knows {_VERSION}"
            raise OutboxError(msg)
        self._db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self._db.execute("PRAGMA secure_delete=OFF")  # some builds overwrite what is deleted: that needs disk, too
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a commit is on the disk, not only in the kernel (ADR 18)
        mark = "" if version == _VERSION else f"PRAGMA user_version={_VERSION};"
        self._db.executescript(f"BEGIN; {_SCHEMA} {mark} COMMIT")  # one commit, or none: on a slow card each is a wait

    def bound_log(self, size: int) -> None:
        """Let the log be about so many bytes, at most, before it is merged into the file."""
        with _translated(self.file):
            self._db.execute(f"PRAGMA wal_autocheckpoint={max(16, size // _PAGE_BYTES)}").fetchall()
            self._db.execute(f"PRAGMA journal_size_limit={size}").fetchall()

    def merge_log(self) -> None:
        """Merge the log into the file, and give its disk back."""
        with _translated(self.file):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def stop_growth(self, stop: bool) -> None:
        """Let the file use the disk that it has, and no more; or as much as it wants."""
        with _translated(self.file):
            pages = self._db.execute("PRAGMA page_count").fetchone()[0] if stop else _NO_LIMIT
            self._db.execute(f"PRAGMA max_page_count={pages}").fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, or nothing of it."""
        with _translated(self.file, (sqlite3.Error,)):
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
            f"INSERT OR REPLACE INTO message ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            [(*(fields := fields_of(row)), crc_of(fields)) for row in rows],
        )

    def note(self, settled: Mapping[str, int], lived_s: float) -> None:
        """Keep how far each sink is, and how long the outbox has lived."""
        self._db.executemany(
            "INSERT INTO sink (name, settled) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET settled = excluded.settled",
            settled.items(),
        )
        self._db.execute("INSERT OR REPLACE INTO life VALUES (1, ?)", (lived_s,))

    def note_untold(self, losses: bytes) -> None:
        """Keep what is lost and not told yet; where it is the same as before, nothing is written."""
        self._db.execute(
            "INSERT INTO untold VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE"
            " SET losses = excluded.losses, crc = excluded.crc WHERE losses IS NOT excluded.losses",
            (losses, zlib.crc32(losses)),
        )

    def note_kinds(self, kinds: Mapping[str, Sequence[str]]) -> None:
        """Keep what each sink owes."""
        self._db.executemany("UPDATE sink SET kinds = ? WHERE name = ?", [(" ".join(k), n) for n, k in kinds.items()])

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

    def free_pages(self) -> int:
        """Pages inside the file that hold nothing."""
        with _translated(self.file):
            return int(self._db.execute("PRAGMA freelist_count").fetchone()[0])

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

    def give_back(self, pages: int = _SPARE_PAGES) -> None:
        """Give free disk back to the file system, some of it; a little is kept for what comes."""
        with _translated(self.file):
            if self.free_pages() > pages:
                self._db.executescript(f"PRAGMA incremental_vacuum({pages})")  # execute() would stop after one page

    def mostly_free(self) -> bool:
        """Whether more than half of the file holds nothing."""
        with _translated(self.file):
            return self.free_pages() * 2 > int(self._db.execute("PRAGMA page_count").fetchone()[0])
