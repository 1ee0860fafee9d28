"""The ZeroMQ sink with real sockets: heartbeats, and its threads and addresses."""

import json
import os
import socket
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zmq
from conftest import find_free_port, wait_until
from zeromq_site import BOOT, Site, idle, join, make_message

from edge_vision.core.errors import SinkError
from edge_vision.publish.schema import message_schema


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


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

        def told() -> dict[tuple[str, str], int]:
            heard()
            return {(last["source"], last["kind"]): last["seq"] for last in beats[-1]["last"]}

        with site.open() as sink:
            idle(sink, lambda: heard() > 0)
            assert beats[-1]["last"] == []
            sink.send([make_message(1), make_message(2), make_message(7, boot="00000a"), make_message(1, source="")])
            site.dropped = {("cam", "count"): 1, ("cam", "reading"): 4}
            expected = {("", "count"): 1, ("cam", "count"): 2, ("cam", "reading"): 4}
            idle(sink, lambda: told() == expected)
            sink.send([make_message(3)])
        wait_until(lambda: told() == {**expected, ("cam", "count"): 3}, 60, "the last one")
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

        wait_until(turn, 60, "a heartbeat")


def test_a_thread_of_the_sink_that_ended_is_a_sink_error(site: Site) -> None:
    """So that the outlet opens it all anew."""
    with site.open() as sink:
        sink.send([make_message(1)])
        sink._services[0].worker.stop()  # type: ignore[attr-defined]
        sink._services[0].worker.join(60)  # type: ignore[attr-defined]
        with pytest.raises(SinkError, match=r"gate tcp://127.0.0.1:\d+: ended"):
            sink.send([make_message(2)])
    with site.open() as sink:
        sink.send([make_message(2)])


def test_a_replay_address_in_use_is_a_sink_error(site: Site) -> None:
    """With the address, and nothing is left open: the PUB address is free again."""
    with (
        socket.create_server(("127.0.0.1", int(site.replay.rpartition(":")[2]))),
        pytest.raises(SinkError, match=f"{site.replay}: Address already in use"),
        site.open(),
    ):
        pytest.fail("it was opened")
    wait_until(lambda: _opens(site), 60, "it opens when the address is free")
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
                join(site, sink, reader)
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


def test_threads_end_with_the_sink(site: Site) -> None:
    """The gate and the replay socket, also when nothing was ever asked; ports are free again."""
    before = threading.active_count()
    with site.open():
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
    assert find_free_port()
