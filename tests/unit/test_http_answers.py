"""Answers to webhooks that come early, late, in pieces, without end, or make no sense."""

import itertools
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RANDOM
from http_sinks import Drops, failure_of, hook_options, is_kept, numbered_messages, open_at_noon, outcome_of
from webhook import saying

from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.testing.fakes import make_message


@pytest.fixture(name="drops")
def _drops() -> Drops:
    return Drops()


@pytest.fixture(name="opening")
def _opening(drops: Drops) -> SinkOpening:
    return open_at_noon(drops)


def test_an_answer_that_comes_before_the_whole_post_counts(opening: SinkOpening, drops: Drops) -> None:
    """A server that refuses what is large need not read it (413): the message is dropped, not tried for ever."""
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=refuse)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with open_sink(hook_options(url), opening) as sink:
            sink.send([make_message(1, body=b"x" * 20_000_000)])
    finally:
        thread.join()
        listening.close()
    assert [reason for _, reason in drops] == ["the server refused it: 413 Content Too Large"]


SLOW: dict[str, tuple[bytes, bytes]] = {
    "silence": (b"", b""),
    "status": (b"", b"HTTP/1.1 204 No"),
    "headers": (b"HTTP/1.1 204 No Content\r\n", b"X: y\r\n"),
    "hundreds": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header": (b"HTTP/1.1 204 No Content\r\nX: ", b"y"),
}


@pytest.mark.parametrize("case", SLOW)
def test_an_answer_that_never_ends_is_a_failure_in_time(case: str, opening: SinkOpening) -> None:
    """One limit for all of it: a byte now and then is no answer."""
    first, piece = SLOW[case]
    ending = threading.Event()

    def drip(_: int) -> Iterator[bytes]:
        yield first
        for place in itertools.count():
            if ending.wait(0.01):
                return
            yield piece[place % len(piece) : place % len(piece) + 1] if piece else b""

    with saying(drip) as url, open_sink(hook_options(url, timeout_s=0.5), opening) as sink:
        error = failure_of(sink, numbered_messages(2))
        ending.set()
    assert error.delivered == 0
    assert error.patience_s > 0
    assert "no answer within 0.5 s" in str(error) or "more than 100 headers" in str(error)


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"HTTP/1.1 204 No Content\r\n", b"X: y\r\n" * 1000),
    "header": (b"HTTP/1.1 204 No Content\r\nX: ", b"y" * 65536),
    "status": (b"HTTP/1.1 ", b"2" * 65536),
    "hundreds": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_an_endless_head_is_a_failure(case: str, opening: SinkOpening) -> None:
    """As fast as it can be sent; neither time nor memory runs out."""
    first, piece = ENDLESS[case]
    pieces = itertools.chain([first], itertools.repeat(piece))
    with saying(lambda _: pieces) as url, open_sink(hook_options(url, timeout_s=1.0), opening) as sink:
        assert failure_of(sink, numbered_messages(2)).delivered == 0


BODIES: dict[str, tuple[bytes, bytes]] = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65536),
    "none": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_receipt_counts_whatever_follows_it(case: str, opening: SinkOpening, drops: Drops) -> None:
    """The status has come; the rest is read up to a limit, and the next message goes over another connection."""
    first, piece = BODIES[case]
    asked = itertools.count()

    def answer(_: int) -> Iterator[bytes]:
        next(asked)
        return itertools.chain([first], itertools.repeat(piece))

    with saying(answer) as url, open_sink(hook_options(url, timeout_s=2.0), opening) as sink:
        sink.send(numbered_messages(2))
        assert not is_kept(sink)
    assert next(asked) == 2
    assert drops == []


def test_a_second_answer_nobody_asked_for_is_not_taken_for_the_next(opening: SinkOpening) -> None:
    """Else a message would count as delivered that never was."""
    more, asked = threading.Event(), []

    def answer(number: int) -> Iterator[bytes]:
        asked.append(number)
        yield b"HTTP/1.1 204 No Content\r\n\r\n"
        if number == 0:
            more.wait(5)
            yield b"HTTP/1.1 204 No Content\r\n\r\n"

    with saying(answer) as url, open_sink(hook_options(url), opening) as sink:
        sink.send(numbered_messages(1))
        more.set()
        timed: Any = sink._poster._socket  # type: ignore[attr-defined]
        assert select.select([timed._inner], [], [], 10)[0]
        sink.send(numbered_messages(2)[1:])
    assert asked == [0, 1]


HEADS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.0 204 ", b"HTTP/1.1 422 \xff\xfe", b"HTTP/1.1 099 x", b"HTTP/9.9 200 OK",
    b"ICY 200 OK", b"HTTP/1.1 1000 x", b"HTTP/1.1 -20 x", b"HTTP/1.1 503", b"", b"\x00" * 20, b"HTTP/1.1 302 Found",
    b"HTTP/1.1 100 ",
]  # fmt: skip
LINES = [
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 6", b"Content-Length: \xc2\xb2", b": x", b"X",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Location: http://[", b"Location: //a:99999",
    b"Retry-After: \x80", b"Retry-After: Sun, 22 Nov 99999 12:00:42 GMT", b"Connection: close", b" folded",
    b"X: \x00\r", b"Content-Type: application/json",
]  # fmt: skip
ENDS = [
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello", b"fffffffffffffffff\r\n", b'{"error": {"a": [1]}}',
    b"[" * 3000, b'"\\ud800"', b"\xff\xfe", b"0\r\nX: y\r\n\r\n",
]  # fmt: skip


def _some_answer(_: int) -> Iterator[bytes]:
    """Right and wrong pieces, cut and changed at random."""
    picked = [HEADS[RANDOM.integers(len(HEADS))], *(LINES[place] for place in RANDOM.integers(len(LINES), size=2))]
    whole = bytearray(b"\r\n".join(picked) + b"\r\n\r\n" + ENDS[RANDOM.integers(len(ENDS))])
    for place in RANDOM.integers(len(whole), size=RANDOM.integers(3)) if RANDOM.integers(2) else ():
        whole[place] = RANDOM.integers(256)
    yield bytes(whole[: RANDOM.integers(1, len(whole) + 1)] if RANDOM.integers(4) == 0 else whole)


def test_whatever_a_server_says_is_an_answer_or_a_failure(opening: SinkOpening, drops: Drops) -> None:
    """300 answers, most of them wrong: no other error, never a hang."""
    with saying(_some_answer) as url:
        outcomes = [outcome_of(hook_options(url), opening) for _ in range(300)]
    failed = [error for error in outcomes if error is not None]
    assert 100 < len(failed) < 290
    assert not [error for error in failed if "no answer" in str(error) or not 1 <= error.patience_s <= 300]
    assert drops


def test_the_time_limit_is_for_the_whole_post(opening: SinkOpening) -> None:
    """A server that takes the body byte by byte does not hold up the thread for longer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        started = time.monotonic()
        with open_sink(hook_options(url, timeout_s=0.5), opening) as sink:
            error = failure_of(sink, [make_message(1, body=b"x" * 50_000_000)])
        assert "no answer within 0.5 s" in str(error)
        assert time.monotonic() - started < 20


def test_an_interim_answer_is_no_receipt(opening: SinkOpening, drops: Drops) -> None:
    """103 says that another answer follows, which is not waited for: the message is posted again."""
    answers = [b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 422 No\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
    with saying(lambda number: [answers[number]]) as url, open_sink(hook_options(url), opening) as sink:
        error = failure_of(sink, numbered_messages(1))
        assert "answered 103" in str(error)
        assert not is_kept(sink)
        assert error.patience_s == 1
        sink.send(numbered_messages(1))
    assert drops == []
