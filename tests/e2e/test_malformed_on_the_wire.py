"""Thousands of malformed commands over real sockets: nothing changes, and what is valid between them is done."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from commanding import ROOT, MqttAsker
from commanding_site import Running, camera_of, running_site
from conftest import Start
from malformed_commands import Malformed, malformed
from servers import Broker


@pytest.fixture(name="site")
def _site(edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path) -> Iterator[Running]:
    with running_site(edge_vision, write_site, broker, tmp_path) as site:
        yield site


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_malformed_commands_over_mqtt_change_nothing(count: int, site: Running) -> None:
    """None is carried out, the process lives; every valid one between them is carried out and answered once."""
    before = camera_of(site.status)
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
    before = camera_of(site.status)
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
    now = camera_of(site.status)
    assert {**now, "frames": 0, "latency_ms": 0} == {**before, "frames": 0, "latency_ms": 0}
    assert now["state"] == "online"
