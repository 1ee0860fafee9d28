"""Which commands are taken from where, and where their answers go."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import ALL, ROOT, mqtt_asker, wait_for_site
from commanding_site import Running, camera_of, running_site
from conftest import Start, find_free_port, wait_until
from demo_site import STATUS, TOPIC, camera
from listeners import mqtt_listener
from paho.mqtt.enums import MQTTProtocolVersion
from servers import Broker


@pytest.fixture(name="site")
def _site(edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path) -> Iterator[Running]:
    with running_site(edge_vision, write_site, broker, tmp_path) as site:
        yield site


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
        wait_until(lambda: heard.last(STATUS).get("commands", [{}])[0].get("ignored") == 2, 60, "both are counted")
        assert camera_of(heard.last(STATUS))["state"] == "online"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
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
    assert camera_of(site.status)["state"] == "online"


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
        heard.wait_for(TOPIC, 5)
        asker.send("line/set/enabled", {"value": False})
        asker.send("set/ping")
        heard.wait_for(TOPIC, heard.count(TOPIC) + 30)
        assert asker.heard == []
        assert "commands" not in heard.last(STATUS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
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
        wait_until((tmp_path / "out.jsonl").exists, 60, "it runs without a broker")
        for _ in range(2):
            broker.start()
            with mqtt_asker(broker.port) as asker:
                wait_for_site(asker, process)
                assert asker.ask("set/ping")["ok"] is True
            broker.kill()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        broker.kill()
