"""A running site that is commanded over MQTT and ZeroMQ, and those who talk to it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from commanding import ALL, MqttAsker, ZeromqAsker, mqtt_asker, wait_for_site
from conftest import Start, wait_until
from demo_site import STATUS, camera
from listeners import Heard, mqtt_listener
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
        return self.heard.last(STATUS)

    def wait_for(self, true: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for a status; the status."""
        wait_until(lambda: true(self.status), timeout_s, what)
        return next(one for one in reversed(self.heard.on(STATUS)) if true(one))


def camera_of(status: dict[str, Any]) -> dict[str, Any]:
    """What a status says of its first camera; empty where it says nothing of cameras."""
    return dict(status["cameras"][0]) if status.get("cameras") else {}


@contextmanager
def running_site(
    edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path
) -> Iterator[Running]:
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
        running.wait_for(lambda one: camera_of(one).get("state") == "online", "the camera is online")
        yield running
