"""The gate answers whatever it is asked, and lets nobody in whom it does not know."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from zeromq_site import make_pair
from zmq.utils import z85

from edge_vision.publish.zeromq.gate import Clients, Gate
from edge_vision.publish.zeromq.options import CurveOptions
from edge_vision.runtime.clock import SystemClock

LISTED = make_pair()[0]
KEY = z85.decode(LISTED.encode())
QUESTION = [b"1.0", b"7", b"edge-vision", b"127.0.0.1", b"", b"CURVE", KEY]


@contextmanager
def _gate(tmp_path: Path) -> Iterator["zmq.Socket[bytes]"]:
    curve = CurveOptions.model_validate({"secret_key": {"file": tmp_path / "key"}, "clients": [LISTED]})
    with zmq.Context() as context:
        gate = Gate(context, Clients(curve), "test", SystemClock())
        gate.worker.start()
        assert gate.ready.wait(60)
        with context.socket(zmq.DEALER) as asks:
            asks.set(zmq.LINGER, 0)
            asks.set(zmq.RCVTIMEO, 5000)
            asks.connect("inproc://zeromq.zap.01")
            yield asks
        assert gate.worker.alive, gate.worker.error
        gate.worker.stop()
        assert gate.worker.join(60)


def _ask(asks: "zmq.Socket[bytes]", question: list[bytes]) -> list[bytes]:
    asks.send_multipart([b"", *question])
    return asks.recv_multipart()[1:]


@pytest.mark.parametrize(
    "place, value",
    [(2, b"other domain"), (2, b""), (5, b"NULL"), (5, b"PLAIN"), (5, b""), (6, KEY[:-1]), (6, b""), (6, bytes(32)),
     (6, LISTED.encode())],
    ids=["domain", "no domain", "null", "plain", "no mechanism", "part of it", "no key", "zeros", "as text"],
)  # fmt: skip
def test_only_the_listed_key_is_let_in(place: int, value: bytes, tmp_path: Path) -> None:
    """Not another one, no part of it, no other mechanism; the answer has the number of the question."""
    with _gate(tmp_path) as asks:
        assert _ask(asks, QUESTION) == [b"1.0", b"7", b"200", b"OK", LISTED.encode(), b""]
        wrong = QUESTION.copy()
        wrong[place] = value
        assert _ask(asks, wrong)[:3] == [b"1.0", b"7", b"400"]
        assert _ask(asks, [*QUESTION, KEY])[2] == b"400"
        assert _ask(asks, QUESTION[:-1])[2] == b"400"


def test_malformed_questions_end_nothing(tmp_path: Path) -> None:
    """Thousands of them: too short, of another version, random; the next good one is answered."""
    chance = random.Random(5)
    with _gate(tmp_path) as asks:
        for _ in range(2000):
            frames = [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(1, 12))]
            if chance.random() < 0.5:
                frames[0] = b""
            asks.send_multipart(frames)
        asks.send_multipart([b"", *QUESTION])
        while (said := asks.recv_multipart()) != [b"", b"1.0", b"7", b"200", b"OK", LISTED.encode(), b""]:
            assert said[3:4] == [b"400"]
