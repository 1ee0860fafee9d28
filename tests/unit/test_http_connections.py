"""Connections of webhooks: closed meanwhile, refused, names and addresses that lead nowhere."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from http_sinks import Drops, failure_of, hook_options, is_kept, numbered_messages, open_at_noon
from webhook import Receiver, Reply, receiving, saying

from edge_vision.core.errors import SinkError
from edge_vision.publish.table import SinkOpening, open_sink


@pytest.fixture(name="drops")
def _drops() -> Drops:
    return Drops()


@pytest.fixture(name="opening")
def _opening(drops: Drops) -> SinkOpening:
    return open_at_noon(drops)


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_a_connection_that_the_server_closed_meanwhile_is_no_failure(receiver: Receiver, opening: SinkOpening) -> None:
    """Idle connections are closed by every server: the post goes out over another one, once."""
    with open_sink(hook_options(receiver.url), opening) as sink:
        for _ in range(3):
            sink.send(numbered_messages(1))
            receiver.hang_up()
    assert [post.connection for post in receiver.posts] == [1, 2, 3]


def test_a_connection_closed_as_the_post_sets_out_is_no_failure(
    receiver: Receiver, opening: SinkOpening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before it found nothing: then it is posted once more, over a new connection."""
    monkeypatch.setattr("edge_vision.runtime.connection.TimedSocket.quiet", True)
    with open_sink(hook_options(receiver.url), opening) as sink:
        sink.send(numbered_messages(1))
        receiver.hang_up()
        sink.send(numbered_messages(1))
    assert [post.connection for post in receiver.posts] == [1, 2]


def test_a_server_that_closes_each_connection_is_no_failure(receiver: Receiver, opening: SinkOpening) -> None:
    """With a word of it, or without."""
    receiver.answer = lambda _: Reply(200, (("Connection", "close"),), b"bye")
    receiver.replies[:] = [Reply(close=True), Reply(close=True)]
    with open_sink(hook_options(receiver.url), opening) as sink:
        sink.send(numbered_messages(5))
        assert not is_kept(sink)
    assert [post.id[-1] for post in receiver.posts] == ["1", "2", "3", "4", "5"]


def test_a_server_that_always_breaks_off_is_a_failure(opening: SinkOpening) -> None:
    """Of the message it broke off at; no endless attempts."""
    count = itertools.count()

    def answer(number: int) -> Iterator[bytes]:
        next(count)
        yield b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" if number == 0 else b""

    with saying(answer) as url, open_sink(hook_options(url), opening) as sink:
        error = failure_of(sink, numbered_messages(3))
    assert error.delivered == 1
    assert error.patience_s > 0, "the message would be taken for what breaks the connection"
    assert "the connection broke off" in str(error)
    assert next(count) <= 3


def test_nobody_there_is_a_failure_that_names_the_server(free_port: int, opening: SinkOpening) -> None:
    """When it is opened, and later."""
    with (
        pytest.raises(SinkError, match=rf"^http://127\.0\.0\.1:{free_port}: cannot connect: Connection refused$"),
        open_sink(hook_options(f"http://127.0.0.1:{free_port}/hook"), opening),
    ):
        pytest.fail("it was opened")


def test_a_name_that_is_none_is_a_failure(opening: SinkOpening) -> None:
    """By the resolver's words, or because it cannot be one."""
    for host in ("no-such-host.invalid", "a" * 70, "a..b"):
        with pytest.raises(SinkError, match="cannot connect: "), open_sink(hook_options(f"https://{host}/"), opening):
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
            open_sink(hook_options("https://slow.example/", timeout_s=0.3), opening),
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
    with open_sink(hook_options("http://localhost/hook"), opening) as sink:
        sink.send(numbered_messages(1))
    assert len(receiver.posts) == 1


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
        with open_sink(hook_options("http://localhost/hook", timeout_s=2), opening) as sink:
            sink.send(numbered_messages(1))
    assert len(receiver.posts) == 1
