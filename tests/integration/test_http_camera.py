"""An HTTP camera: a real server that pushes JPEG pictures, ends, and asks for a password."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vision.capture.conveyor import Conveyor
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import HttpOptions
from edge_vision.capture.table import open_source
from edge_vision.core.errors import SourceError
from edge_vision.core.frame import Frame
from edge_vision.core.options import Secret
from edge_vision.runtime.clock import SystemClock

PICTURES = 40


class _Camera(BaseHTTPRequestHandler):
    """Pushes pictures of a rendered line as motion JPEG, then ends the stream."""

    line = Conveyor((320, 192), 25)
    login = ""

    def do_GET(self) -> None:
        """Answer one client."""
        expected = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and self.headers["Authorization"] != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        image = np.empty((192, 320, 3), np.uint8)
        for index in range(PICTURES):
            self.line.draw(index, image)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


@contextmanager
def camera_server(login: str = "") -> Iterator[str]:
    """A running camera; gives its address."""
    handler = type("Camera", (_Camera,), {"login": login})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mjpeg"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_picture_of_an_http_camera_comes_and_its_end_is_an_error() -> None:
    """A camera's stream does not end: when it does, SourceError, so that it is opened again."""
    with camera_server() as url:
        options = HttpOptions(kind="http", url=url, open_timeout_s=30, read_timeout_s=30)
        with open_source(options, Opening("door", SystemClock(), first_index=7)) as source:
            assert source.live
            frames: list[Frame | None] = []
            with pytest.raises(SourceError, match="ended"):
                frames.extend(source.read() for _ in range(PICTURES + 1))
    indices = [frame.index for frame in frames if frame is not None]
    assert indices == list(range(7, 7 + len(indices)))
    assert len(indices) >= PICTURES - 1
    frame = frames[0]
    assert frame is not None
    assert frame.wh == (320, 192)
    drawn = np.empty((192, 320, 3), np.uint8)
    _Camera.line.draw(0, drawn)
    assert float(np.abs(frame.image.astype(int) - drawn.astype(int)).mean()) < 8.0, "not the picture that was sent"


def test_login_by_reference_and_its_failure_without_the_password(tmp_path: Path) -> None:
    """The right password opens the camera; a wrong one is a SourceError that shows neither name nor password."""
    (tmp_path / "right").write_text("pa:ss@word\n")
    (tmp_path / "wrong").write_text("hunter2\n")
    with camera_server("viewer:pa:ss@word") as url:
        for name in ("right", "wrong"):
            options = HttpOptions(
                kind="http", url=url, username="viewer", password=Secret(file=tmp_path / name), open_timeout_s=30
            )
            if name == "right":
                with open_source(options, Opening("door", SystemClock())) as source:
                    assert source.read() is not None
                continue
            with pytest.raises(SourceError) as caught, open_source(options, Opening("door", SystemClock())):
                pass
            assert "hunter2" not in str(caught.value)
            assert "viewer" not in str(caught.value)
