"""How many messages a second the webhook's sink posts to a server on this machine, beside bare posts on a socket.

usage: python benchmarks/http_sink.py [--seconds 3]

The server is a process of its own that reads a post and answers 204. "socket" sends the same bodies with the shortest
head there is and waits for the answer: no sink over HTTP can be faster. Trust the ratios.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from edge_vision.core.message import Message
from edge_vision.publish.http.options import HttpSinkOptions
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_message

BODY = b'{"schema":"edge-vision/1","kind":"line_crossed",' + b'"padding":"' + b"x" * 550 + b'"}'
OUTLET_BATCH = 256
"""As many messages as a sink is handed at once."""
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def serve() -> None:
    """Answer every post on one connection after the other, without looking at it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        for connection in iter(lambda: listening.accept()[0], None):
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                got = b""
                for piece in iter(lambda: connection.recv(1 << 18), b""):  # noqa: B023 - used up before it changes
                    got += piece
                    head, end, body = got.partition(b"\r\n\r\n")
                    if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
                        connection.sendall(ANSWER)
                        got = b""


def through_sink(port: int, batch: int, messages: list[Message]) -> Callable[[], None]:
    """Send them once, over the one connection of an open sink, signed."""
    given = {"kind": "http", "url": f"http://127.0.0.1:{port}/", "secret": {"env": "WEBHOOK_KEY"}, "batch": batch}
    wire = Wire("bench", "boot", SystemClock())
    opening = SinkOpening("bench", SystemClock(), wire.will(), lambda: wire.status("online", {}))
    opened: Any = open_sink(HttpSinkOptions.model_validate(given), opening)
    sink = opened.__enter__()
    return lambda: sink.send(messages)


def through_socket(port: int, batch: int, messages: list[Message]) -> Callable[[], None]:
    """The same bodies, bare."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send() -> None:
        for start in range(0, len(messages), batch):
            body = b"[" + b",".join(message.body for message in messages[start : start + batch]) + b"]"
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            connection.recv(4096)

    return send


def rate(send: Callable[[], None], count: int, seconds: float) -> float:
    """Messages a second; the first round does not count."""
    send()
    rounds, started = 0, time.perf_counter()
    for rounds in range(1, 1_000_000):  # noqa: B007 - counted
        send()
        if time.perf_counter() - started >= seconds:
            break
    return rounds * count / (time.perf_counter() - started)


def main() -> None:
    """Print a row per batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    os.environ["WEBHOOK_KEY"] = "key"
    messages = [make_message(number, kind="line_crossed", body=BODY) for number in range(1, OUTLET_BATCH + 1)]
    print(f"messages of {len(BODY)} bytes; per second\n\n| batch | sink | socket | ratio |\n|---|---|---|---|")
    for batch in (1, 100):
        rates = []
        for through in (through_sink, through_socket):
            with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                port = int(server.stdout.readline())
                try:
                    rates.append(rate(through(port, batch, messages), len(messages), options.seconds))
                finally:
                    server.kill()
        print(f"| {batch} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[0] / rates[1]:.2f} |")


if __name__ == "__main__":
    main()
