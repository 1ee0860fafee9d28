"""A ZeroMQ sink on loopback ports with keys, a history, and messages to send; readers for it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq
from conftest import find_free_port, wait_until

from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.table import SinkOpening, open_sink
from edge_vision.publish.wire import Wire
from edge_vision.publish.zeromq.options import ZeromqOptions
from edge_vision.publish.zeromq.order import Missed
from edge_vision.publish.zeromq.reader import ReaderKeys, ZeromqReader, open_reader
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import FakeHistory

BOOT = "00000b"


def make_pair() -> tuple[str, str]:
    """A public key and its secret one."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def make_message(
    number: int, *, kind: str = "count", source: str = "cam", boot: str = BOOT, more: str = ""
) -> Message:  # fmt: skip
    """A message as it is on the wire, as far as a reader looks at it."""
    name = f"{boot}-{source}-{kind}-{number}"
    body = {"schema": "edge-vision/1", "kind": kind, "id": name, "boot": boot, "seq": number, "site": "test"}
    body |= {"source": source} if source else {}
    topic = f"edge-vision/v1/test/{source}/{kind}" if source else f"edge-vision/v1/test/{kind}"
    return Message(name, boot, number, kind, source, topic, json.dumps({**body, "more": more}).encode())


class Site:
    """Options, keys and history of one sink; `publish` remembers what it sends, as an outbox would."""

    def __init__(self, folder: Path, *, curve: bool | dict[str, Any] = True, replay: bool = True, **more: Any) -> None:
        self.public, self.secret = make_pair()
        self.client = make_pair()
        self.history = FakeHistory()
        self.dropped: dict[tuple[str, str], int] = {}
        self.address, self.replay = (f"tcp://127.0.0.1:{find_free_port()}" for _ in range(2))
        self.file = folder / "secret"
        self.file.write_text(self.secret + "\n")
        given: dict[str, Any] = {"kind": "zeromq", "bind": self.address, "heartbeat_s": 0.5, **more}
        if curve:
            given["curve"] = {"secret_key": {"file": self.file}, "clients": [self.client[0]]}
            given["curve"] = given["curve"] if curve is True else curve
        if replay:
            given["replay"] = {"bind": self.replay}
        self.options = ZeromqOptions.model_validate(given)
        wire = Wire("test", BOOT, SystemClock())
        self.opening = SinkOpening(
            "test", SystemClock(), wire.will(), lambda: wire.status("online", {}), history=self.history,
            dropped_last=lambda: dict(self.dropped),
        )  # fmt: skip

    def open(self) -> AbstractContextManager[Sink]:
        """The sink."""
        return open_sink(self.options, self.opening)

    @property
    def keys(self) -> ReaderKeys:
        """Those of a client that may connect."""
        return ReaderKeys(self.public, self.client[1])

    def read(self, **more: Any) -> AbstractContextManager[ZeromqReader]:
        """A reader that may connect, with the replay socket."""
        settings: dict[str, Any] = {
            "replay": self.replay if self.options.replay else None,
            "keys": self.keys if self.options.curve else None,
        }
        return open_reader(self.address, SystemClock(), **{**settings, **more})

    def publish(self, sink: Sink, *messages: Message, lost: bool = False) -> None:
        """Keep messages and send them, or let them get lost on the way."""
        self.history.messages += messages
        sink.send([] if lost else list(messages))


def idle(sink: Sink, done: Callable[[], bool]) -> None:
    """Call an idle sink, as the daemon does, until something is done."""

    def turn() -> bool:
        sink.send([])
        return done()

    wait_until(turn, 60, "what an idle sink was called for")


def read_until(
    reader: ZeromqReader, enough: Callable[[list[Message | Missed]], bool], send: Callable[[], None] = lambda: None,
    timeout_s: float = 60.0,
) -> list[Message | Missed]:  # fmt: skip
    """What a reader brings until it is enough; `send` is called again and again, as the daemon calls an idle sink."""
    found: list[Message | Missed] = []
    end = time.monotonic() + timeout_s
    while not enough(found):
        assert time.monotonic() < end, f"not enough within {timeout_s:g} s: {len(found)} found, {found[-3:]}"
        send()
        found += reader.take(0.05)
    return found


def join(site: Site, sink: Sink, reader: ZeromqReader, kind: str = "status") -> list[Message | Missed]:
    """Send until the reader hears it."""
    sent: list[int] = []

    def send() -> None:
        sent.append(1)
        site.publish(sink, make_message(len(sent), kind=kind, source=""))

    return read_until(reader, lambda found: bool(numbers(found, kind)), send)


def numbers(found: list[Message | Missed], kind: str = "count", boot: str = BOOT) -> list[int]:
    """The numbers of a stream in what was found, in its order."""
    return [one.seq for one in found if isinstance(one, Message) and (one.kind, one.boot) == (kind, boot)]


@contextmanager
def asking(address: str, keys: ReaderKeys | None = None, **options: int) -> Iterator["zmq.Socket[bytes]"]:
    """A bare DEALER socket, connected."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.set(zmq.RCVTIMEO, 60_000)
        for name, value in options.items():
            dealer.set(getattr(zmq, name), value)
        for option, value in ({} if keys is None else keys.settings()).items():
            dealer.set(option, value)
        dealer.connect(address)
        yield dealer


def ask(dealer: "zmq.Socket[bytes]", request: bytes | dict[str, Any]) -> tuple[list[bytes], dict[str, Any]]:
    """Ask and read the whole answer: the frames of its messages, and what its last frame says."""
    dealer.send(request if isinstance(request, bytes) else json.dumps(request).encode())
    frames: list[bytes] = []
    while True:
        piece = dealer.recv_multipart()
        if len(piece) % 2:
            return frames + piece[:-1], json.loads(piece[-1])
        frames += piece


class Cable:
    """A TCP connection between a client and a site that can be cut: nothing passes, and what was open is closed."""

    def __init__(self, target: str) -> None:
        self._target = int(target.rpartition(":")[2])
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._whole = True
        self.address = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._start(self._accept)

    def cut(self) -> None:
        """Close every connection and let none come through."""
        self._whole = False
        self._close()

    def mend(self) -> None:
        """Let connections through again."""
        self._whole = True

    def close(self) -> None:
        """End its threads."""
        self.cut()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(60)

    def _close(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if not self._whole:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._target), 60)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                self._ends += [near, far]
                self._start(_pass_on, near, far)
                self._start(_pass_on, far, near)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
