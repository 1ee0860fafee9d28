"""Checks what the webhook's sink makes of every answer, and of a server that breaks off, lies or never ends."""

import hashlib
import hmac
import itertools
import json
import logging
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from conftest import RANDOM
from file_server import certificate
from webhook import Post, Receiver, Reply, receiving, saying, serving_tls

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.http.sink import sign
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.testing.fakes import NOON, FakeClock, make_message

KEY = "canary-7f3a"
TOKEN = "Bearer canary-91c0-token"


class _Drops(list[tuple[str, str]]):
    """The ids of dropped messages, each with the reason."""

    def __call__(self, message: Message, reason: str) -> None:
        self.append((message.id, reason))


@pytest.fixture(name="drops")
def _drops() -> _Drops:
    return _Drops()


@pytest.fixture(name="opening")
def _opening(drops: _Drops) -> SinkOpening:
    """On a clock that stands still at noon."""
    clock = FakeClock()
    wire = Wire("test", "boot", clock)
    return SinkOpening("test", clock, wire.will(), lambda: wire.status("online", {}), on_dropped=drops)


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def _options(url: str, **given: Any) -> HttpSinkOptions:
    return HttpSinkOptions.model_validate({"kind": "http", "url": url, "timeout_s": 5.0, **given})


def _messages(count: int) -> list[Message]:
    return [make_message(number, body=json.dumps({"n": number}).encode()) for number in range(1, count + 1)]


def _failure(sink: Sink, messages: list[Message]) -> SinkError:
    with pytest.raises(SinkError) as caught:
        sink.send(messages)
    return caught.value


def _kept(sink: Any) -> bool:
    """Whether the connection is to be used again."""
    return sink._poster._socket is not None


def test_a_post_is_the_message_with_its_id_and_kind(receiver: Receiver, opening: SinkOpening) -> None:
    """The body as it is; the address with its query; headers of our own."""
    message = make_message(7, kind="line_crossed", body=b'{"a": "\xc3\xbc"}')
    given = {"headers": {"X-Line": "hall 7"}}
    with open_sink(_options(f"{receiver.url}/a?b=c", **given), opening) as sink:
        sink.send([message])
    (post,) = receiver.posts
    assert (post.path, post.body) == ("/hook/a?b=c", message.body)
    expected = {
        "content-type": "application/json",
        "x-edge-vision-id": message.id,
        "x-edge-vision-kind": "line_crossed",
        "x-line": "hall 7",
        "host": receiver.url.split("/")[2],
    }
    assert expected.items() <= post.headers.items()
    assert not {"x-edge-vision-signature", "x-edge-vision-count", "authorization"} & post.headers.keys()


def test_a_signature_is_that_of_the_time_and_the_body(
    receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HMAC-SHA256 over "<seconds>.<body>", anew with each attempt, with the time of it."""
    monkeypatch.setenv("HOOK_KEY", "clé")
    receiver.replies[:] = [Reply(), Reply(503)]
    clock = opening.clock
    assert isinstance(clock, FakeClock)
    with open_sink(_options(receiver.url, secret={"env": "HOOK_KEY"}), opening) as sink:
        sink.send(_messages(1))
        _failure(sink, _messages(1))
        clock.advance(100)
        sink.send(_messages(1))
    noon = int(NOON.timestamp())
    for post, seconds in zip(receiver.posts, (noon, noon, noon + 100), strict=True):
        digest = hmac.new("clé".encode(), f"{seconds}.".encode() + post.body, hashlib.sha256).hexdigest()
        assert post.headers["x-edge-vision-signature"] == f"t={seconds},v1={digest}"


def test_a_known_signature() -> None:
    """Computed with openssl: printf '1700000000.{}' | openssl dgst -sha256 -hmac secret."""
    known = "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
    assert sign(b"secret", 1_700_000_000, b"{}") == f"t=1700000000,v1={known}"


def test_batches_are_lists_and_end_before_a_megabyte(receiver: Receiver, opening: SinkOpening) -> None:
    """As many as are asked for, or fewer when they are large; one that is larger by itself goes by itself."""
    large = [make_message(number, kind="verdict", body=json.dumps("x" * 400_000).encode()) for number in range(10, 13)]
    huge = make_message(13, body=json.dumps("x" * 1_200_000).encode())
    with open_sink(_options(receiver.url, batch=4), opening) as sink:
        sink.send([*_messages(6), *large, huge, *_messages(1)])
    bodies = [json.loads(post.body) for post in receiver.posts]
    assert list(map(len, bodies)) == [4, 4, 1, 1, 1]
    assert bodies[0] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
    assert [post.headers["x-edge-vision-count"] for post in receiver.posts] == ["4", "4", "1", "1", "1"]
    assert receiver.posts[1].id == "boot-cam-detections-5"
    assert receiver.posts[1].headers["x-edge-vision-kind"] == "detections,verdict"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_receipt(status: int, receiver: Receiver, opening: SinkOpening, drops: _Drops) -> None:
    """Whatever it says besides."""
    receiver.replies[:] = [Reply(status, body=b"" if status == 204 else b"thank you")]
    with open_sink(_options(receiver.url), opening) as sink:
        sink.send(_messages(2))
    assert len({post.connection for post in receiver.posts}) == 1
    assert drops == []


@pytest.mark.parametrize(
    "status, patience_s",
    [(408, 1), (425, 1), (429, 1), (500, 1), (502, 1), (503, 1), (599, 1), (999, 1),
     (301, 60), (302, 60), (304, 60), (307, 60), (308, 60), (401, 60), (403, 60), (404, 60), (405, 60), (407, 60),
     (415, 60), (418, 60), (421, 60), (431, 60), (451, 60)],
)  # fmt: skip
def test_answers_that_are_not_about_the_message_keep_it(
    status: int, patience_s: float, receiver: Receiver, opening: SinkOpening, drops: _Drops
) -> None:
    """Soon again where it is about the moment, slowly where people must mend something; the first was delivered."""
    receiver.replies[:] = [Reply(), Reply(status, (("Location", "https://x.example/secret?b"),))]
    with open_sink(_options(receiver.url), opening) as sink:
        error = _failure(sink, _messages(3))
        assert (error.delivered, error.patience_s) == (1, patience_s)
        assert f"{receiver.url.removesuffix('/hook')}: answered {status}" in str(error)
        redirects = "redirects are not followed (to https://x.example)" in str(error)
        assert redirects == (300 <= status < 400)
        assert "secret" not in str(error)
        sink.send(_messages(3)[1:])
    assert [post.id[-1] for post in receiver.posts] == ["1", "2", "2", "3"]
    assert drops == []


@pytest.mark.parametrize(
    "retry_after, patience_s",
    [("7", 7), ("0", 1), ("86400", 300), ("9" * 60, 300), ("Sun, 22 Nov 2026 12:00:42 GMT", 42),
     ("Sun, 22 Nov 2026 11:00:00 GMT", 1), ("Mon, 23 Nov 2026 12:00:00 GMT", 300), ("soon", 1), ("-5", 1), ("", 1),
     ("1.5", 1), ("Sun, 22 Nov 2026 12:00:42 -0000", 1), ("Sun, 99 Nov 2026 12:00:42 GMT", 1)],
)  # fmt: skip
def test_a_server_may_say_when(retry_after: str, patience_s: float, receiver: Receiver, opening: SinkOpening) -> None:
    """In seconds or as a date, up to five minutes; what cannot be read says nothing."""
    receiver.replies[:] = [Reply(503, (("Retry-After", retry_after),))]
    with open_sink(_options(receiver.url), opening) as sink:
        assert _failure(sink, _messages(1)).patience_s == patience_s


@pytest.mark.parametrize("status", [400, 409, 410, 413, 422])
def test_a_message_that_is_refused_is_dropped_with_the_reason(
    status: int, receiver: Receiver, opening: SinkOpening, drops: _Drops
) -> None:
    """The others are delivered all the same."""
    receiver.replies[:] = [Reply(), Reply(status, body=b'{"detail": "no such\\nline"}')]
    with open_sink(_options(receiver.url), opening) as sink:
        sink.send(_messages(3))
    ((dropped, reason),) = drops
    assert dropped == "boot-cam-detections-2"
    assert reason.startswith(f"the server refused it: {status} ")
    assert reason.endswith(": no such line")
    assert len(receiver.posts) == 3


def test_of_a_refused_batch_the_message_at_fault_is_found(
    receiver: Receiver, opening: SinkOpening, drops: _Drops
) -> None:
    """It is posted again one by one: one is dropped, the rest arrives; the next batch is a batch again."""

    def picky(post: Post) -> Reply:
        return Reply(422 if {"n": 2} in json.loads(post.body) else 204)

    receiver.answer = picky
    with open_sink(_options(receiver.url, batch=3), opening) as sink:
        sink.send(_messages(6))
    assert [one for one, _ in drops] == ["boot-cam-detections-2"]
    assert [len(json.loads(post.body)) for post in receiver.posts] == [3, 1, 1, 1, 3]


def test_an_outage_amid_a_refused_batch_says_how_far_it_got(
    receiver: Receiver, opening: SinkOpening, drops: _Drops
) -> None:
    """What was delivered or refused before it is not posted again."""
    receiver.replies[:] = [Reply(), Reply(400), Reply(204), Reply(400), Reply(503)]
    with open_sink(_options(receiver.url, batch=3), opening) as sink:
        error = _failure(sink, _messages(6))
    assert error.delivered == 5
    assert [one for one, _ in drops] == ["boot-cam-detections-5"]


def test_progress_is_made_with_each_post(receiver: Receiver, opening: SinkOpening) -> None:
    """So that a long batch is not taken for a thread that hangs."""
    beats = itertools.count()
    with open_sink(_options(receiver.url), replace_progress(opening, lambda: next(beats))) as sink:
        sink.send(_messages(4))
    assert next(beats) == 4


def replace_progress(opening: SinkOpening, progress: Callable[[], Any]) -> SinkOpening:
    """The same opening with another `progress`."""
    return SinkOpening(
        opening.site, opening.clock, opening.will, opening.status, progress=progress, on_dropped=opening.on_dropped
    )


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(receiver: Receiver, opening: SinkOpening) -> None:
    """Idle connections are closed by every server: the post goes out over another one, once."""
    with open_sink(_options(receiver.url), opening) as sink:
        for _ in range(3):
            sink.send(_messages(1))
            receiver.hang_up()
    assert [post.connection for post in receiver.posts] == [1, 2, 3]


def test_a_connection_closed_as_the_post_sets_out_is_no_failure(
    receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before it found nothing: then it is posted once more, over a new connection."""
    monkeypatch.setattr("edge_vision.runtime.connection.TimedSocket.quiet", True)
    with open_sink(_options(receiver.url), opening) as sink:
        sink.send(_messages(1))
        receiver.hang_up()
        sink.send(_messages(1))
    assert [post.connection for post in receiver.posts] == [1, 2]


def test_a_server_that_closes_each_connection_is_no_failure(receiver: Receiver, opening: SinkOpening) -> None:
    """With a word of it, or without."""
    receiver.answer = lambda _: Reply(200, (("Connection", "close"),), b"bye")
    receiver.replies[:] = [Reply(close=True), Reply(close=True)]
    with open_sink(_options(receiver.url), opening) as sink:
        sink.send(_messages(5))
        assert not _kept(sink)
    assert [post.id[-1] for post in receiver.posts] == ["1", "2", "3", "4", "5"]


def test_a_server_that_always_breaks_off_is_a_failure(opening: SinkOpening) -> None:
    """Of the message it broke off at; no endless attempts."""
    count = itertools.count()

    def answer(number: int) -> Iterator[bytes]:
        next(count)
        yield b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" if number == 0 else b""

    with saying(answer) as url, open_sink(_options(url), opening) as sink:
        error = _failure(sink, _messages(3))
    assert error.delivered == 1
    assert error.patience_s > 0, "the message would be taken for what breaks the connection"
    assert "the connection broke off" in str(error)
    assert next(count) <= 3


def test_nobody_there_is_a_failure_that_names_the_server(free_port: int, opening: SinkOpening) -> None:
    """When it is opened, and later."""
    with (
        pytest.raises(SinkError, match=rf"^http://127\.0\.0\.1:{free_port}: cannot connect: Connection refused$"),
        open_sink(_options(f"http://127.0.0.1:{free_port}/hook"), opening),
    ):
        pytest.fail("it was opened")


def test_a_name_that_is_none_is_a_failure(opening: SinkOpening) -> None:
    """By the resolver's words, or because it cannot be one."""
    for host in ("no-such-host.invalid", "a" * 70, "a..b"):
        with pytest.raises(SinkError, match="cannot connect: "), open_sink(_options(f"https://{host}/"), opening):
            pytest.fail("it was opened")


def test_a_look_up_that_hangs_is_left_behind(opening: SinkOpening, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's has no time limit."""
    free, real = threading.Event(), socket.getaddrinfo

    def hang(host: Any, *rest: Any, **more: Any) -> Any:
        if more.get("flags"):
            return real(host, *rest, **more)
        free.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with (
            pytest.raises(SinkError, match=r"no answer within 0\.3 s"),
            open_sink(_options("https://slow.example/", timeout_s=0.3), opening),
        ):
            pytest.fail("it was opened")
    finally:
        free.set()


def test_the_second_address_of_a_name_is_tried(
    receiver: Receiver, free_port: int, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on the first."""
    port, real = int(receiver.url.split(":")[2].split("/")[0]), socket.getaddrinfo

    def two(host: Any, *rest: Any, **more: Any) -> Any:
        if more.get("flags"):
            return real(host, *rest, **more)
        return [*real("127.0.0.1", free_port, **more), *real("127.0.0.1", port, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with open_sink(_options("http://localhost/hook"), opening) as sink:
        sink.send(_messages(1))
    assert len(receiver.posts) == 1


def test_an_answer_that_comes_before_the_whole_post_counts(opening: SinkOpening, drops: _Drops) -> None:
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
        with open_sink(_options(url), opening) as sink:
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

    with saying(drip) as url, open_sink(_options(url, timeout_s=0.5), opening) as sink:
        error = _failure(sink, _messages(2))
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
    with saying(lambda _: pieces) as url, open_sink(_options(url, timeout_s=1.0), opening) as sink:
        assert _failure(sink, _messages(2)).delivered == 0


BODIES: dict[str, tuple[bytes, bytes]] = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65536),
    "none": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_receipt_counts_whatever_follows_it(case: str, opening: SinkOpening, drops: _Drops) -> None:
    """The status has come; the rest is read up to a limit, and the next message goes over another connection."""
    first, piece = BODIES[case]
    asked = itertools.count()

    def answer(_: int) -> Iterator[bytes]:
        next(asked)
        return itertools.chain([first], itertools.repeat(piece))

    with saying(answer) as url, open_sink(_options(url, timeout_s=2.0), opening) as sink:
        sink.send(_messages(2))
        assert not _kept(sink)
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

    with saying(answer) as url, open_sink(_options(url), opening) as sink:
        sink.send(_messages(1))
        more.set()
        timed: Any = sink._poster._socket  # type: ignore[attr-defined]
        assert select.select([timed._inner], [], [], 10)[0]
        sink.send(_messages(2)[1:])
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


def _outcome(options: HttpSinkOptions, opening: SinkOpening) -> SinkError | None:
    """What becomes of one message; any other error fails the test."""
    try:
        with open_sink(options, opening) as sink:
            sink.send(_messages(1))
    except SinkError as error:
        return error
    return None


def test_whatever_a_server_says_is_an_answer_or_a_failure(opening: SinkOpening, drops: _Drops) -> None:
    """300 answers, most of them wrong: no other error, never a hang."""
    with saying(_some_answer) as url:
        outcomes = [_outcome(_options(url), opening) for _ in range(300)]
    failed = [error for error in outcomes if error is not None]
    assert 100 < len(failed) < 290
    assert not [error for error in failed if "no answer" in str(error) or not 1 <= error.patience_s <= 300]
    assert drops


@pytest.fixture(name="pems", scope="module")
def _pems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificates with keys that vouch for themselves: a server's and a client's."""
    server, client = (tmp_path_factory.mktemp(name) for name in ("server", "client"))
    return certificate(server), certificate(client)


def test_https_with_both_certificates(pems: tuple[Path, Path], opening: SinkOpening, tmp_path: Path) -> None:
    """The server's is checked, ours is shown, in one file or two; the connection is kept."""
    server, client = pems
    with receiving(tls=serving_tls(server, client)) as receiver:
        lone = tmp_path / "lone.pem"
        lone.write_text(client.read_text().partition("-----BEGIN PRIVATE KEY")[0])
        for more in ({"certificate": client}, {"certificate": lone, "key": client.with_name("server.key")}):
            with open_sink(_options(receiver.url, ca_file=server, **more), opening) as sink:
                sink.send(_messages(3))
        assert [post.connection for post in receiver.posts] == [1, 1, 1, 2, 2, 2]
        with pytest.raises(SinkError), open_sink(_options(receiver.url, ca_file=server), opening) as sink:
            sink.send(_messages(1))
    with receiving(tls=serving_tls(server)) as receiver:
        with (
            pytest.raises(SinkError, match="its certificate is not to be trusted: self-signed certificate"),
            open_sink(_options(receiver.url), opening),
        ):
            pytest.fail("it was opened")
        assert receiver.posts == []


def test_a_kept_connection_over_tls_that_was_closed_is_no_failure(
    pems: tuple[Path, Path], opening: SinkOpening
) -> None:
    """The same as without TLS."""
    with (
        receiving(tls=serving_tls(pems[0])) as receiver,
        open_sink(_options(receiver.url, ca_file=pems[0]), opening) as sink,
    ):
        for _ in range(3):
            sink.send(_messages(1))
            receiver.hang_up()
        assert len(receiver.posts) == 3


def test_http_where_https_is_spoken_and_the_other_way_round(pems: tuple[Path, Path], opening: SinkOpening) -> None:
    """Failures that say so, more or less."""
    with receiving(tls=serving_tls(pems[0])) as receiver:
        url = receiver.url.replace("https", "http")
        with open_sink(_options(url), opening) as sink:
            _failure(sink, _messages(1))
    with receiving() as receiver:
        url = receiver.url.replace("http", "https")
        with pytest.raises(SinkError, match=r"cannot connect: .*SSL"), open_sink(_options(url), opening):
            pytest.fail("it was opened")


@pytest.mark.parametrize("case", ["absent", "no pem", "other key", "encrypted", "no key", "ca"])
def test_certificates_that_cannot_be_used(
    case: str, pems: tuple[Path, Path], opening: SinkOpening, tmp_path: Path
) -> None:
    """The error names the file; nobody is asked for a password at the terminal."""
    text = tmp_path / "text.pem"
    text.write_text("hello")
    lone = tmp_path / "lone.pem"
    lone.write_text(pems[1].read_text().partition("-----BEGIN PRIVATE KEY")[0])
    locked = tmp_path / "locked.key"
    if case == "encrypted":
        plain = pems[1].with_name("server.key")
        command = ["openssl", "pkcs8", "-topk8", "-in", str(plain), "-out", str(locked), "-passout", "pass:secret"]
        subprocess.run(command, check=True, timeout=60)
    given: dict[str, tuple[dict[str, Path], Path]] = {
        "absent": ({"certificate": tmp_path / "absent"}, tmp_path / "absent"),
        "no pem": ({"certificate": text}, text),
        "other key": ({"certificate": lone, "key": pems[0].with_name("server.key")}, lone),
        "encrypted": ({"certificate": lone, "key": locked}, locked),
        "no key": ({"certificate": lone}, lone),
        "ca": ({"ca_file": text}, text),
    }
    options, named = given[case]
    with pytest.raises(SinkError) as caught, open_sink(_options("https://127.0.0.1:1/", **options), opening):
        pytest.fail("it was opened")
    assert str(named) in str(caught.value)


@pytest.mark.parametrize(
    "value, words",
    [(None, "the environment variable HOOK_SECRET is not set"), ("", "is empty"), ("a\r\nX-Evil: 1", "no header"),
     ("ü", "no header"), (" a", "no header"), ("a" * 5000, "no header")],
)  # fmt: skip
@pytest.mark.parametrize("where", ["headers", "secret"])
def test_a_secret_that_cannot_be_used_is_a_failure_without_it(
    where: str, value: str | None, words: str, receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the header or the key, and neither posts nor connects; a key may be any text."""
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("HOOK_SECRET", value)
    given: Any = {"env": "HOOK_SECRET"}
    options = _options(receiver.url, **{where: {"X-Token": given} if where == "headers" else given})
    if where == "secret" and value:
        with open_sink(options, opening) as sink:
            sink.send(_messages(1))
        return
    with pytest.raises(SinkError, match=words) as caught, open_sink(options, opening):
        pytest.fail("it was opened")
    assert ("header X-Token" if where == "headers" else "secret") in str(caught.value)
    assert "Evil" not in str(caught.value)


def test_no_secret_shows_whatever_the_server_says(
    opening: SinkOpening, drops: _Drops, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that repeats what it was sent, in every part of an answer, right or broken."""
    monkeypatch.setenv("HOOK_KEY", KEY)
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    caplog.set_level(logging.DEBUG)
    word = TOKEN.split()[1].encode()
    both = TOKEN.encode() + b" " + KEY.encode()
    body = b"Content-Length: %d\r\n\r\n%b"
    echoes = [
        b"HTTP/1.1 422 " + both + b"\r\n\r\n",
        b"HTTP/1.1 503 no " + word + b"\r\n\r\n",
        b"HTTP/1.1 422 x\r\n" + body % (len(both), both),
        b"HTTP/1.1 422 x\r\n" + body % (len(both) + 14, b'{"error": "%b\\n"}' % both),
        b"HTTP/1.1 422 x\r\n" + body % (len(both) + 9, b'{"a": "%b"}' % both),
        b"HTTP/1.1 422 x\r\n" + body % (193 + len(word), b"x" * 193 + word),
        b"HTTP/1.1 302 x\r\nLocation: https://" + word + b".example/" + word + b"\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: https://u:" + word + b"@a.example/\r\n\r\n",
        b"HTTP/1.1 " + both + b"\r\n\r\n",
        both + b"\r\n\r\n",
        b"x" * 295 + word + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + both * 5000,
    ]
    seen = []
    for echo in echoes:
        with saying(lambda _, echo=echo: [echo]) as url:  # type: ignore[misc]
            options = _options(
                url, secret={"env": "HOOK_KEY"}, headers={"Authorization": {"env": "HOOK_TOKEN"}}, timeout_s=5
            )
            seen += [repr(options), str(options), options.model_dump_json(), url]
            error = _outcome(options, opening)
            if error is not None:
                assert error.__cause__ is None
                assert error.__suppress_context__
                seen += [str(error), repr(error)]
    assert len(drops) == 5
    seen += [text for _, reason in drops for text in [reason]] + [caplog.text]
    for secret in (KEY, TOKEN, word.decode(), "canary"):
        assert not [text for text in seen if secret in text], secret


def test_the_path_does_not_show_where_a_server_repeats_it(opening: SinkOpening) -> None:
    """Apache answers that "The requested URL /services/..." is not there: the path is the secret of many a webhook."""
    said = b'{"error": "no /services/T01CANARY/B02 nor /services/T01%20CANARY?key=canary-key, canary-key"}'
    with saying(lambda _: [b"HTTP/1.1 503 x\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)]) as url:
        for path in ("services/T01CANARY/B02", "services/T01%20CANARY?key=canary-key"):
            text = str(_outcome(_options(urljoin(url, f"/{path}"), timeout_s=5), opening))
            assert "answered 503 x: no ***" in text
            assert path.split("/")[1] not in text
            assert "?" not in path or "canary-key" not in text


def test_the_time_limit_is_for_the_whole_post(opening: SinkOpening) -> None:
    """A server that takes the body byte by byte does not hold up the thread for longer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        started = time.monotonic()
        with open_sink(_options(url, timeout_s=0.5), opening) as sink:
            error = _failure(sink, [make_message(1, body=b"x" * 50_000_000)])
        assert "no answer within 0.5 s" in str(error)
        assert time.monotonic() - started < 20


def test_a_context_is_made_for_https_only(opening: SinkOpening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the system's authorities takes a while."""

    def fail(*_: Any, **__: Any) -> ssl.SSLContext:
        pytest.fail("made")

    monkeypatch.setattr(ssl, "create_default_context", fail)
    with receiving() as receiver, open_sink(_options(receiver.url), opening) as sink:
        sink.send(_messages(1))


def test_a_server_that_reads_slowly_over_tls_does_not_hold_up_the_thread(
    pems: tuple[Path, Path], opening: SinkOpening
) -> None:
    """Byte by byte there is progress; the limit is for all of it."""
    listening = socket.create_server(("127.0.0.1", 0))
    size, done = 24_000_000, threading.Event()

    def read_slowly() -> None:
        with suppress(OSError), serving_tls(pems[0]).wrap_socket(listening.accept()[0], server_side=True) as connection:
            got = 0
            while got < size:
                piece = len(connection.recv(1 << 14))
                got += piece
                if not piece or (got < size / 2 and done.wait(0.004)):
                    return
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=read_slowly)
    thread.start()
    try:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        with open_sink(_options(url, ca_file=pems[0], timeout_s=0.5), opening) as sink:
            assert "no answer within 0.5 s" in str(_failure(sink, [make_message(1, body=b"x" * size)]))
    finally:
        done.set()
        thread.join()
        listening.close()


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with two addresses, of which the first does not even refuse."""
    port, real = int(receiver.url.split(":")[2].split("/")[0]), socket.getaddrinfo
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # nobody accepts: past the backlog, Linux drops what comes
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())

        def two(host: Any, *rest: Any, **more: Any) -> Any:
            if more.get("flags"):
                return real(host, *rest, **more)
            return [*real(*full.getsockname(), **more), *real("127.0.0.1", port, **more)]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        with open_sink(_options("http://localhost/hook", timeout_s=2), opening) as sink:
            sink.send(_messages(1))
    assert len(receiver.posts) == 1


def test_an_interim_answer_is_no_receipt(opening: SinkOpening, drops: _Drops) -> None:
    """103 says that another answer follows, which is not waited for: the message is posted again."""
    answers = [b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 422 No\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"]
    with saying(lambda number: [answers[number]]) as url, open_sink(_options(url), opening) as sink:
        error = _failure(sink, _messages(1))
        assert "answered 103" in str(error)
        assert not _kept(sink)
        assert error.patience_s == 1
        sink.send(_messages(1))
    assert drops == []
