"""Checks what systemd hears, on a real datagram socket."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from edge_vision.runtime.systemd import Notifier


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="manager", params=["path", "abstract"])
def _manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """A socket like systemd's, with its address in the environment; "@" stands for the NUL of an abstract one."""
    address = f"{tmp_path}/notify" if request.param == "path" else f"@edge-vision-test-{uuid4().hex}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(60.0)
        listener.bind(address.replace("@", "\0"))
        yield listener


@pytest.mark.parametrize(
    "tell, heard",
    [
        (lambda notifier: notifier.ready("4 cameras"), "READY=1\nSTATUS=4 cameras"),
        (lambda notifier: notifier.progress("online"), "WATCHDOG=1\nSTATUS=online"),
        (lambda notifier: notifier.stopping(), "STOPPING=1"),
        (lambda notifier: notifier.extend_timeout(2.5), "EXTEND_TIMEOUT_USEC=2500000"),
    ],
)
def test_systemd_hears(manager: socket.socket, tell: Callable[[Notifier], None], heard: str) -> None:
    """One datagram per call, in the words of sd_notify(3)."""
    tell(Notifier())
    assert manager.recv(4096).decode() == heard


def test_the_watchdog_is_fed_again_and_again(manager: socket.socket) -> None:
    """No state between calls: each one is a datagram of its own."""
    notifier = Notifier()
    for number in range(3):
        notifier.progress(str(number))
    assert [manager.recv(4096) for _ in range(3)] == [f"WATCHDOG=1\nSTATUS={number}".encode() for number in range(3)]


@pytest.mark.parametrize("address", ["", "/nonexistent/notify", "@nobody-listens-here", "/" + "x" * 200])
def test_nobody_listening_changes_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not started by systemd, or its socket is gone: the daemon goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.ready("fine")
    notifier.progress("fine")
    assert notifier.watchdog_s is None


def test_without_the_variable_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No NOTIFY_SOCKET, no socket is even made."""

    def refuse(*_: object) -> None:
        pytest.fail("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)
    Notifier().ready("fine")


@pytest.mark.parametrize(
    "usec, pid, seconds",
    [
        ("30000000", None, 30.0),
        ("500000", "me", 0.5),
        ("30000000", "1", None),  # meant for another process
        (None, None, None),
        ("", None, None),
        ("soon", None, None),
        ("-5", None, None),
    ],
)
def test_the_watchdog_period_is_that_of_this_process(
    usec: str | None, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WATCHDOG_USEC in seconds, unless WATCHDOG_PID says that another process is meant."""
    if usec is not None:
        monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    assert Notifier().watchdog_s == seconds
