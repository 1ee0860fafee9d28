"""The unit under a real systemd, booted in a container: start, reload, watchdog, kill and stop, by systemctl.

The container has this machine's /usr and network, a root of its own, and what docs/1-start.md says of installing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
import zmq
from conftest import ROOT, find_free_port, wait_until
from drill import Witness, missing, on_disk
from mqtt_proxy import Recording, recording_proxy
from servers import Broker

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

_INSTALL = """set -e
echo /opt/python/lib > /etc/ld.so.conf.d/python.conf && ldconfig
/opt/python/bin/python3 -m venv --without-pip /opt/edge-vision
printf '%s\\n' /opt/tree /opt/packages > "$(echo /opt/edge-vision/lib/python3*/site-packages)/edge_vision.pth"
printf '#!/bin/sh\\nexec /opt/edge-vision/bin/python -m edge_vision "$@"\\n' > /opt/edge-vision/bin/edge-vision
chmod 755 /opt/edge-vision/bin/edge-vision
cd /opt/tree
cp systemd/sysusers.d/edge-vision.conf /etc/sysusers.d/ && systemd-sysusers
cp systemd/tmpfiles.d/edge-vision.conf /etc/tmpfiles.d/ && systemd-tmpfiles --create edge-vision.conf
cp systemd/edge-vision@.service /etc/systemd/system/ && systemctl daemon-reload
"""
_STATE = "/var/lib/edge-vision"


class Machine:
    """A booted container."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside; what it says."""
        inside = ["nsenter", "--target", str(self._leader), "--all", *command]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=100)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


def _make_root(root: Path) -> None:
    for name in ("usr", "var", "tmp", "proc", "sys", "dev", "run", "etc/ld.so.conf.d", "etc/sysusers.d", "opt/python"):
        (root / name).mkdir(parents=True)
    for name in ("etc/tmpfiles.d", "etc/systemd/system", "opt/tree", "opt/packages"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/os-release").write_text(Path("/etc/os-release").read_text())
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    for name in ("etc/machine-id", "etc/passwd", "etc/group"):
        (root / name).touch()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with edge_vision installed; skips the tests where none can be booted."""
    if os.geteuid() or shutil.which("systemd-nspawn") is None or not Path("/usr/lib/systemd/systemd").exists():
        pytest.skip("booting systemd needs root, and systemd-nspawn: apt-get install systemd-container")
    root = tmp_path_factory.mktemp("machine") / "root"
    _make_root(root)
    packages = Path(pytest.__file__).parent.parent
    command = ["systemd-nspawn", "--directory", root, "--boot", "--register=no", "--keep-unit", "--quiet"]
    command += ["--bind-ro=/usr", f"--bind-ro={sys.base_prefix}:/opt/python"]
    command += [f"--bind-ro={packages}:/opt/packages", f"--bind-ro={ROOT}:/opt/tree"]
    begun = time.monotonic()
    with (root.parent / "console").open("w") as console:
        nspawn = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
        wait_until(lambda: nspawn.poll() is not None or children.read_text() != "", 60, "the container begins")
        if nspawn.poll() is not None:
            pytest.skip(f"no container can be booted here: {(root.parent / 'console').read_text()}")
        found = Machine(root, int(children.read_text().split()[0]))

        def booted() -> bool:
            return found.run("systemctl", "is-system-running", check=False) in ("running", "degraded")

        wait_until(booted, 60, "systemd has started")
        print(f"booted in {time.monotonic() - begun:.1f} s")
        found.run("sh", "-c", _INSTALL)
        yield found
    finally:
        nspawn.terminate()
        try:
            nspawn.wait(60)
        except subprocess.TimeoutExpired:
            nspawn.kill()
            nspawn.wait(60)


def _camera(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "source": {"kind": "synthetic", "size": [160, 96], "fps": 100},
        "pipeline": "motion_only",
    }


class Site:
    """A site on the machine, with its broker and its witness."""

    def __init__(self, machine: Machine, name: str, broker: Broker, recording: Recording, witness: Witness) -> None:
        self.name, self.broker, self.recording, self.witness = name, broker, recording, witness
        self.unit = f"edge-vision@{name}"
        self.machine = machine
        self.port = 0

    def write(self, *cameras: dict[str, Any], **more: Any) -> None:
        """Write the site file."""
        durable = ["detections", "status", "motion_changed", "gap"]
        publish = [
            {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{self.port}", "high_water_mark": 1_000_000},
            {"kind": "mqtt", "host": "127.0.0.1", "port": self.recording.port, "durable": durable},
            {"kind": "jsonl", "path": f"{_STATE}/{self.name}/out.jsonl"},
        ]
        content = {"version": 1, "site": self.name, "cameras": list(cameras), "publish": publish, **more}
        text = yaml.safe_dump(content, sort_keys=False)
        (self.machine.root / f"etc/edge-vision/{self.name}.yaml").write_text(text)

    def systemctl(self, verb: str, *more: str, check: bool = True) -> str:
        """What systemctl says."""
        return self.machine.run("systemctl", verb, self.unit, *more, check=check)

    def fact(self, name: str) -> str:
        """What systemd knows of the unit."""
        return self.systemctl("show", "--value", "-p", name)

    def log(self) -> str:
        """What the journal has of it."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", self.unit)

    @property
    def state(self) -> Path:
        """Its folder."""
        return self.machine.root / f"{_STATE[1:]}/{self.name}"

    def hears(self, more: int = 50) -> None:
        """Wait until it says more."""
        wanted = self.witness.count + more
        wait_until(lambda: self.witness.hears(wanted, set()), 60, "the site speaks")

    def all_arrives(self) -> None:
        """What was heard, and all before it, is acknowledged, with the broker there; nothing is told as lost."""
        owed = self.witness.owed()
        wait_until(lambda: not missing(owed, self.recording), 60, f"{self.witness.count} messages are acknowledged")
        assert not [message for message in self.recording.messages if message["kind"] == "gap"]


@pytest.fixture
def open_site(machine: Machine, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Makes a site of a name; it is stopped in the end."""
    broker = Broker(find_free_port(), tmp_path)
    sites: list[Site] = []
    with recording_proxy(find_free_port(), broker.port) as recording, _witness() as (witness, port):

        def make(name: str) -> Site:
            sites.append(Site(machine, name, broker, recording, witness))
            sites[-1].port = port
            return sites[-1]

        yield make
        for site in sites:
            site.systemctl("stop", check=False)
            print(site.log()[-4_000:])
    broker.kill()


@contextmanager
def _witness() -> Iterator[tuple[Witness, int]]:
    port = find_free_port()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, 1_000_000)
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        yield Witness(socket), port


Open = Callable[[str], Site]


def test_it_is_active_when_its_model_serves_and_stops_in_order(open_site: Open, machine: Machine) -> None:
    """As its own user, shut off from the rest, with systemd's folders; the end has a limit, and is no failure."""
    site = open_site("hall-1")
    model = {"model": "/opt/tree/configs/demo/parts", "backends": ["onnxruntime"]}
    site.write(
        {"id": "line", "source": {"kind": "synthetic", "fps": 10}, "pipeline": "object_detection", "with": model}
    )
    site.broker.start()
    site.systemctl("start")
    assert site.systemctl("is-active") == "active"
    assert site.fact("Type") == "notify"
    assert "frames" in site.fact("StatusText") or "online" in site.fact("StatusText")
    site.hears(20)
    assert (site.state / "outbox.db").is_file()
    assert machine.run("stat", "-c", "%U %G", f"{_STATE}/hall-1/outbox.db") == "edge-vision edge-vision"
    user = machine.run("ps", "-o", "user=", "-p", site.fact("MainPID"))
    assert user.startswith("edge-vis")
    site.systemctl("stop")
    assert site.fact("Result") == "success"
    assert site.fact("ExecMainStatus") == "0"
    assert site.fact("ActiveState") == "inactive"
    assert (site.state / "out.jsonl").read_bytes().endswith(b"\n")
    site.witness.listen(0.5)
    site.all_arrives()


def test_a_reload_keeps_the_process_and_loses_nothing(open_site: Open) -> None:
    """With the broker away: what was owed before is delivered after; a file with a mistake changes nothing."""
    site = open_site("hall-2")
    site.write(_camera("a"))
    site.systemctl("start")
    site.hears()
    process = site.fact("MainPID")
    site.write(_camera("a"), _camera("b"))
    site.systemctl("reload")
    heard = site.witness.owed
    wait_until(
        lambda: site.witness.hears(0, set()) and any(key[1] == "b" for key in heard()), 60, "the new camera speaks"
    )
    boots = {boot for boot, _, _ in heard()}
    assert len(boots) == 2
    site.write({**_camera("a"), "pipelin": "motion_only"})
    site.systemctl("reload", check=False)
    wait_until(lambda: "reload refused, the site goes on as it is" in site.log(), 60, "it says so")
    assert "did you mean" in site.log()
    site.hears()
    assert {boot for boot, _, _ in heard()} == boots
    assert site.fact("MainPID") == process
    assert site.systemctl("is-active") == "active"
    site.broker.start()
    site.all_arrives()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_systemd_starts_it_again_and_what_was_owed_is_delivered(open_site: Open, number: signal.Signals) -> None:
    """After a kill, and by the watchdog when it stands still."""
    site = open_site(f"hall-{number}")
    site.write(_camera("a"))
    site.systemctl("start")
    site.hears(300)
    process, boots, owed = site.fact("MainPID"), site.witness.boots, on_disk(site.state)
    assert owed
    begun = time.monotonic()
    site.machine.run("kill", f"-{number}", process)
    wait_until(lambda: site.fact("NRestarts") == "1", 90, "systemd starts it again")
    print(f"started again after {time.monotonic() - begun:.1f} s")
    wait_until(lambda: site.systemctl("is-active", check=False) == "active", 60, "it is active")
    assert site.fact("MainPID") != process
    assert ("watchdog" in site.log().lower()) is (number == signal.SIGSTOP)
    wait_until(lambda: site.witness.hears(50, boots), 60, "the site speaks again")
    site.broker.start()
    wait_until(
        lambda: owed <= {message["id"] for message in site.recording.messages}, 60, f"{len(owed)} messages arrive"
    )
    assert not [message for message in site.recording.messages if message["kind"] == "gap"]
    lines = (site.state / "out.jsonl").read_text().splitlines()
    assert len({json.loads(line)["boot"] for line in lines if line.endswith("}")}) == 2


def test_a_mistake_in_the_site_file_is_no_restart_loop(open_site: Open) -> None:
    """78: systemd leaves it alone, and the journal says why."""
    site = open_site("hall-3")
    site.write({**_camera("a"), "pipelin": "motion_only"})
    site.systemctl("start", check=False)
    wait_until(lambda: site.fact("ActiveState") == "failed", 60, "systemd gives up")
    assert site.fact("ExecMainStatus") == "78"
    assert site.fact("NRestarts") == "0"
    assert "did you mean pipeline?" in site.log()
