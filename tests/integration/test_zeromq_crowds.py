"""Many subscribers and absurd questions at a real ZeroMQ sink: nothing is left of them, and others are served."""

import os
from pathlib import Path

import zmq
from conftest import wait_until
from zeromq_site import BOOT, Site, ask, asking, make_message, numbers, read_until

MOST = 2**62


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number, no paths


def test_a_thousand_subscribers_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    """A hundred at a time, half of them amid a message; one that stays misses nothing."""
    site = Site(tmp_path, curve=False)
    sent = 0
    with site.open() as sink, site.read() as friend:
        heard = read_until(friend, lambda found: bool(numbers(found, "status")),
                           lambda: site.publish(sink, make_message(1, kind="status", source="")))  # fmt: skip
        before = _descriptors()

        def send() -> int:
            nonlocal sent
            sent += 1
            site.publish(sink, make_message(sent, more="x" * 2000))
            heard.extend(friend.take(0.01))
            return sent

        for turn in range(10):
            with zmq.Context() as context:
                crowd = [context.socket(zmq.SUB) for _ in range(100)]
                for one in crowd:
                    one.set(zmq.LINGER, 0)
                    one.subscribe(b"")
                    one.connect(site.address)
                try:
                    for _ in range(20):
                        send()
                    for one in crowd if turn % 2 else ():
                        wait_until(lambda one=one: send() > 0 and bool(one.poll(0)), 60, "one that joined hears")  # type: ignore[misc]
                finally:
                    for one in crowd:
                        one.close()
        heard += read_until(friend, lambda found: sent in numbers(heard + found), lambda: sink.send([]))
        wait_until(lambda: _descriptors() <= before + 2, 60, "what they used is given back")
    assert numbers(heard) == list(range(numbers(heard)[0], sent + 1))
    assert friend.missed == 0


def test_absurd_ranges_are_answered(tmp_path: Path) -> None:
    """All there is and more, nothing at all, runs that never were: at once, with what is missing."""
    site = Site(tmp_path)
    site.history.messages += [make_message(number) for number in range(1, 6)]
    stream = {"boot": BOOT, "source": "cam", "kind": "count"}
    with site.open(), asking(site.replay, site.keys) as dealer:
        for more, first, last, missing in (
            ({"from": 1, "to": MOST}, 1, 5, MOST - 5),
            ({"from": MOST, "to": MOST}, None, None, 1),
            ({"from": MOST}, None, None, 0),
            ({"boot": "x" * 128, "from": 1, "to": 10}, None, None, 10),
            ({"source": "\0", "kind": "' or 1=1 --", "from": 1}, None, None, 0),
            ({"from": 5}, 5, 5, 0),
        ):
            _, answer = ask(dealer, {**stream, **more})
            assert (answer.get("first"), answer.get("last"), answer.get("missing", 0)) == (first, last, missing), more
        for wrong in (MOST + 1, 2**64, -1, 0, 1.5, 1e300, "1", None, [1], True):
            _, answer = ask(dealer, {**stream, "from": wrong})
            assert "not a request" in answer["error"], wrong
