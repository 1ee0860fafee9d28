"""The replay socket: answers in pieces, malformed questions, clients that do not read or ask too much."""

import json
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import wait_until
from zeromq_site import BOOT, Site, ask, asking, make_message

from edge_vision.publish.zeromq import replay as serving
from edge_vision.publish.zeromq.words import LARGEST_REQUEST


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_replay_is_served_in_pieces_with_a_last_word(site: Site) -> None:
    """Whatever the range: what is kept comes in order, and the last frame says what is missing."""
    site.history.messages = [make_message(number, more="x" * 5000) for number in range(11, 1011) if number % 100]
    with site.open(), asking(site.replay, site.keys) as dealer:
        frames, end = ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count", "from": 1, "to": 500})
        expected = [number for number in range(11, 501) if number % 100]
        assert [json.loads(body)["seq"] for body in frames[1::2]] == expected
        assert set(frames[0::2]) == {b"edge-vision/v1/test/cam/count"}
        assert end == {"done": True, "first": 11, "last": 499, "missing": 15}
        frames, end = ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count", "from": 950})
        assert end == {"done": True, "first": 950, "last": 1010, "missing": 1}
        assert ask(dealer, {"ranges": True, "id": "r7"})[1]["id"] == "r7"
        assert ask(dealer, {"boot": "0", "kind": "count", "id": "q"})[1]["id"] == "q"
        assert ask(dealer, {"boot": "0", "kind": "count", "from": 3}) == ([], {"done": True, "missing": 0})
        assert ask(dealer, {"boot": "0", "kind": "count", "from": 3, "to": 4}) == ([], {"done": True, "missing": 2})
        _, kept = ask(dealer, {"ranges": True})
        assert kept["ranges"] == [{"boot": BOOT, "source": "cam", "kind": "count", "first": 11, "last": 1010}]
        assert kept["keep_s"] == 600
        assert "detections" not in kept["kinds"]
        assert "count" in kept["kinds"]
        dealer.send(json.dumps({"boot": BOOT, "source": "cam", "kind": "count"}).encode())
        sizes: list[tuple[int, int]] = []
        while not sizes or sizes[-1][0] % 2 == 0:
            piece = dealer.recv_multipart()
            sizes.append((len(piece), sum(map(len, piece))))
        assert len(sizes) > 10
        assert max(size for _, size in sizes) < 1_100_000
        assert max(count for count, _ in sizes) <= 2 * 64 + 1


MALFORMED = [
    (b"", "not a request"), (b"{", "not a request"), (b"[]", "not a request"), (b"\xff\xfe", "not a request"),
    (b"[" * 4000, "not a request"), (b'{"boot": 1}', "not a request"), (b"{}", 'a request has "ranges"'),
    (b'{"boot": "b", "kind": "k", "from": 0}', ">= 1"), (b'{"boot": "b", "kind": "k", "from": 1e400}', "not a"),
    (b'{"boot": "b", "kind": "k", "from": 5, "to": 4}', "before the beginning"),
    (b'{"boot": "b", "kind": "k", "from": 99999999999999999999999}', "not a request"),
    (b'{"ranges": true, "more": 1}', "more"), (b'{"boot": "' + b"b" * 200 + b'", "kind": "k"}', "128"),
    (b'{"' + b"x" * 3000 + b'": 1}', "not a request"),
]  # fmt: skip


def test_a_malformed_request_is_answered_with_what_is_wrong(site: Site) -> None:
    """And the next one is served."""
    with site.open(), asking(site.replay, site.keys) as dealer:
        for request, words in MALFORMED:
            frames, end = ask(dealer, request)
            assert frames == []
            assert list(end) == ["error"], request
            assert words in end["error"], request
            assert len(end["error"]) <= 300
        dealer.send_multipart([b"{", b'{"ranges": true}'])
        assert "one frame of JSON, not 2" in json.loads(dealer.recv_multipart()[-1])["error"]
        assert ask(dealer, {"ranges": True})[1]["done"]


def test_a_request_that_is_too_large_ends_the_connection_and_nothing_else(site: Site) -> None:
    """ZeroMQ closes it before it is read into memory; the client comes back by itself."""
    with site.open(), asking(site.replay, site.keys) as other, asking(site.replay, site.keys, RCVTIMEO=700) as dealer:
        assert ask(other, {"ranges": True})[1]["done"]
        dealer.send(b" " * (LARGEST_REQUEST + 1))
        with pytest.raises(zmq.Again):
            dealer.recv_multipart()
        assert ask(other, {"ranges": True})[1]["done"]
        assert ask(dealer, {"ranges": True})[1]["done"]


def test_what_is_kept_may_fail_to_be_read(site: Site) -> None:
    """The client is told, and served when it can be read again."""
    with site.open(), asking(site.replay, site.keys) as dealer:
        site.history.broken = True
        for request in ({"ranges": True}, {"boot": BOOT, "kind": "count"}):
            assert ask(dealer, request)[1] == {"error": "the fake history was told to fail"}
        site.history.broken = False
        assert ask(dealer, {"ranges": True})[1]["done"]


def test_a_client_that_does_not_read_holds_up_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pieces wait, a few of them; others are served at once; after a while its requests are dropped."""
    monkeypatch.setattr(serving, "_PATIENCE_S", 1.0)
    site.history.messages = [make_message(number, more="x" * 200_000) for number in range(1, 301)]
    request = json.dumps({"boot": BOOT, "source": "cam", "kind": "count"}).encode()
    with site.open() as sink, asking(site.replay, site.keys, RCVHWM=1, RCVBUF=4096) as lazy:
        for _ in range(serving.MOST_REQUESTS):
            lazy.send(request)
        (replay,) = (one for one in sink._services if one.worker.name.startswith("replay"))  # type: ignore[attr-defined]
        wait_until(lambda: any(one.piece for one in replay._clients.values()), 60, "it is being served")
        for _ in range(3):
            with asking(site.replay, site.keys) as dealer:
                frames, end = ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count", "from": 290})
                assert (len(frames), end["missing"]) == (22, 0)
        wait_until(lambda: not replay._clients, 60, "its requests are dropped")
        assert replay.dropped > 0
        assert ask(lazy, b"{")[1] is not None  # it reads now: whatever was sent before, then more
        sink.send([])


def test_requests_of_one_client_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond are answered at once with an error; so is one client too many."""
    monkeypatch.setattr(serving, "MOST_CLIENTS", 2)
    site.history.messages = [make_message(number, more="x" * 100_000) for number in range(1, 301)]
    request = {"boot": BOOT, "source": "cam", "kind": "count"}
    with site.open(), asking(site.replay, site.keys, RCVHWM=1) as one, asking(site.replay, site.keys, RCVHWM=1) as two:
        for dealer in (one, two):
            for number in range(200):
                dealer.send(json.dumps({**request, "id": f"{number}"}).encode())
        with asking(site.replay, site.keys) as third:
            wait_until(lambda: "2 clients are being served" in ask(third, {"ranges": True})[1].get("error", ""), 60, "")
        ends: list[Any] = []
        while len(ends) < 20:
            piece = one.recv_multipart()
            ends += [json.loads(piece[-1])] if len(piece) % 2 else []
        refused = [end["id"] for end in ends if "16 requests wait" in end.get("error", "")]
        assert refused
        assert "0" not in refused
