"""Brokers that die and daemons that are killed: what a listener saw, and all before it, is acknowledged in the end."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import Start, find_free_port, wait_until
from drill import Witness, missing
from mqtt_proxy import Recording, recording_proxy
from servers import Broker

KINDS = ["detections", "status", "motion_changed", "gap"]


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Broker, Recording]]:
    """A broker that forgets everything when it is killed, and the proxy in front of it."""
    broker = Broker(find_free_port(), tmp_path)
    with recording_proxy(find_free_port(), broker.port) as recording:
        yield broker, recording
    broker.kill()


@pytest.fixture
def witness(free_port: int) -> Iterator[Witness]:
    """Hears the site on the free port."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, 1_000_000)
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{free_port}")
        yield Witness(socket)


def busy_camera(fps: int = 200) -> dict[str, Any]:
    """A camera without a model: hundreds of messages a second."""
    source = {"kind": "synthetic", "size": [160, 96], "fps": fps}
    return {"id": "line", "source": source, "pipeline": "motion_only"}


def test_nothing_is_lost_when_broker_and_daemon_are_killed(
    edge_vision: Start,
    write_site: Callable[..., Path],
    free_port: int,
    proxied: tuple[Broker, Recording],
    witness: Witness,
) -> None:
    """Kill -9 of the daemon while the broker is there and while it is not; of the broker, which forgets everything."""
    broker, recording = proxied
    publish = [
        {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}"},
        {"kind": "mqtt", "host": "127.0.0.1", "port": recording.port, "durable": KINDS},
    ]
    site = write_site(cameras=[busy_camera()], publish=publish)
    broker.start()

    def run() -> "subprocess.Popen[str]":
        before = witness.count
        process = edge_vision("run", site)
        wait_until(lambda: witness.hears(before + 50), 30, "the site speaks")
        return process

    def run_and_kill(seconds: float) -> None:
        process = run()
        witness.listen(seconds)
        process.kill()
        witness.forget_after(time.monotonic() - 1.0)
        process.wait(10)

    run_and_kill(2.5)
    broker.kill()
    run_and_kill(2.5)
    broker.start()
    run_and_kill(2.5)
    process = run()
    wait_until(lambda: not missing(witness.owed(), recording), 30, f"of {witness.count} messages each is acknowledged")
    process.terminate()
    assert process.wait(20) == 0
    witness.listen(0.5)
    owed = witness.owed()
    boots = {boot for boot, _, _ in owed}
    assert len(boots) == 4
    assert sum(owed.values()) > 500
    assert missing(owed, recording) == []
    assert not [message for message in recording.messages if message["kind"] == "gap"]
