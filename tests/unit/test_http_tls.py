"""Webhooks over TLS: certificates of both sides, and servers that read slowly."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from file_server import certificate
from http_sinks import Drops, failure_of, hook_options, numbered_messages, open_at_noon
from webhook import Receiver, receiving, serving_tls

from edge_vision.core.errors import SinkError
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.testing.fakes import make_message

KEY = "canary-7f3a"


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
            with open_sink(hook_options(receiver.url, ca_file=server, **more), opening) as sink:
                sink.send(numbered_messages(3))
        assert [post.connection for post in receiver.posts] == [1, 1, 1, 2, 2, 2]
        with pytest.raises(SinkError), open_sink(hook_options(receiver.url, ca_file=server), opening) as sink:
            sink.send(numbered_messages(1))
    with receiving(tls=serving_tls(server)) as receiver:
        with (
            pytest.raises(SinkError, match="its certificate is not to be trusted: self-signed certificate"),
            open_sink(hook_options(receiver.url), opening),
        ):
            pytest.fail("it was opened")
        assert receiver.posts == []


def test_a_kept_connection_over_tls_that_was_closed_is_no_failure(
    pems: tuple[Path, Path], opening: SinkOpening
) -> None:
    """The same as without TLS."""
    with (
        receiving(tls=serving_tls(pems[0])) as receiver,
        open_sink(hook_options(receiver.url, ca_file=pems[0]), opening) as sink,
    ):
        for _ in range(3):
            sink.send(numbered_messages(1))
            receiver.hang_up()
        assert len(receiver.posts) == 3


def test_http_where_https_is_spoken_and_the_other_way_round(pems: tuple[Path, Path], opening: SinkOpening) -> None:
    """Failures that say so, more or less."""
    with receiving(tls=serving_tls(pems[0])) as receiver:
        url = receiver.url.replace("https", "http")
        with open_sink(hook_options(url), opening) as sink:
            failure_of(sink, numbered_messages(1))
    with receiving() as receiver:
        url = receiver.url.replace("http", "https")
        with pytest.raises(SinkError, match=r"cannot connect: .*SSL"), open_sink(hook_options(url), opening):
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
    with pytest.raises(SinkError) as caught, open_sink(hook_options("https://127.0.0.1:1/", **options), opening):
        pytest.fail("it was opened")
    assert str(named) in str(caught.value)


def test_a_context_is_made_for_https_only(opening: SinkOpening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the system's authorities takes a while."""

    def fail(*_: Any, **__: Any) -> ssl.SSLContext:
        pytest.fail("made")

    monkeypatch.setattr(ssl, "create_default_context", fail)
    with receiving() as receiver, open_sink(hook_options(receiver.url), opening) as sink:
        sink.send(numbered_messages(1))


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
        with open_sink(hook_options(url, ca_file=pems[0], timeout_s=0.5), opening) as sink:
            assert "no answer within 0.5 s" in str(failure_of(sink, [make_message(1, body=b"x" * size)]))
    finally:
        done.set()
        thread.join()
        listening.close()
