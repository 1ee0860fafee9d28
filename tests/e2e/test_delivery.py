"""Messages on their way out: brokers and readers that come, go, refuse and stall."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Start, find_free_port, wait_until
from demo_site import STATUS, TOPIC, camera, read_lines
from listeners import mqtt_listener, zeromq_listener
from mqtt_proxy import recording_proxy
from servers import Broker

_DRAINING_S = 10.0
"""How long an end waits for sinks that have something to wait for."""


def test_statuses_are_numbered_without_a_gap(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int, broker: Broker
) -> None:
    """From starting to offline, on ZeroMQ and on MQTT alike; the last has the final counts."""
    address = f"tcp://127.0.0.1:{free_port}"
    source = {"kind": "synthetic", "frames": 50, "realtime": False}
    publish = [{"kind": "zeromq", "bind": address}, {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port}]
    with zeromq_listener(address) as heard, mqtt_listener(broker.port) as told:
        process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
        assert process.wait(60) == 0
        wait_until(lambda: all(one.last(STATUS).get("state") == "offline" for one in (heard, told)), 60, "offline")
    for statuses in (heard.on(STATUS), told.on(STATUS)):
        numbers = [status["seq"] for status in statuses]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert statuses[-1]["cameras"][0]["frames"]["analyzed"] == 50
    assert told.on(STATUS)[0]["state"] == "starting"
    assert told.on(STATUS)[0]["seq"] == 1


def test_a_broker_that_is_down_at_start_and_goes_away_never_slows_analysis(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """No broker, then a broker, then none, then one again: no frame is left out for it, and every message arrives.

    The daemon comes by a proxy, which is there when the listener is: what it says first has somebody to hear it.
    """
    lines, broker = tmp_path / "out.jsonl", Broker(find_free_port(), tmp_path)
    publish = [{"kind": "jsonl", "path": str(lines)}, {"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    process = edge_vision("run", write_site(cameras=[camera(kind="synthetic", fps=10)], publish=publish))

    def analyzed(more: int) -> None:
        enough = len(read_lines(lines)) + more
        wait_until(lambda: len(read_lines(lines)) >= enough, 60, "frames come without a broker")

    try:
        analyzed(20)
        broker.start()
        with mqtt_listener(broker.port) as told:
            with recording_proxy(free_port, broker.port):
                told.wait_for(TOPIC, 30)
            broker.kill()
        analyzed(20)
        broker.start()
        with mqtt_listener(broker.port) as again, recording_proxy(free_port, broker.port):
            again.wait_for(TOPIC, 30)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
            wait_until(lambda: again.last(STATUS).get("state") == "offline", 60, "goodbye")
            heard = {message["seq"] for message in told.on(TOPIC) + again.on(TOPIC)}
    finally:
        broker.kill()
    assert process.returncode == 0, errors
    messages = read_lines(lines)
    frames = [message["frame"]["index"] for message in messages]
    assert len(frames) >= 0.9 * (frames[-1] + 1), "frames were dropped while the broker was away"
    assert {message["seq"] for message in messages} <= heard


def test_undelivered_messages_end_in_70_with_their_count(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """A broker that never comes: it is waited for, ten seconds, then exit 70 and the number that was lost."""
    source = {"kind": "synthetic", "frames": 30, "realtime": False}
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    started = time.monotonic()
    process = edge_vision("run", write_site(cameras=[camera(**source)], publish=publish))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 70
    assert time.monotonic() - started >= 9.0
    count = int(errors.rpartition(" messages undelivered")[0].rpartition(" ")[2])
    assert count >= 30


def test_last_will_and_retained_status(edge_vision: Start, write_site: Callable[..., Path], broker: Broker) -> None:
    """A late subscriber learns the state from the retained status; kill -9 makes the broker say offline."""
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "keepalive_s": 5}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    with mqtt_listener(broker.port) as early:
        wait_until(lambda: early.last(STATUS).get("state") == "online", 60, "it is online")
    with mqtt_listener(broker.port, STATUS) as late:
        late.wait_for(STATUS, 1)
        status = late.on(STATUS)[0]
        assert status["state"] == "online"
        assert status["models"][0]["backend"] == "onnxruntime"
        assert status["cameras"][0]["id"] == "line"
        process.kill()
        wait_until(lambda: late.last(STATUS)["state"] == "offline", 60, "the last will")
        assert late.last(STATUS)["reason"] == "connection lost"
        assert late.last(STATUS)["boot"] == status["boot"]


def test_drops_are_counted_and_equal_the_gaps(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """A queue that is too small for an absent broker: what its subscriber misses is what the status counts."""
    broker = Broker(find_free_port(), tmp_path)
    lines = tmp_path / "out.jsonl"
    publish = [
        {"kind": "mqtt", "host": "127.0.0.1", "port": free_port, "queue_mb": 0.05},
        {"kind": "jsonl", "path": str(lines)},
    ]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    try:
        wait_until(lambda: len(read_lines(lines)) > 150, 60, "frames pile up")
        broker.start()
        with mqtt_listener(broker.port) as told, recording_proxy(free_port, broker.port):  # who listens is there first
            told.wait_for(TOPIC, 50)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            wait_until(lambda: told.last(STATUS).get("state") == "offline", 60, "goodbye")
            received = [message["seq"] for message in told.on(TOPIC)]
            statuses = [status for status in told.on(STATUS) if "publish" in status]
    finally:
        broker.kill()
    gaps = max(received) - len(set(received))
    counted = statuses[-1]["publish"][0]["dropped"].get("line/detections", 0)
    assert gaps > 0
    assert counted == gaps
    assert len(read_lines(lines)) == max(received), "the other sink lost nothing"


def test_an_address_in_use_is_reported_and_taken_when_free(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """A ZeroMQ port that somebody holds: analysis goes on, and publishing starts when the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "zeromq", "bind": address}]))
        assert process.stderr is not None
        errors = process.stderr
        wait_until(lambda: "in use" in errors.readline(), 60, "the address in use is reported")
    with zeromq_listener(address) as heard:
        heard.wait_for(TOPIC, 20)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_tail_prints_what_a_site_publishes(edge_vision: Start, write_site: Callable[..., Path], free_port: int) -> None:
    """`edge-vision tail` prints one JSON body per line and ends after the count asked for."""
    address = f"tcp://127.0.0.1:{free_port}"
    tail = edge_vision("tail", address, "--topic", TOPIC, "--count", "10")
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "zeromq", "bind": address}]))
    output, _ = tail.communicate(timeout=60)
    assert tail.returncode == 0
    assert [json.loads(line)["kind"] for line in output.splitlines()] == ["detections"] * 10
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_a_reader_that_goes_away_ends_its_sink_and_no_other(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """`run SITE | head -3`: said once; the other sink gets everything; what was not read is counted, exit 70."""
    lines = tmp_path / "out.jsonl"
    publish = [{"kind": "jsonl", "path": "-"}, {"kind": "jsonl", "path": str(lines)}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish), "--max-seconds", "3")
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith('{"schema"')
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(60) == 70
    assert errors.count("nobody reads it any more; closed for good") == 1
    assert "messages were dropped on the way out" in errors
    assert "Traceback" not in errors
    messages = read_lines(lines)
    assert len(messages) > 10
    assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))


def test_with_nobody_left_to_tell_it_ends_at_once(edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """`run SITE | head -3` with no other sink: no retries, no ten seconds of draining."""
    process = edge_vision("run", write_site(cameras=[camera()], publish=[{"kind": "jsonl", "path": "-"}]))
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"schema"')
    asked = time.monotonic()
    process.stdout.close()
    assert process.wait(60) == 70
    assert time.monotonic() - asked < _DRAINING_S


@pytest.mark.parametrize(
    "limit,denied",
    [
        ("max_packet_size 600", False),
        pytest.param("message_size_limit 600", False, marks=pytest.mark.full),
        ("", True),
    ],
    ids=["announced", "silent", "acl"],
)  # fmt: skip
def test_messages_a_broker_refuses_do_not_hold_up_the_others(
    limit: str, denied: bool, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Too large or not allowed: dropped, counted and said; those of the other camera arrive."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite edge-vision/v1/test/calm/#\ntopic readwrite edge-vision/v1/test/status\n")
    more = f"allow_anonymous true\n{limit}\n" + (f"user root\nacl_file {acl}\n" if denied else "")
    broker = Broker(free_port, tmp_path, more)
    calm = {**camera(kind="images", path="calm"), "id": "calm"}
    (tmp_path / "calm").mkdir()
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"calm/{number:02}.png"), np.zeros((64, 64, 3), np.uint8))
    busy = {**camera(kind="synthetic", frames=3, realtime=False, seed=7), "id": "busy"}
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": free_port}]
    lines = tmp_path / "out.jsonl"
    publish.append({"kind": "jsonl", "path": str(lines)})
    try:
        broker.start()
        with mqtt_listener(free_port, "edge-vision/v1/test/calm/#") as told:
            process = edge_vision("run", write_site(cameras=[busy, calm], publish=publish))
            _, errors = process.communicate(timeout=60)
            if not limit.startswith("message_size_limit"):
                told.wait_for("edge-vision/v1/test/calm/detections", 12)
                assert process.returncode == 70, "not everything was delivered"
                # On a denied message mosquitto may close the connection, too: then draining may end first.
                assert denied or "3 messages were dropped on the way out" in errors
            assert "dropped: " in errors or "undelivered" in errors
    finally:
        broker.kill()
    assert [line["kind"] for line in read_lines(lines)].count("detections") == 15


def test_an_end_does_not_wait_for_a_broker_that_is_away_when_everything_is_on_disk(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """Not ten seconds: what it owes, the last status too, is for the next run."""
    sink = {"kind": "mqtt", "host": "127.0.0.1", "port": free_port, "kinds": ["status", "gap"]}
    lines = tmp_path / "out.jsonl"
    site = write_site(cameras=[camera()], publish=[sink, {"kind": "jsonl", "path": str(lines)}])
    process = edge_vision("run", site)
    wait_until(lambda: len(read_lines(lines)) > 5, 60, "it runs")
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - asked < _DRAINING_S
    assert process.returncode == 0, errors
    assert "messages wait in the outbox for the next run" in errors
    broker = Broker(free_port, tmp_path)
    broker.start()
    try:
        with mqtt_listener(free_port, STATUS) as heard:
            process = edge_vision("run", site)
            wait_until(lambda: len({status["boot"] for status in heard.on(STATUS)}) > 1, 60, "both runs are heard")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            wait_until(lambda: heard.last(STATUS)["state"] == "offline", 60, "goodbye")
    finally:
        broker.kill()
    second = heard.last(STATUS)["boot"]
    before = [status for status in heard.on(STATUS) if status["boot"] != second]
    assert [status["seq"] for status in before] == list(range(1, len(before) + 1))
    assert before[-1]["state"] == "offline"
