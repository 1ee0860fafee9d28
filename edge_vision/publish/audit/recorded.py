"""Messages from recordings: JSON lines, of files or of standard input."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from edge_vision.core.errors import ConfigError

_LONGEST: Final = 64 << 20
"""A longer line is read in pieces, which are no messages."""


def read_recorded(paths: Iterable[Path], hear: Callable[[bytes], None], stopped: Callable[[], bool]) -> None:
    """Hand over every line, file by file; half a line at the end of a file is left out. Raises ConfigError."""
    for path in paths:
        with _open(path) as stream:
            for line in iter(lambda stream=stream: stream.readline(_LONGEST), b""):  # type: ignore[misc]
                if stopped():
                    return
                if line.strip() and (line.endswith(b"\n") or len(line) == _LONGEST or str(path) == "-"):
                    hear(line.strip())


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        if sys.stdin is None:
            msg = "standard input is closed"
            raise ConfigError(msg)
        yield sys.stdin.buffer
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ConfigError(msg) from error
    with stream:
        try:
            yield stream
        except IsADirectoryError as error:
            msg = f"{path}: {error.strerror}"
            raise ConfigError(msg) from error
