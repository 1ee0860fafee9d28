"""Receivers of webhooks for the tests: one that remembers what it is sent, one that says whatever bytes it is told."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from conftest import wait_until


@dataclass(frozen=True)
class Reply:
    """How one post is answered; `close` ends the connection after the answer, without a word of it before."""

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    close: bool = False


@dataclass(frozen=True)
class Post:
    """One post as it came; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def id(self) -> str:
        """Of the message, or of the first of a batch."""
        return self.headers["x-edge-vision-id"]


@dataclass
class Receiver:
    """The n-th post gets the n-th of `replies`, later ones what `answer` says."""

    replies: list[Reply] = field(default_factory=list)
    answer: Callable[[Post], Reply] = field(default=lambda _: Reply())
    posts: list[Post] = field(default_factory=list)
    url: str = ""
    connections: list[socket.socket] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, post: Post) -> Reply:
        """Remember a post."""
        with self.lock:
            self.posts.append(post)
            return self.replies.pop(0) if self.replies else self.answer(post)

    def hang_up(self) -> None:
        """Close every connection, as servers do with those that are idle, and wait until it has gone out."""
        with self.lock:
            for connection in self.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; `receiver` is set by `receiving`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    receiver: Receiver

    def setup(self) -> None:
        """Remember the connection."""
        with self.receiver.lock:
            self.receiver.connections.append(self.request)
            self.number = len(self.receiver.connections)
        super().setup()

    def do_POST(self) -> None:
        """Read the post and answer it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.receiver.take(Post(self.path, headers, body, self.number))
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status not in {204, 304}:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.close_connection = reply.close

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """Waits for its threads at the end, and keeps broken connections to itself."""

    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def receiving(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A running receiver on a port of its own."""
    receiver = Receiver(list(replies))
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"receiver": receiver}))
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/hook"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hang_up()
        server.shutdown()
        server.server_close()
        thread.join()


def serving_tls(certificate: Path, client_authority: Path | None = None) -> ssl.SSLContext:
    """What a receiver with a certificate needs; with an authority, clients must show one of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_authority)
    return context


@contextmanager
def saying(answer: Callable[[int], Iterable[bytes]]) -> Iterator[str]:
    """The address of a server that reads a whole request, says the bytes for the n-th one, and hangs up.

    Whoever makes the bytes may wait between them; a client that is gone ends them.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.02)
    ending = threading.Event()

    def serve() -> None:
        number = 0
        while not ending.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection, suppress(OSError):
                connection.settimeout(60)
                if _read_request(connection):
                    for piece in answer(number):
                        connection.sendall(piece)
                    number += 1

    thread = threading.Thread(target=serve, name="raw server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    finally:
        ending.set()
        thread.join()
        listening.close()


def _read_request(connection: socket.socket) -> bool:
    """Read a request to its end; False where there was none."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            return False
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    (length,) = (
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return True


def wait_for_posts(receiver: Receiver, count: int) -> None:
    """Wait until so many posts have come."""
    wait_until(lambda: len(receiver.posts) >= count, 60, f"{count} posts")
