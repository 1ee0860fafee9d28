"""The ZeroMQ sink with real sockets: who may listen, heartbeats, what was missed, and a reader that misses nothing."""

import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zmq
from conftest import Start, find_free_port, wait_until
from zeromq_site import BOOT, Cable, Site, ask, asking, idle, make_message, make_pair, numbers, read_until

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.core.protocols import Sink
from edge_vision.publish.schema import message_schema
from edge_vision.publish.zeromq import replay as serving
from edge_vision.publish.zeromq.order import Missed
from edge_vision.publish.zeromq.reader import ReaderKeys
from edge_vision.publish.zeromq.words import LARGEST_REQUEST


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _join(site: Site, sink: Sink, reader: Any, kind: str = "status") -> list[Message | Missed]:
    """Send until the reader hears it."""
    sent: list[int] = []

    def send() -> None:
        sent.append(1)
        site.publish(sink, make_message(len(sent), kind=kind, source=""))

    return read_until(reader, lambda found: bool(numbers(found, kind)), send)


def _strangers(site: Site) -> Iterator[tuple[str, ReaderKeys | None]]:
    """Clients that may not connect."""
    yield "no key", None
    yield "a key that is not listed", ReaderKeys(site.public, make_pair()[1])
    yield "the wrong key of the site", ReaderKeys(make_pair()[0], site.client[1])


def test_only_clients_with_a_listed_key_get_anything(site: Site) -> None:
    """Of PUB and of the replay socket: one hears, and the others, plain ones too, hear and learn nothing."""
    with ExitStack() as stack:
        sink, friend = stack.enter_context(site.open()), stack.enter_context(site.read())
        opened = [stack.enter_context(site.read(keys=keys)) for _, keys in _strangers(site)]
        _join(site, sink, friend)
        sent = list(range(1, 41))
        heard = []
        for number in sent:
            site.publish(sink, make_message(number))
            heard += friend.take(0.02)
            for reader, (what, _) in zip(opened, _strangers(site), strict=True):
                assert reader.take(0.01) == [], what
        heard += read_until(friend, lambda found: 40 in numbers(heard + found))
        assert numbers(heard) == sent
        for what, keys in _strangers(site):
            with asking(site.replay, keys, RCVTIMEO=700) as dealer:
                dealer.send(b'{"ranges": true}')
                with pytest.raises(zmq.Again):
                    pytest.fail(f"{what} was answered: {dealer.recv_multipart()}")
        with asking(site.replay, site.keys) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]


def test_who_is_refused_is_in_the_log_and_no_secret_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """With the public key, so that it can be added; once a minute, however often they come."""
    stranger = make_pair()
    with site.open() as sink:
        for _ in range(3):
            with site.read(keys=ReaderKeys(site.public, stranger[1])) as reader:
                idle(sink, lambda reader=reader: bool(reader.take(0.05)) or "refused" in caplog.text)  # type: ignore[misc]
    assert len(re.findall("refused a client", caplog.text)) == 1
    assert stranger[0] in caplog.text
    assert site.secret not in caplog.text
    assert stranger[1] not in caplog.text
    assert stranger[1] not in repr(ReaderKeys(site.public, stranger[1]))


def test_a_file_of_clients_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is added may connect at once; a file that is broken leaves those that were read."""
    first, second = make_pair(), make_pair()
    clients = tmp_path / "clients"
    clients.write_text(f"# the presses\n\n{first[0]} press 7\n")
    secret = tmp_path / "of the site"
    site = Site(tmp_path, curve={"secret_key": {"file": secret}, "clients_file": clients})
    secret.write_text(site.secret)
    with site.open():
        with asking(site.replay, ReaderKeys(site.public, second[1]), RCVTIMEO=500) as dealer:
            dealer.send(b'{"ranges": true}')
            with pytest.raises(zmq.Again):
                dealer.recv_multipart()
        clients.write_text(f"{first[0]} press 7\n{second[0]} press 8\n")
        with asking(site.replay, ReaderKeys(site.public, second[1])) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]
        clients.write_text("no key\n")
        with asking(site.replay, ReaderKeys(site.public, first[1])) as dealer:
            assert ask(dealer, {"ranges": True})[1]["done"]
    assert "clients:1: a key has 40 characters, not 2; the keys read before go on" in caplog.text


@pytest.mark.parametrize("content", [None, "", "short\n", "~" * 40])
def test_a_key_that_cannot_be_read_is_a_sink_error_without_it(content: str | None, site: Site) -> None:
    """The reference or the file is named, and nothing of what is in it."""
    site.file.unlink() if content is None else site.file.write_text(content)
    with pytest.raises(SinkError, match=r"curve: .*(cannot be read|a key has|character 1 is)") as caught, site.open():
        pytest.fail("it was opened")
    assert not content or content.strip() not in str(caught.value)


def test_a_heartbeat_tells_the_last_number_of_everything(tmp_path: Path) -> None:
    """As the schema says; of this boot only, with what was dropped before the sink saw it, and once more at the end."""
    site = Site(tmp_path, curve=False, replay=False)
    validator = jsonschema.Draft202012Validator(message_schema())
    beats: list[Any] = []
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.set(zmq.LINGER, 0)
        subscriber.subscribe(b"edge-vision/v1/test/heartbeat")
        subscriber.connect(site.address)

        def heard() -> int:
            while subscriber.poll(20):
                beats.append(json.loads(subscriber.recv_multipart()[1]))
            return len(beats)

        with site.open() as sink:
            idle(sink, lambda: heard() > 0)
            assert beats[-1]["last"] == []
            sink.send([make_message(1), make_message(2), make_message(7, boot="00000a"), make_message(1, source="")])
            site.dropped = {("cam", "count"): 1, ("cam", "reading"): 4}
            before = len(beats)
            idle(sink, lambda: heard() > before)
            sink.send([make_message(3)])
            before = len(beats)
        wait_until(lambda: heard() > before, 10, "the last one")
    told = [{(last["source"], last["kind"]): last["seq"] for last in beat["last"]} for beat in beats]
    assert told[-2] == {("", "count"): 1, ("cam", "count"): 2, ("cam", "reading"): 4}
    assert told[-1] == {**told[-2], ("cam", "count"): 3}
    assert {beat["boot"] for beat in beats} == {BOOT}
    assert all(validator.is_valid(beat) for beat in beats)


def test_a_busy_sink_sends_heartbeats_too(tmp_path: Path) -> None:
    """Without ever being called with nothing."""
    site = Site(tmp_path, curve=False, replay=False)
    with site.open() as sink, zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.set(zmq.LINGER, 0)
        subscriber.subscribe(b"edge-vision/v1/test/heartbeat")
        subscriber.connect(site.address)
        count = iter(range(1, 1_000_000))

        def turn() -> bool:
            sink.send([make_message(next(count))])
            return bool(subscriber.poll(5))

        wait_until(turn, 10, "a heartbeat")


def test_a_reader_fills_gaps_and_notices_the_loss_of_the_very_last(site: Site) -> None:
    """In the middle, at the end before silence, and of a kind it never heard of: in order, each once."""
    with site.open() as sink, site.read() as reader:
        _join(site, sink, reader)
        read_until(reader, lambda _: bool(reader._order._settled), lambda: sink.send([]))  # it knows what is old
        found = []
        for number in range(1, 31):
            site.publish(sink, make_message(number), lost=number in {4, 5, 17, 29, 30})
            found += reader.take(0.0)
        site.publish(sink, make_message(1, kind="reading"), lost=True)
        site.dropped = {("cam", "count"): 30, ("cam", "reading"): 1}  # as an outlet says of a full queue
        found += read_until(reader, lambda more: bool(numbers(more, "reading")) and 30 in numbers(found + more),
                            lambda: sink.send([]))  # fmt: skip
        assert numbers(found) == list(range(1, 31))
        assert numbers(found, "reading") == [1]
        assert reader.missed == 0


def test_what_is_not_kept_is_missed_and_what_follows_goes_on(site: Site) -> None:
    """A gap that the replay socket cannot fill is told with its numbers; detections are not even asked for."""
    with site.open() as sink, site.read() as reader:
        _join(site, sink, reader)
        for number in (1, 2, 5, 6):
            sink.send([make_message(number), make_message(number, kind="detections")])
        site.history.messages.append(make_message(4))
        found = read_until(reader, lambda found: 6 in numbers(found) and 6 in numbers(found, "detections"))
        losses = [one for one in found if isinstance(one, Missed)]
        assert Missed(BOOT, "cam", "detections", 3, 4) in losses
        assert Missed(BOOT, "cam", "count", 3, 3) in losses
        assert numbers(found)[-3:] == [4, 5, 6]
        assert reader.missed == 3


def test_without_a_replay_socket_a_gap_is_missed_at_once(tmp_path: Path) -> None:
    """In its place, before what follows."""
    site = Site(tmp_path, curve=False, replay=False)
    with site.open() as sink, site.read() as reader:
        _join(site, sink, reader)
        sink.send([make_message(1), make_message(4)])
        found = read_until(reader, lambda found: 4 in numbers(found))
        places = {one.seq if isinstance(one, Message) else (one.first, one.last): place
                  for place, one in enumerate(found) if one.kind == "count"}  # fmt: skip
        assert list(places) == [1, (2, 3), 4]


@pytest.mark.parametrize("away_s", [3.0, pytest.param(60.0, marks=[pytest.mark.full, pytest.mark.timeout(200)])])
def test_a_subscriber_that_was_away_gets_everything(away_s: float, site: Site) -> None:
    """Its cable is cut while 100 messages a second go out; it is the same reader afterwards, and misses none."""
    cable, wires = Cable(site.address), Cable(site.replay)
    try:
        with site.open() as sink, _through(site, cable, wires) as reader:
            number = 0
            found = _join(site, sink, reader)

            def send(seconds: float) -> None:
                nonlocal number
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    number += 1
                    site.publish(sink, make_message(number), make_message(number, source="other"))
                    found.extend(reader.take(0.008))

            send(1.0)
            assert numbers(found)
            cable.cut()
            wires.cut()
            send(away_s)
            before = len(numbers(found))
            cable.mend()
            wires.mend()
            send(1.0)
            sink.send([])
            found += read_until(
                reader, lambda more: numbers(found + more).count(number) == 2, lambda: sink.send([]), timeout_s=60
            )
        for source in ("cam", "other"):
            told = [one.seq for one in found if isinstance(one, Message) and one.source == source]
            assert told == list(range(told[0], number + 1)), source
            assert told[0] < 100
        assert reader.missed == 0
        print(f"away for {away_s:g} s: {2 * number} messages, {2 * number - before} after its return, 0 missed")
    finally:
        cable.close()
        wires.close()


def _through(site: Site, cable: Cable, wires: Cable) -> Any:
    from edge_vision.publish.zeromq.reader import open_reader
    from edge_vision.runtime.clock import SystemClock

    return open_reader(cable.address, SystemClock(), replay=wires.address, keys=site.keys)


def test_boots_that_came_and_went_unheard_are_served(tmp_path: Path) -> None:
    """A reader of one run gets the rest of it, all of a run it never heard, and the next run from its first message."""
    site = Site(tmp_path)
    with site.read() as reader:
        with site.open() as sink:
            found = _join(site, sink, reader)
            site.publish(sink, make_message(1), make_message(2))
            found += read_until(reader, lambda found: 2 in numbers(found))
        # killed: what it had published last was not heard, nor anything of the run after it
        site.history.messages += [make_message(number) for number in (3, 4)]
        site.history.messages += [make_message(number, boot="00000c") for number in range(1, 6)]
        site.opening = replace(site.opening, will=replace(site.opening.will, boot="00000d"))
        with site.open() as sink:
            new = [make_message(number, boot="00000d") for number in (1, 2, 3)]
            site.publish(sink, *new, lost=True)
            wait_s = time.monotonic() + 15
            count = 3
            while 3 not in numbers(found, boot="00000d") or 5 not in numbers(found, boot="00000c"):
                assert time.monotonic() < wait_s, found
                count += 1
                site.publish(sink, make_message(count, boot="00000d"))
                found += reader.take(0.05)
    assert numbers(found) == [1, 2, 3, 4]
    assert numbers(found, boot="00000c") == [1, 2, 3, 4, 5]
    assert numbers(found, boot="00000d")[:3] == [1, 2, 3]
    assert not [one for one in found if isinstance(one, Missed)]


def test_a_new_reader_goes_on_where_another_was(site: Site) -> None:
    """With its positions: what came in between, nothing twice; without, it begins with now, or with what is kept."""
    with site.open() as sink:
        with site.read() as reader:
            _join(site, sink, reader)
            site.publish(sink, make_message(1), make_message(2))
            read_until(reader, lambda found: 2 in numbers(found))
            known = reader.positions
        site.publish(sink, make_message(3), make_message(4), make_message(1, kind="reading"))
        for settings, counts, readings in (
            ({"known": known}, [3, 4, 5], [1]), ({"kept": True}, [1, 2, 3, 4, 5], [1]), ({}, [5], []),
        ):  # fmt: skip
            with site.read(**settings) as reader:
                if settings:
                    found = read_until(reader, lambda found: 4 in numbers(found))
                else:
                    found = read_until(reader, lambda _: bool(reader._order._settled), lambda: sink.send([]))
                site.publish(sink, make_message(5))
                wanted = len(counts) + len(readings)
                while len(numbers(found) + numbers(found, "reading")) < wanted:
                    found += read_until(reader, bool, lambda: sink.send([]))
            assert numbers(found) == counts, settings
            assert numbers(found, "reading") == readings, settings
            site.history.messages = [one for one in site.history.messages if one.seq != 5]  # for the next one


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
        wait_until(lambda: any(one.piece for one in replay._clients.values()), 10, "it is being served")
        for _ in range(3):
            with asking(site.replay, site.keys) as dealer:
                frames, end = ask(dealer, {"boot": BOOT, "source": "cam", "kind": "count", "from": 290})
                assert (len(frames), end["missing"]) == (22, 0)
        wait_until(lambda: not replay._clients, 15, "its requests are dropped")
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
            wait_until(lambda: "2 clients are being served" in ask(third, {"ranges": True})[1].get("error", ""), 10, "")
        ends: list[Any] = []
        while len(ends) < 20:
            piece = one.recv_multipart()
            ends += [json.loads(piece[-1])] if len(piece) % 2 else []
        refused = [end["id"] for end in ends if "16 requests wait" in end.get("error", "")]
        assert refused
        assert "0" not in refused


def test_a_thread_of_the_sink_that_ended_is_a_sink_error(site: Site) -> None:
    """So that the outlet opens it all anew."""
    with site.open() as sink:
        sink.send([make_message(1)])
        sink._services[0].worker.stop()  # type: ignore[attr-defined]
        sink._services[0].worker.join(5)  # type: ignore[attr-defined]
        with pytest.raises(SinkError, match=r"gate tcp://127.0.0.1:\d+: ended"):
            sink.send([make_message(2)])
    with site.open() as sink:
        sink.send([make_message(2)])


def test_without_its_gate_nobody_is_let_in(site: Site) -> None:
    """Those with a listed key neither: libzmq alone would take everybody while nobody answers it."""
    with site.open() as sink:
        gate = sink._services[0]  # type: ignore[attr-defined]
        gate.worker.stop()
        gate.worker.join(5)
        for keys in (site.keys, ReaderKeys(site.public, make_pair()[1])):
            with asking(site.replay, keys, RCVTIMEO=500) as dealer:
                dealer.send(b'{"ranges": true}')
                with pytest.raises(zmq.Again):
                    pytest.fail(f"answered: {dealer.recv_multipart()}")


def test_a_replay_address_in_use_is_a_sink_error(site: Site) -> None:
    """With the address, and nothing is left open: the PUB address is free again."""
    with (
        socket.create_server(("127.0.0.1", int(site.replay.rpartition(":")[2]))),
        pytest.raises(SinkError, match=f"{site.replay}: Address already in use"),
        site.open(),
    ):
        pytest.fail("it was opened")
    wait_until(lambda: _opens(site), 5, "it opens when the address is free")
    site.opening = replace(site.opening, history=None)
    with pytest.raises(SinkError, match="nothing keeps messages"), site.open():
        pytest.fail("it was opened")


def _opens(site: Site) -> bool:
    try:
        with site.open():
            return True
    except SinkError:
        return False


def test_a_unix_socket_is_for_owner_and_group_and_replaces_one_left_behind(tmp_path: Path) -> None:
    """Whatever the umask; a file that is no socket, or a socket that is served, is left alone."""
    path = tmp_path / "out.sock"
    address = f"ipc://{path}"
    site = Site(tmp_path, curve=False, replay=False, bind=address)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    mask = os.umask(0o027)
    try:
        with site.open() as sink:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            site.address = address
            with site.read() as reader:
                _join(site, sink, reader)
            with pytest.raises(SinkError, match=f"{address}: Address already in use"), site.open():
                pytest.fail("it was taken from the other")
            assert path.is_socket()
    finally:
        os.umask(mask)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(SinkError, match="a file is there that is no socket"), site.open():
        pytest.fail("it was opened")
    assert path.read_text() == "precious"


def test_tail_fills_gaps_and_says_what_is_missed(site: Site, edge_vision: Start, tmp_path: Path) -> None:
    """With keys, the replay socket, and all that is kept: a line per message, losses on standard error."""
    (tmp_path / "client").write_text(site.client[1])
    keys = [f"--server-key={site.public}", "--key", tmp_path / "client"]
    site.history.messages = [make_message(number, boot="00000a") for number in (1, 2, 4)]
    with site.open() as sink:
        tail = edge_vision("tail", site.address, *keys, "--replay", site.replay, "--kept", "--count", "5")
        count = iter(range(1, 100_000))

        def ended() -> bool:
            number = next(count)
            site.publish(sink, make_message(number), lost=number == 2)
            return tail.poll() is not None

        wait_until(ended, 30, "tail has its lines")
    output, errors = tail.communicate(timeout=10)
    assert tail.returncode == 0, errors
    told = [(one["boot"], one["seq"]) for one in map(json.loads, output.splitlines())]
    for boot, numbers_ in (("00000a", [1, 2, 4]), (BOOT, [1, 2, 3, 4, 5])):
        heard = [seq for name, seq in told if name == boot]
        assert heard == numbers_[: len(heard)]
    assert len(told) == 5
    assert site.client[1] not in errors


def test_threads_end_with_the_sink(site: Site) -> None:
    """The gate and the replay socket, also when nothing was ever asked; ports are free again."""
    before = threading.active_count()
    with site.open():
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
    assert find_free_port()
