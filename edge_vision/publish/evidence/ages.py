"""How old each set of evidence is, by the hours in which the daemon ran: no step of the wall clock makes it older."""

import math
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_vision.runtime.clock import Clock

LEDGER: Final = ".ages"
"""In the folder of evidence; each line has hours in seconds, and the sets that began then."""
_MOST_LINES: Final = 2000
"""Of what is added once a minute; then it is written anew."""
_LONGEST_S: Final = 1e10
_FILE_MODE: Final = 0o640


class Ages:
    """When sets began. One thread uses it; what is not in the ledger, as of another folder, begins when it is found."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._file = folder / LEDGER
        self._clock = clock
        self._begun_ns = clock.monotonic_ns()
        self._before_s = 0.0
        self._born: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._lines = _MOST_LINES

    def read(self, found: Collection[str]) -> None:
        """Take in what an earlier run left, once: the sets that were found. Raises OSError."""
        known, before_s = dict[str, float](), 0.0
        text = b""
        with suppress(FileNotFoundError):
            text = self._file.read_bytes()
        for line in text.split(b"\n")[:-1]:  # a line that was torn has no end
            time, *names = line.decode(errors="replace").split(" ")
            with suppress(ValueError):
                before_s = max(before_s, _seconds(time))
                known.update(dict.fromkeys(names, before_s))
        self._before_s = before_s
        self._born = {name: born + before_s for name, born in self._born.items()}
        self._born |= {name: known.get(name, before_s) for name in found}

    def begin(self, name: str) -> None:
        """A set begins now."""
        self._born[name] = self._now_s
        self._unwritten.add(name)

    def forget(self, name: str) -> None:
        """A set is no more."""
        self._born.pop(name, None)
        self._unwritten.discard(name)

    def born_s(self, name: str) -> float:
        """When a set began: comparable with that of others only."""
        return self._born[name]

    def older_than(self, names: Iterable[str], seconds: float) -> list[str]:
        """Those of the sets that began longer ago than so many seconds in which the daemon ran."""
        limit_s = self._now_s - seconds
        return [name for name in names if self._born[name] < limit_s]

    def write(self) -> None:
        """Note how late it is, and what began since the last time; nothing where there are no sets. Raises OSError."""
        if not self._born:
            self._file.unlink(missing_ok=True)
            return
        if self._lines >= _MOST_LINES or not self._file.exists():
            self._write_anew()
            return
        lines, self._lines = self._lines, _MOST_LINES  # on a full disk half a line may stand there: then anew
        with self._file.open("ab") as file:
            file.write(self._news())
        self._lines = lines + 1
        self._unwritten.clear()

    @property
    def _now_s(self) -> float:
        return self._before_s + (self._clock.monotonic_ns() - self._begun_ns) / 1e9

    def _news(self) -> bytes:
        """A line for each moment at which unwritten sets began, in their order, and one for now."""
        begun = sorted((self._born[name], name) for name in self._unwritten)
        return _lines([*begun, (self._now_s, "")])

    def _write_anew(self) -> None:
        """The whole ledger, in one step; a crash leaves the one before."""
        fresh = self._file.with_name(f"{LEDGER}-new")
        fresh.unlink(missing_ok=True)
        opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
        try:
            with os.fdopen(opened, "wb") as file:
                begun = sorted((born, name) for name, born in self._born.items())
                file.write(_lines([*begun, (self._now_s, "")]))
                file.flush()
                os.fsync(opened)
            fresh.replace(self._file)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        self._lines = 0
        self._unwritten.clear()


def _lines(begun: Iterable[tuple[float, str]]) -> bytes:
    return "".join(f"{born:.1f} {name}".rstrip() + "\n" for born, name in begun).encode()


def _seconds(text: str) -> float:
    """A time of the ledger. Raises ValueError for what is none."""
    seconds = float(text)
    if not (math.isfinite(seconds) and 0 <= seconds <= _LONGEST_S):
        raise ValueError(text)
    return seconds
