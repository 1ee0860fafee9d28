"""Garbage at the sockets of the ZeroMQ sink: no crash, and whoever behaves is served all along."""

import json
import os
import random
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
from zeromq_site import BOOT, Site, ask, asking, make_message, numbers, read_until

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
ROUNDS = 40
ROUNDS_FULL = 1500


def _greeting(mechanism: bytes, *, server: bool = False) -> bytes:
    """The 64 bytes with which a ZMTP 3.1 connection begins."""
    return GREETING + mechanism.ljust(20, b"\0") + bytes([server]) + bytes(31)


def _command(name: bytes, data: bytes) -> bytes:
    body = bytes([len(name)]) + name + data
    return b"\x06" + struct.pack(">Q", len(body)) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def _attacks(chance: random.Random, kind: bytes) -> Iterator[bytes]:
    """What a hostile peer sends, each on a connection of its own."""
    ready = _greeting(b"NULL") + _command(b"READY", _property(b"Socket-Type", kind) + _property(b"Identity", b"evil"))
    hello = b"\x01\x00" + bytes(72) + chance.randbytes(8 + 80)
    yield chance.randbytes(chance.randrange(1, 3000))
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield _greeting(b"NULL")[: chance.randrange(1, 64)]
    yield _greeting(chance.choice([b"CURVE", b"PLAIN", b"GSSAPI", b"NULL", b"NO SUCH", b"\xff" * 20]), server=True)
    yield _greeting(b"CURVE") + chance.randbytes(chance.randrange(400))
    yield _greeting(b"CURVE") + _command(b"HELLO", hello)
    yield _greeting(b"CURVE") + _command(b"HELLO", hello) + _command(b"INITIATE", chance.randbytes(300))
    yield _greeting(b"CURVE") + _command(b"INITIATE", chance.randbytes(chance.randrange(500)))
    yield _greeting(b"PLAIN") + _command(b"HELLO", b"\x05admin\x05admin")
    yield _greeting(b"NULL") + _command(b"READY", chance.randbytes(chance.randrange(200)))
    yield _greeting(b"NULL") + _command(
        b"READY", _property(b"Socket-Type", chance.choice([b"PUB", b"REP", b"x" * 255]))
    )
    yield _greeting(b"NULL") + _command(b"ERROR", chance.randbytes(chance.randrange(20)))
    yield ready + b"\x02" + struct.pack(">Q", chance.choice([2**63 - 1, 2**64 - 1, 10**9, 4097])) + b"x" * 100
    yield ready + b"".join(b"\x01\x10" + chance.randbytes(16) for _ in range(200))  # frames without an end
    yield ready + b"".join(b"\x00\x08" + chance.randbytes(8) for _ in range(50))
    yield ready + _command(b"SUBSCRIBE", chance.randbytes(4000)) + _command(b"CANCEL", chance.randbytes(40))
    yield ready + _command(b"PING", chance.randbytes(chance.randrange(40))) + _command(b"PONG", b"")
    yield ready + chance.randbytes(chance.randrange(1, 2000))
    spoiled = bytearray(ready + b"\x00\x01\x01" * 20)
    for _ in range(8):
        spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
    yield bytes(spoiled)


def _attack(address: str, data: bytes, chance: random.Random, left_open: list[socket.socket]) -> None:
    """Send it, perhaps in two parts, and hang up in one way or another, or not at all."""
    peer = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5)
    peer.settimeout(0.002)
    cut = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
    stays, resets = chance.random() < 0.2 and len(left_open) < 100, chance.random() < 0.5
    with suppress(OSError):  # it may be hung up on, which is right
        peer.sendall(data[:cut])
        with suppress(TimeoutError):
            peer.recv(4096)
        peer.sendall(data[cut:])
    if stays:
        left_open.append(peer)
        return
    if resets:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def _malformed(chance: random.Random) -> bytes:
    """A request that is nearly one, or nothing like it."""
    good = {"boot": BOOT, "source": "cam", "kind": "count", "from": 1, "to": 5}
    wrong: list[Any] = [None, True, -1, 0, 2**63, 2**64, 1.5, 1e308, "", "x" * 200, "\x00", "\ud800", [], {}, [[]] * 9]
    how = chance.randrange(6)
    if how == 0:
        return chance.randbytes(chance.randrange(4000))
    if how == 1:
        return json.dumps({**good, chance.choice([*good, "ranges", "more"]): chance.choice(wrong)}).encode()
    if how == 2:
        return json.dumps(chance.choice(wrong)).encode()
    if how == 3:
        return json.dumps(good).encode()[: chance.randrange(60)]
    if how == 4:
        return chance.choice([b"[", b'{"boot":', b'{"ranges":[']) * chance.randrange(1, 330)
    text = bytearray(json.dumps(good).encode())
    text[chance.randrange(len(text))] = chance.randrange(256)
    return bytes(text)


@pytest.mark.parametrize("curve", [True, False], ids=["curve", "plain"])
@pytest.mark.parametrize(
    "rounds", [ROUNDS, pytest.param(ROUNDS_FULL, marks=[pytest.mark.full, pytest.mark.timeout(900)])]
)
def test_garbage_at_the_sockets_stops_nothing(rounds: int, curve: bool, tmp_path: Path) -> None:
    """Random bytes, handshakes cut short, giant frames: a subscriber hears all, the replay socket serves on."""
    chance = random.Random(20261122 + curve)
    site = Site(tmp_path, curve=curve)
    left_open: list[socket.socket] = []
    count = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with site.open() as sink, site.read() as reader, asking(site.replay, site.keys if curve else None) as dealer:
            read_until(reader, bool, lambda: site.publish(sink, make_message(1, kind="reading")))
            found = []
            for number in range(1, rounds + 1):
                for address, kind in ((site.address, b"SUB"), (site.replay, b"DEALER")):
                    for data in _attacks(chance, kind):
                        _attack(address, data, chance, left_open)
                        count += 1
                site.publish(sink, make_message(number))
                found += reader.take(0.0)
                _, end = ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count"})
                assert end["missing"] == 0
                assert end["last"] == number
            found += read_until(reader, lambda more: rounds in numbers(found + more), lambda: sink.send([]))
            assert numbers(found) == list(range(1, rounds + 1))
            assert reader.missed == 0
    finally:
        for peer in left_open:
            peer.close()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} hostile connections, memory grew by {grown_mb:.0f} MB, nothing missed")
    assert grown_mb < 200, "giant frames were taken into memory"


@pytest.mark.parametrize("total", [2000, pytest.param(200_000, marks=[pytest.mark.full, pytest.mark.timeout(900)])])
def test_malformed_requests_are_answered_one_by_one(total: int, tmp_path: Path) -> None:
    """Every one of thousands; a good one among them is served."""
    chance = random.Random(7)
    site = Site(tmp_path)
    site.history.messages = [make_message(number) for number in range(1, 6)]
    errors = 0
    with site.open() as sink, asking(site.replay, site.keys) as dealer:
        for number in range(total):
            _, end = ask(dealer, _malformed(chance))
            errors += "error" in end
            if number % 500 == 0:
                sink.send([])
                assert ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count"})[1]["last"] == 5
        for _ in range(50):  # frames and frames of nothing, and answers nobody waits for
            dealer.send_multipart([os.urandom(chance.randrange(50)) for _ in range(chance.randrange(1, 400))])
            assert "error" in ask(dealer, b"{")[1]
            with suppress(zmq.Again):
                dealer.recv_multipart(zmq.DONTWAIT)
    assert errors > 0.8 * total
    print(f"{total} requests, {errors} errors answered")
