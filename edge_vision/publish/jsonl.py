"""Messages as JSON lines, to a file or to standard output."""

import bisect
import errno
import itertools
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from edge_vision.core.errors import SinkError, SinkGoneError
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
        """Write every message but status as a line. Raises SinkError: a full disk takes the lines that fit."""
        lines = [_line(message) for message in messages]
        whole = b"".join(lines)
        if not whole:
            return
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = os.write(self._descriptor, whole)
        except OSError as error:
            msg = f"{self._name}: {error.strerror}"
            raise SinkError(msg) from error
        if written < len(whole):
            ends = list(itertools.accumulate(map(len, lines)))
            fits = bisect.bisect_right(ends, written)
            with suppress(OSError):  # append-only files cannot be cut
                os.ftruncate(self._descriptor, start + (ends[fits - 1] if fits else 0))
            msg = f"{self._name}: {os.strerror(errno.ENOSPC)}"
            raise SinkError(msg, delivered=fits)


class JsonlPipe:
    """Writes lines to a pipe or terminal, and waits 5 s at most for its reader; 30 s in the midst of a line."""

    def __init__(self, descriptor: int, name: str, progress: Callable[[], None] = lambda: None) -> None:
        self._descriptor = descriptor
        self._name = name
        self._progress = progress

    def send(self, messages: Sequence[Message]) -> None:
        """Write every message but status as a line.

        Raises SinkGoneError when the reader has closed its end, SinkError when it does not read.
        """
        for delivered, message in enumerate(messages):
            try:
                self._write(_line(message))
            except BrokenPipeError as error:
                msg = f"{self._name}: nobody reads it any more"
                raise SinkGoneError(msg, delivered) from error
            except OSError as error:
                msg = f"{self._name}: {error.strerror}"
                raise SinkError(msg, delivered) from error
            self._progress()

    def _write(self, line: bytes) -> None:
        # What is ready for writing takes PIPE_BUF bytes without blocking (pipe(7)).
        for start in range(0, len(line), select.PIPE_BUF):
            limit_s = _PIPE_LIMIT_S if start == 0 else 6 * _PIPE_LIMIT_S  # half a line is worth waiting for
            if not select.select([], [self._descriptor], [], limit_s)[1]:
                raise OSError(errno.ETIMEDOUT, f"the reader has taken nothing for {limit_s:g} s")
            os.write(self._descriptor, line[start : start + select.PIPE_BUF])


def _line(message: Message) -> bytes:
    return b"" if message.kind == "status" else message.body + b"\n"


@contextmanager
def open_jsonl(options: JsonlOptions, opening: SinkOpening) -> Iterator[JsonlFile | JsonlPipe]:
    """Open the file for appending, or take standard output. Raises SinkError, SinkGoneError where that is closed."""
    if str(options.path) == "-":
        if sys.stdout is None:  # started with its standard output closed
            msg = "standard output: is closed"
            raise SinkGoneError(msg)
        sys.stdout.flush()
        yield _sink(sys.stdout.fileno(), "standard output", opening)
        return
    try:
        descriptor = os.open(options.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"{options.path}: {error.strerror}"
        raise SinkError(msg) from error
    try:
        yield _sink(descriptor, str(options.path), opening)
    finally:
        os.close(descriptor)


def _sink(descriptor: int, name: str, opening: SinkOpening) -> JsonlFile | JsonlPipe:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return JsonlPipe(descriptor, name, opening.progress)
    size = os.lseek(descriptor, 0, os.SEEK_END)
    with suppress(OSError):  # standard output may be open for writing only
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # a process that was killed left half a line
    return JsonlFile(descriptor, name)
