"""A running site that is commanded over MQTT and ZeroMQ: what it does, what it answers, what it does not let happen."""

import base64
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import zmq
from commanding import ALL, ROOT, MqttAsker, ZeromqAsker, mqtt_asker, wait_for_site
from conftest import Start, find_free_port, wait_until
from demo_site import STATUS, TOPIC, camera
from listeners import Heard, mqtt_listener
from malformed_commands import Malformed, malformed
from paho.mqtt.enums import MQTTProtocolVersion
from servers import Broker


class Running(NamedTuple):
    """A site that runs, and those who talk to it."""

    process: "subprocess.Popen[str]"
    mqtt: MqttAsker
    zeromq: ZeromqAsker
    heard: Heard
    file: Path
    write: Callable[..., Path]

    @property
    def status(self) -> dict[str, Any]:
        """What it last told of itself."""
        return dict(self.heard.on(STATUS)[-1])

    def wait_for(self, true: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = 15) -> dict[str, Any]:
        """Wait for a status; the status."""
        wait_until(lambda: true(self.status), timeout_s, what)
        return next(one for one in reversed(self.heard.on(STATUS)) if true(one))


def _camera(status: dict[str, Any]) -> dict[str, Any]:
    return dict(status["cameras"][0]) if status.get("cameras") else {}


@pytest.fixture(name="site")
def _site(edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path) -> Iterator[Running]:
    """A rendered line whose site takes every command from a broker and on a socket."""
    address = f"ipc://{tmp_path}/commands"

    def write(**more: Any) -> Path:
        cameras = more.pop("cameras", [camera()])
        publish = [
            {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "commands": {"allow": ALL}},
            {"kind": "zeromq", "bind": f"ipc://{tmp_path}/out", "commands": {"allow": ALL, "bind": address}},
        ]
        return write_site(cameras=cameras, publish=publish, **more)

    file = write()
    process = edge_vision("run", file)
    with mqtt_listener(broker.port) as heard, mqtt_asker(broker.port) as asker:
        wait_for_site(asker, process)
        running = Running(process, asker, ZeromqAsker(address), heard, file, write)
        running.wait_for(lambda one: _camera(one).get("state") == "online", "the camera is online")
        yield running


def test_a_camera_is_disabled_and_enabled(site: Running) -> None:
    """No detections while it is disabled, the status at once, and tracks of frames that go on where they are."""
    assert site.mqtt.ask("line/set/enabled", {"value": False})["ok"] is True
    status = site.wait_for(lambda one: _camera(one).get("state") == "disabled", "the status says disabled")
    assert status["state"] == "online"
    assert _camera(status)["overrides"] == {"enabled": False}
    count = site.heard.count(TOPIC)
    assert site.zeromq.ask("line/set/snapshot")["reason"].startswith("line is disabled")
    values = iter(range(1, 1000))

    def skipped() -> int:
        """Each change is told at once, with the counts of that moment."""
        site.mqtt.ask("line/set/confidence", {"value": next(values) / 1000})
        return int(_camera(site.status)["frames"].get("skipped", 0))

    wait_until(lambda: skipped() > 25, 20, "its frames come and are skipped")
    assert site.heard.count(TOPIC) <= count + 1
    site.mqtt.ask("line/set/confidence", {"value": None})
    assert site.zeromq.ask("line/set/enabled", {"value": True})["ok"] is True
    status = site.wait_for(lambda one: _camera(one).get("state") == "online", "the status says online")
    assert "overrides" not in _camera(status)
    site.heard.wait_for(TOPIC, count + 5)
    frames = site.heard.on(TOPIC)
    assert [one["seq"] for one in frames] == list(range(frames[0]["seq"], frames[-1]["seq"] + 1))


def _scores(site: Running, frames: int = 30) -> list[float]:
    before = site.heard.count(TOPIC)
    site.heard.wait_for(TOPIC, before + frames + 2)
    messages = site.heard.on(TOPIC)[before + 2 :]
    return [thing["confidence"] for message in messages for thing in message["objects"]]


def test_a_confidence_holds_from_the_next_frame_on(site: Running) -> None:
    """Higher than what is seen: nothing; back to the site file's: all of it again."""
    usual = _scores(site)
    assert usual
    middle = float(np.median(usual))
    answer = site.mqtt.ask("line/set/confidence", {"value": middle})
    assert (answer["ok"], answer["value"]) == (True, middle)
    assert min(_scores(site)) >= middle - 0.001
    low = site.zeromq.ask("line/set/confidence", {"value": 0.01})
    assert low["ok"] is True
    assert min(_scores(site)) < min(usual)  # lower than the model's own threshold lets through
    status = site.wait_for(lambda one: _camera(one).get("overrides") == {"confidence": 0.01}, "the status says so")
    assert status["state"] == "online"
    assert site.mqtt.ask("line/set/confidence", {"value": None})["ok"] is True
    assert min(_scores(site)) >= 0.3
    site.wait_for(lambda one: "overrides" not in _camera(one), "nothing is changed any more")


def test_a_snapshot_shows_the_line(site: Running) -> None:
    """Over both ways: a JPEG of the frame that is named."""
    for ask in (site.mqtt.ask, site.zeromq.ask):
        answer = ask("line/set/snapshot", {"width_px": 320})
        assert answer["ok"] is True, answer
        image = cv2.imdecode(np.frombuffer(base64.b64decode(answer["data"]), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (180, 320, 3)
        assert answer["frame"]["width"] == 320
        assert image.std() > 5


def test_a_reload_starts_the_file_as_it_is_now(site: Running) -> None:
    """Answered, told as offline with the reason, and then a new boot with the new pipeline; overrides are gone."""
    first = site.mqtt.ask("set/ping")
    site.mqtt.ask("line/set/confidence", {"value": 0.9})
    site.write(cameras=[{**camera(), "id": "other"}])
    answer = site.mqtt.ask("set/reload")
    assert (answer["ok"], answer["boot"]) == (True, first["boot"])
    status = site.wait_for(
        lambda one: one["boot"] != first["boot"] and _camera(one).get("state") == "online", "the new site is online", 30
    )
    assert _camera(status)["id"] == "other"
    assert "overrides" not in _camera(status)
    said = [one for one in site.heard.on(STATUS) if one["boot"] == first["boot"]]
    assert (said[-1]["state"], said[-1]["reason"]) == ("offline", "reload")
    wait_for_site(site.mqtt, site.process)
    assert site.mqtt.ask("other/set/enabled", {"value": True})["ok"] is True
    assert site.zeromq.ask("set/ping")["boot"] == status["boot"]
    site.process.send_signal(signal.SIGTERM)
    _, errors = site.process.communicate(timeout=20)
    assert site.process.returncode == 0, errors


def test_an_invalid_file_leaves_the_site_as_it_is(site: Running) -> None:
    """The answer has every mistake with line and column; SIGHUP logs them; overrides stay."""
    first = site.mqtt.ask("set/ping")
    site.mqtt.ask("line/set/confidence", {"value": 0.9})
    site.file.write_text(site.file.read_text().replace("version: 1", "version: 1\nnonsense: 2"))
    answer = site.zeromq.ask("set/reload")
    assert answer["ok"] is False
    assert answer["reason"] == "the site file has a mistake: nothing has changed"
    assert answer["problems"][0].startswith(f"{site.file}:2:1: nonsense: unknown key")
    site.process.send_signal(signal.SIGHUP)
    assert site.process.stderr is not None
    errors = site.process.stderr
    wait_until(lambda: "reload refused, the site goes on as it is:" in errors.readline(), 10, "the log says so")
    again = site.mqtt.ask("set/ping")
    assert again["boot"] == first["boot"]
    assert again["state"] == "online"
    assert _camera(site.status)["overrides"] == {"confidence": 0.9}


def test_sighup_reloads(site: Running) -> None:
    """As systemctl reload sends it."""
    first = site.mqtt.ask("set/ping")
    site.process.send_signal(signal.SIGHUP)
    site.wait_for(lambda one: one["boot"] != first["boot"] and one["state"] == "online", "a new boot", 30)
    assert site.process.poll() is None


def test_systemd_hears_of_a_reload(edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path) -> None:
    """RELOADING=1, then READY=1 from the same process, fed all the while; not STOPPING=1 until the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        site = write_site(cameras=[camera()], publish=[])
        process = edge_vision("run", site, env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")})

        def hear_until(start: str) -> list[str]:
            heard = [systemd.recv(4096).decode()]
            while not heard[-1].startswith(start):
                heard.append(systemd.recv(4096).decode())
            return heard

        hear_until("READY=1")
        process.send_signal(signal.SIGHUP)
        assert not any(word.startswith("STOPPING") for word in hear_until("RELOADING=1\nMONOTONIC_USEC="))
        again = hear_until("READY=1")
        assert "WATCHDOG=1\nSTATUS=loading models" in again
        assert not any(word.startswith("STOPPING") for word in again)
        process.send_signal(signal.SIGTERM)
        hear_until("STOPPING=1")
        assert process.wait(15) == 0


def test_a_site_that_cannot_start_gives_way_to_the_one_before(site: Running, tmp_path: Path) -> None:
    """The file is right and the model is not: the line goes on being watched."""
    bundle = tmp_path / "garbage"
    bundle.mkdir()
    model = "version: 1\nname: garbage\ntask: detection\nfiles: [{path: m.onnx, format: onnx}]\n"
    (bundle / "model.yaml").write_text(f"{model}input: {{size: [64, 64]}}\noutput: {{format: yolov8}}\nlabels: [a]\n")
    (bundle / "m.onnx").write_bytes(b"not a network" * 100)
    bad = camera()
    bad["with"] = {"model": str(bundle)}
    site.write(cameras=[{**bad, "id": "bad"}])
    first = site.mqtt.ask("set/ping")
    assert site.mqtt.ask("set/reload")["ok"] is True
    status = site.wait_for(
        lambda one: one["boot"] != first["boot"] and _camera(one).get("state") == "online", "the one before goes on", 40
    )
    assert _camera(status)["id"] == "line"
    reasons = [one.get("reason", "") for one in site.heard.on(STATUS)]
    assert any("no runtime can serve it" in reason for reason in reasons)


def test_a_retained_command_does_not_strike_again(
    edge_vision: Start, write_site: Callable[..., Path], broker: Broker
) -> None:
    """One that was left at the broker is ignored, counted and said once, with every protocol."""
    publish = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "commands": {"allow": ALL}}]
    with mqtt_asker(broker.port) as asker, mqtt_listener(broker.port, STATUS) as heard:
        asker.send("line/set/enabled", {"value": False}, retain=True)
        asker.send("set/reload", {}, retain=True)
        process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
        wait_for_site(asker, process)
        wait_until(lambda: heard.on(STATUS)[-1].get("commands", [{}])[0].get("ignored") == 2, 15, "both are counted")
        assert _camera(heard.on(STATUS)[-1])["state"] == "online"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert errors.count("is ignored: it was retained") == 1
        assert [one for one in asker.heard if one.answer["command"] != "ping"] == []


def test_where_an_answer_goes(site: Running) -> None:
    """To the response topic, or beside the camera; never into the topics of commands and messages."""
    site.mqtt.send("line/set/enabled", {"value": True, "id": "plain"})
    heard = site.mqtt.wait(lambda one: one.answer.get("id") == "plain")
    assert heard.topic == f"{ROOT}/line/answer/enabled"
    site.mqtt.send("line/set/enabled", {"value": True, "id": "asked"}, response="asker/x", correlation=b"\0\xff")
    heard = site.mqtt.wait(lambda one: one.answer.get("id") == "asked")
    assert (heard.topic, heard.correlation) == ("asker/x", b"\0\xff")
    site.mqtt.send(
        "line/set/enabled", {"value": False, "id": "loop"}, response=f"{ROOT}/line/set/enabled", correlation=b"c"
    )
    heard = site.mqtt.wait(lambda one: one.answer.get("id") == "loop")
    assert (heard.topic, heard.correlation) == (f"{ROOT}/line/answer/enabled", b"c")
    assert "one of edge-vision's own" in heard.answer["reason"]
    site.mqtt.send("nobody/set/enabled", {"value": False, "id": "who"})
    heard = site.mqtt.wait(lambda one: one.answer.get("id") == "who")
    assert heard.topic == f"{ROOT}/answer/enabled"
    assert site.zeromq.ask_frames([f"{ROOT}/line/set/enabled".encode(), b""])[0] == f"{ROOT}/line/answer/enabled"
    topic, answer = site.zeromq.ask_frames([b"\xff", b"{}"])
    assert topic == f"{ROOT}/answer/unknown"
    assert "the topic is not edge-vision/v1/test/[CAMERA/]set/COMMAND" in answer["reason"]
    assert "3 frames" in site.zeromq.ask_frames([b"a", b"b", b"c"])[1]["reason"]
    assert _camera(site.status)["state"] == "online"


@pytest.mark.usefixtures("site")
def test_mqtt_3_1_1_may_ask_too(broker: Broker) -> None:
    """Its answers come beside the camera, known by the id."""
    with mqtt_asker(broker.port, MQTTProtocolVersion.MQTTv311) as asker:
        assert asker.ask("set/ping")["state"] == "online"
        assert asker.ask("line/set/enabled", {"value": 7})["ok"] is False


def test_without_the_section_nothing_is_taken(
    edge_vision: Start, write_site: Callable[..., Path], broker: Broker
) -> None:
    """No subscription, no answer, no effect; with a list only what is on it."""
    publish: list[dict[str, Any]] = [{"kind": "mqtt", "host": "127.0.0.1", "port": broker.port}]
    with mqtt_asker(broker.port) as asker, mqtt_listener(broker.port) as heard:
        process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
        heard.wait_for(TOPIC, 5, 40)
        asker.send("line/set/enabled", {"value": False})
        asker.send("set/ping")
        heard.wait_for(TOPIC, heard.count(TOPIC) + 30)
        assert asker.heard == []
        assert "commands" not in heard.on(STATUS)[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        publish[0]["commands"] = {"allow": ["ping"]}
        process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
        wait_for_site(asker, process)
        assert asker.ask("line/set/enabled", {"value": False})["reason"] == "enabled is not allowed here: ping are"


@pytest.mark.full
def test_a_broker_that_comes_back_finds_the_commands_taken_again(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """Absent at the start, then there, then away, then there again; the status counts what came."""
    broker = Broker(find_free_port(), tmp_path)
    publish = [
        {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "commands": {"allow": ["ping"]}},
        {"kind": "jsonl", "path": str(tmp_path / "out.jsonl")},
    ]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    try:
        wait_until((tmp_path / "out.jsonl").exists, 30, "it runs without a broker")
        for _ in range(2):
            broker.start()
            with mqtt_asker(broker.port) as asker:
                wait_for_site(asker, process)
                assert asker.ask("set/ping")["ok"] is True
            broker.kill()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        broker.kill()


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_malformed_commands_over_mqtt_change_nothing(count: int, site: Running) -> None:
    """None is carried out, the process lives; every valid one between them is carried out and answered once."""
    before = _camera(site.status)
    valid = 0
    for number, one in enumerate(malformed(count, 20)):
        _send(site.mqtt, one)
        if number % 10 == 0:
            mark = f"valid-{number}".encode()
            site.mqtt.send(
                "line/set/enabled", {"value": True, "id": mark.decode()}, response="asker/v", correlation=mark
            )
            valid += 1
    site.mqtt.send("set/ping", response="asker/end", correlation=b"the-end")
    site.mqtt.wait(lambda one: one.correlation == b"the-end", 30 + count / 100)
    told = [one for one in site.mqtt.heard if one.topic == "asker/v"]
    assert len(told) == valid
    assert len({one.correlation for one in told}) == valid
    assert [one.answer for one in told if not one.answer["ok"]] == []
    good = {"asker/v", "asker/end", "asker/there"}
    assert [one for one in site.mqtt.heard if one.answer["ok"] and one.topic not in good] == []
    _nothing_has_changed(site, before)
    site.mqtt.ask("line/set/confidence", {"value": 0.9})  # told at once, with the counts
    refused = site.wait_for(lambda one: one["commands"][0]["received"] > count, "the counts are told")["commands"][0]
    assert refused["done"] + refused["refused"] == refused["received"]
    assert refused["unanswered"] == 0


def _send(asker: MqttAsker, one: Malformed) -> None:
    """As far as MQTT lets it out: what no client may send is left out of its properties."""
    sane = one.response is None or (one.response != "" and not any(sign in one.response for sign in "+#\0"))
    asker.send(one.topic, one.body, response=one.response if sane else None, correlation=one.correlation)


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_malformed_commands_over_zeromq_change_nothing(count: int, site: Running) -> None:
    """As many answers as commands, in their order; only those to valid ones say ok."""
    before = _camera(site.status)
    answers: list[dict[str, Any]] = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVTIMEO, 20_000)
        socket.connect(site.zeromq._address)
        sent: list[bool] = []
        for number, one in enumerate(malformed(count, 21)):
            frames = [f"{ROOT}/{one.topic}".encode(errors="surrogatepass"), one.body]
            frames = [frames, [b"\xff\xfe", one.body], [frames[0]], [*frames, b"", b"x"]][
                0 if number % 7 else number % 4
            ]
            socket.send_multipart(frames)
            sent.append(False)
            if number % 10 == 0:
                body = {"value": True, "id": f"valid-{number}"}
                socket.send_multipart([f"{ROOT}/line/set/enabled".encode(), json.dumps(body).encode()])
                sent.append(True)
            if len(sent) - len(answers) > 30:
                answers += [json.loads(socket.recv_multipart()[1]) for _ in range(len(sent) - len(answers))]
        answers += [json.loads(socket.recv_multipart()[1]) for _ in range(len(sent) - len(answers))]
        socket.set(zmq.RCVTIMEO, 300)
        with pytest.raises(zmq.Again):
            socket.recv_multipart()
    told = [answer["id"] for answer in answers if answer["ok"]]
    assert len(told) == len(set(told)) == sum(sent)
    assert all(name.startswith("valid-") for name in told)
    _nothing_has_changed(site, before)


def _nothing_has_changed(site: Running, before: dict[str, Any]) -> None:
    assert site.process.poll() is None
    assert site.mqtt.ask("set/ping")["ok"] is True
    now = _camera(site.status)
    assert {**now, "frames": 0, "latency_ms": 0} == {**before, "frames": 0, "latency_ms": 0}
    assert now["state"] == "online"


def test_evidence_is_kept_and_fetched_on_command(site: Running) -> None:
    """A snapshot that is kept, and then the file itself, in parts; not that of another camera, not any other file."""
    site.write(cameras=[camera(), {**camera(), "id": "other"}], evidence={"kinds": [], "max_mb": 10})
    first = site.mqtt.ask("set/reload")
    assert first["ok"] is True, first
    site.wait_for(lambda one: one["boot"] != first["boot"] and one["state"] == "online", "the site keeps evidence", 30)
    wait_for_site(site.mqtt, site.process)
    kept = site.mqtt.ask("line/set/snapshot", {"keep": True})
    assert kept["ok"] is True, kept
    whole, size = b"", 1
    while len(whole) < size:
        part = site.zeromq.ask("line/set/fetch", {"path": kept["path"], "offset": len(whole), "length": 20_000})
        assert part["ok"] is True, part
        whole, size = whole + base64.b64decode(part["data"]), part["size"]
    image = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (360, 640, 3)
    assert "not that of a file of other" in site.mqtt.ask("other/set/fetch", {"path": kept["path"]})["reason"]
    for path in ("x.line.jpg", kept["path"].replace(".line.", ".line.x."), kept["path"][:-1] + "x"):
        assert site.mqtt.ask("line/set/fetch", {"path": path})["ok"] is False
