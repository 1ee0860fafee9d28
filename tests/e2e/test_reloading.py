"""A running site that reads its file again: on command, on SIGHUP, and when the file or its models are wrong."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commanding import wait_for_site
from commanding_site import Running, camera_of, running_site
from conftest import Start, wait_until
from demo_site import STATUS, camera
from servers import Broker


@pytest.fixture(name="site")
def _site(edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path) -> Iterator[Running]:
    with running_site(edge_vision, write_site, broker, tmp_path) as site:
        yield site


def test_a_reload_starts_the_file_as_it_is_now(site: Running) -> None:
    """Answered, told as offline with the reason, and then a new boot with the new pipeline; overrides are gone."""
    first = site.mqtt.ask("set/ping")
    site.mqtt.ask("line/set/confidence", {"value": 0.9})
    site.write(cameras=[{**camera(), "id": "other"}])
    answer = site.mqtt.ask("set/reload")
    assert (answer["ok"], answer["boot"]) == (True, first["boot"])
    status = site.wait_for(
        lambda one: one["boot"] != first["boot"] and camera_of(one).get("state") == "online",
        "the new site is online",
    )
    assert camera_of(status)["id"] == "other"
    assert "overrides" not in camera_of(status)
    said = [one for one in site.heard.on(STATUS) if one["boot"] == first["boot"]]
    assert (said[-1]["state"], said[-1]["reason"]) == ("offline", "reload")
    wait_for_site(site.mqtt, site.process)
    assert site.mqtt.ask("other/set/enabled", {"value": True})["ok"] is True
    assert site.zeromq.ask("set/ping")["boot"] == status["boot"]
    site.process.send_signal(signal.SIGTERM)
    _, errors = site.process.communicate(timeout=60)
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
    wait_until(lambda: "reload refused, the site goes on as it is:" in errors.readline(), 60, "the log says so")
    again = site.mqtt.ask("set/ping")
    assert again["boot"] == first["boot"]
    assert again["state"] == "online"
    assert camera_of(site.status)["overrides"] == {"confidence": 0.9}


def test_sighup_reloads(site: Running) -> None:
    """As systemctl reload sends it."""
    first = site.mqtt.ask("set/ping")
    site.process.send_signal(signal.SIGHUP)
    site.wait_for(lambda one: one["boot"] != first["boot"] and one["state"] == "online", "a new boot")
    assert site.process.poll() is None


def test_systemd_hears_of_a_reload(edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path) -> None:
    """RELOADING=1, then READY=1 from the same process, fed all the while; not STOPPING=1 until the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
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
        assert process.wait(60) == 0


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
        lambda one: one["boot"] != first["boot"] and camera_of(one).get("state") == "online",
        "the one before goes on",
    )
    assert camera_of(status)["id"] == "line"
    reasons = [one.get("reason", "") for one in site.heard.on(STATUS)]
    assert any("no runtime can serve it" in reason for reason in reasons)


@pytest.mark.parametrize("moment", ["at once", "when it is said", "when the next run has begun"])
def test_the_last_word_of_a_site_that_stops_while_it_reloads_is_stop(moment: str, site: Running) -> None:
    """Whoever reads the retained status must not wait for a site that is not to come back."""
    boot = site.status["boot"]
    site.process.send_signal(signal.SIGHUP)
    if moment == "when it is said":
        wait_until(lambda: any(one.get("reason") == "reload" for one in site.heard.on(STATUS)), 60, "it reloads")
    elif moment == "when the next run has begun":
        site.wait_for(lambda one: one["boot"] != boot, "the next run says that it starts")
    site.process.send_signal(signal.SIGTERM)
    _, errors = site.process.communicate(timeout=60)
    assert site.process.returncode == 0, errors
    site.wait_for(lambda one: (one["state"], one.get("reason")) == ("offline", "stop"), "its last word")


def test_reloads_at_once_are_one_or_follow_each_other(site: Running) -> None:
    """By signal and by command: the site is there afterwards, and knows no camera that the file has no more."""
    boot = site.status["boot"]
    site.write(cameras=[{**camera(), "id": "other"}])
    for number in range(3):
        site.mqtt.send("set/reload", {"id": f"reload-{number}"})
        site.process.send_signal(signal.SIGHUP)
    first = site.mqtt.wait(lambda one: one.answer.get("id") == "reload-0").answer
    assert first["ok"] is True or first["reason"] in {"a reload is under way", "the site is stopping"}
    site.wait_for(
        lambda one: one["boot"] != boot and one["state"] == "online" and camera_of(one).get("state") == "online",
        "the new site is online",
    )
    for ask in (site.mqtt.ask, site.zeromq.ask):
        answer = _ask_until_answered(ask, "line/set/enabled", {"value": False})
        assert (answer["ok"], answer["reason"]) == (False, "unknown camera 'line'; known: other")
    assert _ask_until_answered(site.mqtt.ask, "other/set/enabled", {"value": True})["ok"] is True


def _ask_until_answered(ask: Callable[..., dict[str, Any]], topic: str, body: Any) -> dict[str, Any]:
    """Ask until a run answers that stays: what is asked between two runs reaches nobody, for commands are about now."""
    for _ in range(10):
        with suppress(pytest.fail.Exception):
            answer = ask(topic, body, timeout_s=6.0)
            if answer.get("reason") != "the site is stopping":
                return answer
    pytest.fail("no run answers")
