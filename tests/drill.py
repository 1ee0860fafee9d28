"""Faults on purpose, and what must have arrived in spite of them."""

import json
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
from mqtt_proxy import Recording

from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.outbox.store import Reader


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of a size such as 8m, mounted; skips the test where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up every byte of a small disk."""
    file = folder / "foreign"
    with file.open("ab", buffering=0) as target:
        for size in (65_536, 4096, 1):
            with suppress(OSError):
                for _ in range(5_000):
                    target.write(b"x" * size)
    return file


def on_disk(state: Path) -> set[str]:
    """The ids of the messages that the outbox of a running site has for good, and still keeps."""
    found: set[str] = set()
    with closing(Reader(state / "outbox.db")) as reader:
        seen, last = 0, reader.last()
        while seen < last:
            rows, seen = reader.read(seen, last, MESSAGE_KINDS, 10_000)
            found.update(row.message.id for row in rows)
    return found


class Witness:
    """Hears everything a site says on ZeroMQ, with the time; fed by `listen` between faults, never in a thread."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket
        self._heard: list[tuple[float, dict[str, Any]]] = []

    def listen(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._socket.poll(int(left * 1000) + 1):
                _, body = self._socket.recv_multipart()
                message = json.loads(body)
                if "id" not in message:
                    continue  # a heartbeat
                known = {key: message.get(key, "") for key in ("id", "boot", "source", "kind", "seq")}
                self._heard.append((time.monotonic(), known))

    def hears(self, count: int, besides: set[str]) -> bool:
        """Listen a moment; whether so many messages were heard by now of runs other than those."""
        self.listen(0.2)
        return sum(message["boot"] not in besides for _, message in self._heard) >= count

    @property
    def ids(self) -> set[str]:
        """The messages that were heard."""
        return {message["id"] for _, message in self._heard}

    @property
    def boots(self) -> set[str]:
        """The runs that were heard."""
        return {message["boot"] for _, message in self._heard}

    @property
    def count(self) -> int:
        """How many messages were heard."""
        return len(self._heard)

    def forget_after(self, moment: float) -> None:
        """What was heard later than a moment proves nothing: it may not have been on disk yet when all ended."""
        self._heard = [one for one in self._heard if one[0] <= moment]

    def owed(self) -> dict[tuple[str, str, str], int]:
        """By boot, source and kind the highest number that was heard: that and all before it must arrive."""
        highest: dict[tuple[str, str, str], int] = defaultdict(int)
        for _, message in self._heard:
            key = (message["boot"], message["source"], message["kind"])
            highest[key] = max(highest[key], message["seq"])
        return dict(highest)


def missing(owed: dict[tuple[str, str, str], int], recording: Recording) -> list[str]:
    """What is owed and was never acknowledged."""
    arrived = defaultdict(set)
    for message in recording.messages:
        arrived[message["boot"], message["source"], message["kind"]].add(message["seq"])
    return [
        f"{boot}-{source}-{kind}-{seq}"
        for (boot, source, kind), highest in owed.items()
        for seq in range(1, highest + 1)
        if seq not in arrived[boot, source, kind]
    ]
