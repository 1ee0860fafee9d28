"""A real HTTP server of files for the tests: it resumes, and misbehaves where a test asks it to."""

import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    `status` answers with that and nothing else, `location` redirects; `drop_after` ends the connection after so many
    bytes of the body; `forget_range` sends the whole file whatever was asked for; `body` stands in for the file,
    `wrong_range` claims another start than the one asked for, `pause_s` passes between pieces of `piece` bytes, and
    `unsized` leaves the size unsaid.
    """

    status: int = 0
    location: str = ""
    drop_after: int | None = None
    forget_range: bool = False
    wrong_range: bool = False
    body: bytes | None = None
    piece: int = 1 << 16
    pause_s: float = 0.0
    unsized: bool = False
    encoding: str = ""


@dataclass
class Asked:
    """One request, and the bytes of the body that were sent."""

    path: str
    range: str | None
    sent: int = 0


@dataclass
class FileServer:
    """Serves `files` by path; the n-th request meets the n-th of `faults`, later ones `always`."""

    files: Mapping[str, bytes]
    faults: list[Fault] = field(default_factory=list)
    always: Fault = field(default_factory=Fault)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    ending: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sent(self) -> int:
        """Bytes of bodies sent so far."""
        return sum(one.sent for one in self.asked)

    def note(self, asked: Asked) -> Fault:
        """Count a request in; what goes wrong with it."""
        with self.lock:
            self.asked.append(asked)
            return self.faults.pop(0) if self.faults else self.always


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; `files` is set by `serving`."""

    files: FileServer

    def do_GET(self) -> None:
        """Send the file, or what is wrong with it."""
        asked = Asked(self.path, self.headers["Range"])
        fault = self.files.note(asked)
        content = fault.body if fault.body is not None else self.files.files.get(self.path)
        if fault.location:
            self.send_response(302)
            self.send_header("Location", fault.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault.status or content is None:
            self.send_error(fault.status or 404)
        else:
            self._send(content, fault, asked)

    def _send(self, content: bytes, fault: Fault, asked: Asked) -> None:
        start = int(asked.range.removeprefix("bytes=").partition("-")[0]) if asked.range else 0
        if fault.forget_range:
            start = 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            claimed = start - 1 if fault.wrong_range else start
            self.send_header("Content-Range", f"bytes {claimed}-{len(content) - 1}/{len(content)}")
        if fault.encoding:
            self.send_header("Content-Encoding", fault.encoding)
        if not fault.unsized:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:] if fault.drop_after is None else content[start : start + fault.drop_after]
        for place in range(0, len(rest), fault.piece):
            try:
                asked.sent += self.wfile.write(rest[place : place + fault.piece])
            except OSError:  # whoever asked is gone
                return
            if fault.pause_s and self.files.ending.wait(fault.pause_s):
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


class _Quiet(ThreadingHTTPServer):
    """Waits for its threads at the end, and keeps broken connections to itself."""

    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that vouches for itself, in one file."""
    pem, key = folder / "server.pem", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


@contextmanager
def serving(
    files: Mapping[str, bytes], *faults: Fault, always: Fault | None = None, certificate: Path | None = None
) -> Iterator[FileServer]:
    """A running server of these files, by path; with TLS when there is a certificate."""
    book = FileServer(files, list(faults), always or Fault())
    server = _Quiet(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": book}))
    book.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield book
    finally:
        book.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
