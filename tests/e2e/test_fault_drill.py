"""Brokers that die and daemons that are killed: what a listener saw, and all before it, is acknowledged in the end."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zmq
from conftest import Start, find_free_port, wait_until
from drill import Witness, fill, missing, mounted, on_disk
from mqtt_proxy import Recording, recording_proxy
from servers import Broker, absent

_YEAR_S = 31_556_952
_STEPPING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    long seconds = 0;
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("STEP_FILE"), "r") : NULL;
    if (file) { if (fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds; fclose(file); }
    return code;
}
"""
"""Adds what stands in a file to the wall clock, and to no other."""
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


def busy_camera(name: str = "line", fps: int = 200) -> dict[str, Any]:
    """A camera without a model: hundreds of messages a second."""
    source = {"kind": "synthetic", "size": [160, 96], "fps": fps}
    return {"id": name, "source": source, "pipeline": "motion_only"}


@dataclass
class Drill:
    """A site, its broker and its witness; and how often it was killed."""

    edge_vision: Start
    site: Path
    broker: Broker
    recording: Recording
    witness: Witness
    state: Path
    boots: int = 0

    def run(self, **options: Any) -> "subprocess.Popen[str]":
        """Start the daemon, and wait until it speaks."""
        before = self.witness.boots
        self.boots += 1
        process = self.edge_vision("run", self.site, stderr=subprocess.DEVNULL, **options)
        wait_until(lambda: self.witness.hears(50, besides=before), 60, "the site speaks")
        return process

    def round(self, fault: str, seconds: float) -> None:
        """Run and kill; what the witness heard before that must arrive in the end."""
        if fault == "broker killed":
            self.broker.kill()
        elif fault == "broker stopped":
            self.broker.send(signal.SIGSTOP)
        elif fault == "broker back":
            self.broker.kill()
            self.broker.start()
        process = self.run()
        self.witness.listen(seconds / 2)
        if fault == "broker restarted":
            self.broker.kill()
            self.witness.listen(0.5)
            self.broker.start()
        self.witness.listen(seconds / 2)
        self.kill(process)
        if fault == "broker stopped":
            self.broker.send(signal.SIGCONT)

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Kill -9 when all that was heard by now is on disk, or acknowledged; what is heard later may not have been."""
        moment, heard = time.monotonic(), self.witness.ids

        def saved() -> bool:
            return heard <= on_disk(self.state) | {message["id"] for message in self.recording.messages}

        wait_until(saved, 60, "what was heard is on disk")
        process.kill()
        process.wait(60)
        self.witness.listen(0.5)
        self.witness.forget_after(moment)

    def finish(self, timeout_s: float) -> None:
        """A last run, to the end: nothing is missing, and nothing was told to be."""
        process = self.run()
        owed, recording = self.witness.owed, self.recording

        def all_there() -> bool:
            time.sleep(0.5)  # it is much to look through
            self.witness.listen(0.1)
            return len({boot for boot, _, _ in owed()}) == self.boots and not missing(owed(), recording)

        wait_until(all_there, timeout_s, f"{self.witness.count} messages are acknowledged")
        process.terminate()
        assert process.wait(60) == 0
        self.witness.listen(0.5)
        assert missing(owed(), recording) == []
        assert len({boot for boot, _, _ in owed()}) == self.boots
        assert not [message for message in recording.messages if message["kind"] == "gap"]


@pytest.fixture
def drill(
    edge_vision: Start,
    write_site: Callable[..., Path],
    free_port: int,
    proxied: tuple[Broker, Recording],
    witness: Witness,
    tmp_path: Path,
) -> Callable[..., Drill]:
    """Makes a site of busy cameras whose every message may not be lost."""

    def make(cameras: int = 1, state: Path = tmp_path / "state") -> Drill:
        broker, recording = proxied
        publish = [
            {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}", "high_water_mark": 1_000_000},
            {"kind": "mqtt", "host": "127.0.0.1", "port": recording.port, "durable": KINDS},
        ]
        lines = [busy_camera(f"line-{number}") for number in range(cameras)]
        site = write_site(cameras=lines, publish=publish, state_dir=str(state))
        broker.start()
        return Drill(edge_vision, site, broker, recording, witness, state)

    return make


def test_nothing_is_lost_when_broker_and_daemon_are_killed(drill: Callable[..., Drill]) -> None:
    """Kill -9 of the daemon while the broker is there, gone, and stopped; of the broker, which forgets everything."""
    drilled = drill()
    for fault in ("none", "broker killed", "broker back", "broker stopped"):
        drilled.round(fault, 1.6)
    drilled.finish(60)
    assert sum(drilled.witness.owed().values()) > 500


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_of_a_hundred_thousand_messages_none_is_lost(drill: Callable[..., Drill]) -> None:
    """Twenty kills of the daemon, with every fault of the broker in between."""
    drilled = drill(cameras=4)
    for fault in ("none", "broker killed", "broker back", "broker stopped", "broker restarted") * 4:
        drilled.round(fault, 7.5)
    drilled.finish(600)
    owed = sum(drilled.witness.owed().values())
    print(f"{owed} messages owed, 0 missing, {drilled.recording.doubles} came more than once, {drilled.boots} runs")
    assert owed > 100_000


def test_a_disk_that_is_full_at_the_start_holds_nothing_up(drill: Callable[..., Drill], tmp_path: Path) -> None:
    """Analysis and delivery go on, the status says it, and what waits on that disk is delivered when there is room."""
    with mounted(tmp_path / "disk", "20m") as small_disk:
        start_on_a_full_disk(drill(state=small_disk), small_disk)


def start_on_a_full_disk(drilled: Drill, small_disk: Path) -> None:
    """The same, on a disk that is mounted."""
    drilled.round("broker killed", 1.6)
    waiting = dict(drilled.witness.owed())
    (small_disk / "outbox.reserve").unlink(missing_ok=True)
    foreign = fill(small_disk)
    drilled.broker.start()
    process = drilled.run()
    statuses = drilled.recording.statuses
    wait_until(lambda: any(one["outbox"]["state"] == "lost" for one in statuses()), 60, "the status says it")
    assert next(one["state"] for one in statuses() if one["outbox"]["state"] == "lost") == "degraded"
    foreign.unlink()
    wait_until(lambda: not missing(waiting, drilled.recording), 60, "what waited on the disk is delivered")
    wait_until(lambda: statuses()[-1]["outbox"]["state"] == "online", 60, "the status says it")
    process.terminate()
    assert process.wait(60) == 0
    drilled.finish(60)


def test_nothing_is_too_old_when_the_clock_steps(drill: Callable[..., Drill], tmp_path: Path) -> None:
    """By years, forward and back, while the daemon runs and between its runs; numbers and ids stay unique."""
    compiler = shutil.which("cc")
    if compiler is None:
        absent("no C compiler: apt-get install gcc libc6-dev")
    (tmp_path / "step.c").write_text(_STEPPING)
    library, step = tmp_path / "step.so", tmp_path / "step"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "step.c"], check=True)
    drilled = drill()
    environment = {**os.environ, "LD_PRELOAD": str(library), "STEP_FILE": str(step)}
    drilled.broker.kill()
    for first, then in ((0, 3), (-5, 20)):
        step.write_text(str(first * _YEAR_S))
        process = drilled.run(env=environment)
        step.write_text(str(then * _YEAR_S))
        drilled.witness.listen(1.6)
        drilled.kill(process)
    drilled.broker.start()
    drilled.finish(60)
    assert len(drilled.recording.years) == 4, "the clock did step"
    ids = [message["id"] for message in drilled.recording.messages]
    assert len(ids) == len(set(ids))
