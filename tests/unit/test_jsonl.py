"""Checks JSON lines on a disk that is full, a reader that is gone, and a file that ends in half a line."""

import itertools
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.jsonl import JsonlPipe, open_jsonl
from edge_vision.publish.options import JsonlOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.testing.fakes import FakeClock, make_message

OPENING = SinkOpening("test", FakeClock(), make_message(0, kind="status", source=""), lambda: make_message(1))


def _options(path: Path | str) -> JsonlOptions:
    return JsonlOptions(kind="jsonl", path=Path(path))


def _messages(count: int, size: int = 10) -> list[Message]:
    return [make_message(number, body=b'"' + str(number % 10).encode() * size + b'"') for number in range(1, count + 1)]


@pytest.mark.parametrize(
    "before, after",
    [
        (b"", b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"b"', b'{"a":1}\n{"b"\n'),
        (b"x", b"x\n"),
    ],
)
def test_half_a_line_of_an_earlier_run_is_closed(before: bytes, after: bytes, tmp_path: Path) -> None:
    """A process that was killed leaves half a line: the next message begins on a line of its own."""
    file = tmp_path / "out.jsonl"
    file.write_bytes(before)
    with open_jsonl(_options(file), OPENING) as sink:
        sink.send([make_message(body=b"{}")])
    assert file.read_bytes() == after + b"{}\n"


def test_status_is_not_written(tmp_path: Path) -> None:
    """It is about now; and a batch of nothing else leaves the file as it is."""
    file = tmp_path / "out.jsonl"
    with open_jsonl(_options(file), OPENING) as sink:
        sink.send([make_message(kind="status", source="")])
        assert file.read_bytes() == b""
        sink.send([make_message(1), make_message(2, kind="status", source=""), make_message(3)])
    assert file.read_bytes() == b"{}\n{}\n"


def test_the_file_is_closed_at_the_end(tmp_path: Path) -> None:
    """Also after an error: a sink that is opened again and again does not use up the descriptors."""
    before = _open_files()
    for _ in range(5):
        with pytest.raises(ValueError, match="elsewhere"):
            _open_and_fail(tmp_path / "out.jsonl")
    assert _open_files() == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _open_and_fail(file: Path) -> None:
    with open_jsonl(_options(file), OPENING):
        msg = "elsewhere"
        raise ValueError(msg)


@contextmanager
def _disk_of(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 1, 30, 60])
def test_a_full_disk_is_a_sink_error_and_leaves_whole_lines(room: int, tmp_path: Path) -> None:
    """The lines that fit are kept and counted as delivered; half a line is taken back."""
    file = tmp_path / "out.jsonl"
    with open_jsonl(_options(file), OPENING) as sink:
        sink.send(_messages(2))
        before = file.read_bytes()
        with _disk_of(len(before) + room), pytest.raises(SinkError, match=str(file)) as caught:
            sink.send(_messages(9))
        kept = caught.value.delivered
        assert kept == sum(len(text) <= room for text in itertools.accumulate(_lines(9)))
        assert file.read_bytes() == before + b"".join(_lines(9)[:kept])
        sink.send(_messages(3))
    assert file.read_bytes() == before + b"".join(_lines(9)[:kept] + _lines(3))


def test_a_device_that_is_full_is_a_sink_error() -> None:
    """/dev/full says ENOSPC to every write."""
    with open_jsonl(_options("/dev/full"), OPENING) as sink, pytest.raises(SinkError, match="No space left") as caught:
        sink.send(_messages(3))
    assert caught.value.delivered == 0


def _lines(count: int) -> list[bytes]:
    return [message.body + b"\n" for message in _messages(count)]


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end."""
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):  # the test may have closed it
            os.close(descriptor)


def test_a_pipe_gets_every_line(pipe: tuple[int, int]) -> None:
    """Also lines longer than a pipe takes at once without waiting."""
    reading, writing = pipe
    messages = _messages(3, size=10_000)
    JsonlPipe(writing, "pipe").send(messages)
    os.close(writing)
    with os.fdopen(reading, "rb", closefd=False) as stream:
        assert stream.read() == b"".join(message.body + b"\n" for message in messages)


def test_a_reader_that_is_gone_is_a_sink_error(pipe: tuple[int, int]) -> None:
    """Nothing of this batch was delivered."""
    reading, writing = pipe
    sink = JsonlPipe(writing, "pipe")
    sink.send(_messages(2))
    os.close(reading)
    with pytest.raises(SinkError, match="pipe: nobody reads it any more") as caught:
        sink.send(_messages(2))
    assert caught.value.delivered == 0


def test_delivered_counts_what_a_reader_took_before_it_stopped(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that is full and not read is given up after its limit; what went in before counts as delivered."""
    monkeypatch.setattr("edge_vision.publish.jsonl._PIPE_LIMIT_S", 0.05)
    reading, writing = pipe
    messages = _messages(100, size=2000)
    with pytest.raises(SinkError, match=r"taken nothing for 0\.05 s") as caught:
        JsonlPipe(writing, "pipe").send(messages)
    assert 0 < caught.value.delivered < 100
    os.close(writing)
    with os.fdopen(reading, "rb", closefd=False) as stream:
        taken = stream.read()
    assert taken == b"".join(message.body + b"\n" for message in messages[: caught.value.delivered])
