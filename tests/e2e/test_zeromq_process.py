"""The daemon and `edge-vision tail` with keys: real processes, real sockets."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, find_free_port, wait_until
from demo_site import TOPIC, camera
from listeners import zeromq_listener
from zeromq_site import read_until

from edge_vision.core.message import Message
from edge_vision.publish.zeromq.order import Missed
from edge_vision.publish.zeromq.reader import open_reader
from edge_vision.runtime.clock import SystemClock


def _keys(edge_vision: Start, file: Path) -> str:
    output, _ = edge_vision("keys", file).communicate(timeout=60)
    return str(output.strip())


def test_a_site_with_keys_is_heard_by_those_who_have_them(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """`keys`, `run` and `tail` together; without a key, with a foreign one, and in plain nothing is heard."""
    server, ours = (_keys(edge_vision, tmp_path / name) for name in ("site.key", "ours.key"))
    _keys(edge_vision, tmp_path / "foreign.key")
    (tmp_path / "clients").write_text(f"{ours} the test\n")
    address = f"tcp://127.0.0.1:{free_port}"
    curve = {"secret_key": {"file": "site.key"}, "clients_file": "clients"}
    publish = [{"kind": "zeromq", "bind": address, "curve": curve, "heartbeat_s": 0.5}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    with zeromq_listener(address) as plain:
        tail = edge_vision(
            "tail", address, "--topic", TOPIC, "--count", "10", "--timeout", "60",
            f"--server-key={server}", "--key", tmp_path / "ours.key",
        )  # fmt: skip
        output, errors = tail.communicate(timeout=60)
        assert tail.returncode == 0, errors
        assert [json.loads(line)["kind"] for line in output.splitlines()] == ["detections"] * 10
        foreign = edge_vision(
            "tail", address, "--timeout", "2", f"--server-key={server}", "--key", tmp_path / "foreign.key"
        )  # fmt: skip
        output, errors = foreign.communicate(timeout=60)
        assert (foreign.returncode, output) == (70, "")
        assert "nothing for 2 s" in errors
        assert plain._messages == []
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "refused a client at '127.0.0.1' with the public key" in errors
    for name in ("site.key", "ours.key", "foreign.key"):
        assert (tmp_path / name).read_text().strip() not in errors


@pytest.mark.parametrize("missing", ["site.key", "clients"])
def test_keys_that_cannot_be_read_end_the_start(
    missing: str, edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """78, with the file, before anything is analyzed."""
    for name in {"site.key", "clients"} - {missing}:
        (tmp_path / name).write_text("l75$%@{g61KN]UNb0Mj^}svZjxhf1zu9#q0.irbB\n")
    curve = {"secret_key": {"file": "site.key"}, "clients_file": "clients"}
    publish = [{"kind": "zeromq", "bind": "tcp://127.0.0.1:*", "curve": curve}]
    process = edge_vision("run", write_site(cameras=[camera()], publish=publish))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "tcp://127.0.0.1:*: curve: " in errors
    assert missing in errors


def test_what_was_missed_is_served_after_a_kill(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """A subscriber is away, the daemon is killed and starts again: the rest of one run and all of the next arrive."""
    address, replay = f"tcp://127.0.0.1:{free_port}", f"tcp://127.0.0.1:{find_free_port()}"
    sink = {"kind": "zeromq", "bind": address, "heartbeat_s": 0.5}
    publish = [{**sink, "replay": {"bind": replay, "kinds": ["detections", "status"]}}]
    site = write_site(cameras=[camera()], publish=publish)
    clock = SystemClock()
    first_run = edge_vision("run", site)
    with open_reader(address, clock, replay=replay) as reader:
        found = read_until(reader, lambda found: len(_seqs(found)) >= 20, timeout_s=60)
        known = reader.positions
    (boot,) = {one.boot for one in found}
    with open_reader(address, clock) as other:  # what goes out while the first one is away
        read_until(other, lambda found: len(_seqs(found)) >= 50, timeout_s=60)
    first_run.send_signal(signal.SIGKILL)
    first_run.wait(60)
    second_run = edge_vision("run", site)
    with open_reader(address, clock, replay=replay, known=known) as reader:
        more = read_until(
            reader,
            lambda more: (
                any(one.boot != boot and one.seq >= 30 for one in more if isinstance(one, Message))
                and any(one.boot == boot for one in more)
            ),
            timeout_s=60,
        )
        assert reader.missed == 0, more
    second_run.send_signal(signal.SIGTERM)
    second_run.communicate(timeout=60)
    old = _seqs(found + more, boot)
    new = _seqs([one for one in more if one.boot != boot])
    assert old == list(range(old[0], old[-1] + 1))
    assert old[-1] >= known[boot, "line", "detections"] + 20
    assert new == list(range(1, len(new) + 1))


def _seqs(found: list[Message | Missed], boot: str | None = None) -> list[int]:
    return [
        one.seq for one in found if isinstance(one, Message) and one.kind == "detections" and boot in {None, one.boot}
    ]


def test_heartbeats_of_a_run_tell_its_last_numbers(
    edge_vision: Start, write_site: Callable[..., Path], free_port: int
) -> None:
    """They grow with what is published; the last one has the last status, too."""
    address = f"tcp://127.0.0.1:{free_port}"
    publish = [{"kind": "zeromq", "bind": address, "heartbeat_s": 0.5}]
    site = write_site(cameras=[camera(kind="synthetic", frames=60, realtime=True)], publish=publish)
    with zeromq_listener(address) as heard:
        process = edge_vision("run", site)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        topic = "edge-vision/v1/test/heartbeat"

        def all_told() -> bool:
            goodbye = heard.last("edge-vision/v1/test/status")
            expected = {("line", "detections"): 60, ("", "status"): goodbye.get("seq")}
            return goodbye.get("state") == "offline" and expected.items() <= _last(heard.on(topic)).items()

        wait_until(all_told, 60, "the last heartbeat")
        assert heard.count(topic) >= 3
        assert {beat["every_s"] for beat in heard.on(topic)} == {0.5}


def _last(beats: list[Any]) -> dict[tuple[str, str], int]:
    return {(one["source"], one["kind"]): one["seq"] for one in beats[-1]["last"]} if beats else {}


def test_an_audit_proves_that_nothing_was_lost_over_a_kill(
    edge_vision: Start, write_site: Callable[..., Path], tmp_path: Path, free_port: int
) -> None:
    """It goes on after a while in which nobody listened and the daemon was killed: no loss, and what was made up."""
    address, replay = f"tcp://127.0.0.1:{free_port}", f"tcp://127.0.0.1:{find_free_port()}"
    sink = {"kind": "zeromq", "bind": address, "heartbeat_s": 0.5}
    site = write_site(
        cameras=[camera()], publish=[{**sink, "replay": {"bind": replay, "kinds": ["detections", "status"]}}]
    )

    def audit() -> Any:
        running = edge_vision(
            "audit", "--zeromq", address, "--replay", replay, "--state", tmp_path / "audit.json",
            "--kinds", "detections", "--seconds", "6", "--json",
        )  # fmt: skip
        output, errors = running.communicate(timeout=60)
        assert running.returncode == 0, output + errors
        return json.loads(output)

    first_run = edge_vision("run", site)
    with open_reader(address, SystemClock()) as other:
        read_until(other, lambda found: len(_seqs(found)) >= 5, timeout_s=60)
        before = audit()
        while other.take(0.0):
            pass
        read_until(other, lambda found: len(_seqs(found)) >= 30, timeout_s=60)
    first_run.send_signal(signal.SIGKILL)
    first_run.wait(60)
    second_run = edge_vision("run", site)
    with open_reader(address, SystemClock()) as other:
        read_until(other, lambda found: len(_seqs(found)) >= 10, timeout_s=60)
    report = audit()
    second_run.send_signal(signal.SIGTERM)
    second_run.communicate(timeout=60)
    assert (report["verdict"], report["missing"]) == ("no loss", 0)
    old, new = (one for one in report["streams"] if one["kind"] == "detections")
    assert old["last"] >= before["streams"][0]["last"] + 30
    assert (new["first"], new["received"]) == (1, new["last"])
    assert report["made_up"] >= 30 + 10
