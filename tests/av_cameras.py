"""A source of kind av, what it reads, and cameras over HTTP that answer what they are told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.capture.table import open_source
from edge_vision.core.errors import SourceError
from edge_vision.core.frame import Frame
from edge_vision.core.options import Secret
from edge_vision.core.protocols import Source
from edge_vision.runtime.clock import SystemClock

PASSWORD = "s3cr:t@/pw"
ALL = 1 << 62


def av_options(url: str, password: str | None = "RIGHT", **more: Any) -> AvOptions:
    """Those of a camera with a login; without one where `password` is None."""
    login = {} if password is None else {"username": "op", "password": Secret(env=password)}
    return AvOptions(kind="av", url=url, **{"open_timeout_s": 10, "read_timeout_s": 2, **login, **more})


def av_opening(ring: Ring | None = None, epoch_ns: int | None = None, **more: Any) -> Opening:
    """What a camera is opened with."""
    clock = SystemClock()
    return Opening("gate", clock, epoch_ns=clock.monotonic_ns() if epoch_ns is None else epoch_ns, ring=ring, **more)


def read_frames(options: AvOptions, count: int, ring: Ring | None = None, epoch_ns: int | None = None) -> list[Frame]:
    """So many frames of a camera."""
    frames = []
    with open_source(options, av_opening(ring, epoch_ns)) as source:
        for _ in range(count):
            frame = source.read()
            assert frame is not None
            frames.append(frame)
    return frames


def last_of(source: Source) -> Frame | None:
    """Read until that fails."""
    frame = None
    for _ in range(200):
        frame = source.read()
    return frame


def failure_of(options: AvOptions, count: int = 1) -> SourceError:
    """What is raised; neither it nor anything behind it names the password or the user."""
    with pytest.raises(SourceError) as caught:
        read_frames(options, count)
    error = caught.value
    assert options.shown in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None
    for secret in (PASSWORD, "s3cr", "hunter2", "op:", "op@"):
        assert secret not in f"{error!r} {error} {error.args}"
    return error


class Web(BaseHTTPRequestHandler):
    """Answers as a test wants."""

    answer: Callable[["Web"], None]

    def do_GET(self) -> None:
        """Answer one client, who may leave early."""
        try:
            type(self).answer(self)
        except OSError:
            self.close_connection = True

    def begin(self, status: int, kind: str = "text/html", length: int | None = None) -> None:
        """The head of an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


@contextmanager
def serve_web(answer: Callable[[Web], None]) -> Iterator[str]:
    """The address of an HTTP camera that answers so."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Web", (Web,), {"answer": answer}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/live?password=s3cr&x=1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
