"""Messages as JSON lines, to a file or to standard output."""

import errno
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import JsonlOptions
from edge_vision.publish.table import SinkOpening

_PIPE_LIMIT_S: Final = 5.0


class JsonlFile:
    """Appends whole lines to a file; a line that could only be written in part is taken back."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name

    def send(self, messages: Sequence[Message]) -> None:
        """Write every message but status as a line. Raises SinkError, such as for a full disk."""
        lines = b"".join(_line(message) for message in messages)
        if not lines:
            return
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            _write_all(self._descriptor, lines)
        except OSError as error:
            with suppress(OSError):  # append-only files cannot be cut
                os.ftruncate(self._descriptor, start)
            msg = f"{self._name}: {error.strerror}"
            raise SinkError(msg) from error


class JsonlPipe:
    """Writes lines to a pipe or terminal without ever waiting longer than its limit for the reader."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name

    def send(self, messages: Sequence[Message]) -> None:
        """Write every message but status as a line. Raises SinkError when the reader is gone or does not read."""
        for delivered, message in enumerate(messages):
            try:
                self._write(_line(message))
            except OSError as error:
                msg = f"{self._name}: {error.strerror}"
                raise SinkError(msg, delivered) from error

    def _write(self, line: bytes) -> None:
        # What is ready for writing takes PIPE_BUF bytes without blocking (pipe(7)).
        for start in range(0, len(line), select.PIPE_BUF):
            limit_s = _PIPE_LIMIT_S if start == 0 else 6 * _PIPE_LIMIT_S  # half a line is worth waiting for
            if not select.select([], [self._descriptor], [], limit_s)[1]:
                raise OSError(errno.ETIMEDOUT, f"the reader has taken nothing for {limit_s:g} s")
            os.write(self._descriptor, line[start : start + select.PIPE_BUF])


def _write_all(descriptor: int, lines: bytes) -> None:
    if os.write(descriptor, lines) < len(lines):  # a full disk takes what fits
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(message: Message) -> bytes:
    return b"" if message.kind == "status" else message.body + b"\n"


@contextmanager
def open_jsonl(options: JsonlOptions, opening: SinkOpening) -> Iterator[JsonlFile | JsonlPipe]:
    """Open the file for appending, or take standard output. Raises SinkError."""
    del opening
    if str(options.path) == "-":
        sys.stdout.flush()
        yield _sink(sys.stdout.fileno(), "standard output")
        return
    try:
        descriptor = os.open(options.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"{options.path}: {error.strerror}"
        raise SinkError(msg) from error
    try:
        yield _sink(descriptor, str(options.path))
    finally:
        os.close(descriptor)


def _sink(descriptor: int, name: str) -> JsonlFile | JsonlPipe:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return JsonlPipe(descriptor, name)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    with suppress(OSError):  # standard output may be open for writing only
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # a process that was killed left half a line
    return JsonlFile(descriptor, name)
