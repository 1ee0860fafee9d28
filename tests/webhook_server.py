"""A webhook's receiver as a process of its own, to be killed: python webhook_server.py PORT FILE KEY [STATUS ...].

It answers its first posts with the statuses given, "slow" being 204 after half a second, the others with 204 once it
has written them to FILE, a line each; 401 where the signature is not that of KEY.
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    out: Any
    key: bytes
    script: list[str]
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Check, remember, answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            step = self.script.pop(0) if self.script else "204"
        if step == "slow":
            time.sleep(0.5)
            step = "204"
        if not self._signed(body):
            step = "401"
        if step == "204":
            line = {"id": self.headers["X-Edge-Vision-Id"], "body": base64.b64encode(body).decode()}
            with self.lock:
                self.out.write(json.dumps(line) + "\n")
                self.out.flush()
        self.send_response(int(step))
        if step != "204":
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _signed(self, body: bytes) -> bool:
        parts = dict(part.split("=") for part in self.headers["X-Edge-Vision-Signature"].split(","))
        expected = hmac.new(self.key, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, parts["v1"])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""


def main(port: str, file: str, key: str, *script: str) -> None:
    """Serve until killed."""
    with Path(file).open("a", encoding="utf-8") as out:
        _Handler.out, _Handler.key, _Handler.script = out, key.encode(), list(script)
        ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
