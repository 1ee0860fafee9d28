"""A start that is called off, and the exit codes of one that fails."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from edge_vision.app import daemon
from edge_vision.app import loading as loading_models
from edge_vision.app.check import Checked
from edge_vision.app.commands_post import CommandPost
from edge_vision.app.daemon import Daemon
from edge_vision.app.signals import Signals
from edge_vision.cli.command import run_command
from edge_vision.config.site import Site
from edge_vision.core.errors import EXIT_CONFIG, EXIT_DONE, EXIT_GAVE_UP, NoBackendError, NoBackendYetError
from edge_vision.runtime.clock import SystemClock


def test_a_runtime_that_hangs_while_it_loads_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to stop, the run ends at once and in order, and says that a thread is left."""
    loading, let_go = threading.Event(), threading.Event()

    def load_engines(*_: Any) -> None:
        loading.set()
        let_go.wait(20)

    monkeypatch.setattr(loading_models, "load_engines", load_engines)
    monkeypatch.setattr(loading_models, "warm_up", lambda *_: None)
    run = Daemon(Checked(Site(Path("s.yaml"), "s", (), ()), {}), SystemClock())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run.run(None)))
    thread.start()
    assert loading.wait(60)
    run.stop()
    thread.join(60)
    try:
        assert codes == [EXIT_DONE]
        assert run.left_behind
    finally:
        let_go.set()
        assert run._loading.worker.join(60)
    assert not run.left_behind


@pytest.mark.parametrize("error, code", [(NoBackendError, EXIT_CONFIG), (NoBackendYetError, EXIT_GAVE_UP)])
def test_what_the_end_of_the_candidates_means(
    error: type[NoBackendError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """78 keeps systemd from starting again; a trial that was not finished is no reason for that."""

    def run_site(*_: Any) -> int:
        msg = "model m: none"
        raise error(msg)

    monkeypatch.setattr(daemon, "run_site", run_site)
    assert run_command(["run", "site.yaml"]) == code
    assert "model m: none" in capsys.readouterr().err


class _Run:
    """What a signal reaches."""

    def __init__(self) -> None:
        self.asked_to_reload = False
        self.asked_to_stop = False

    def reload(self) -> None:
        self.asked_to_reload = True

    def stop(self) -> None:
        self.asked_to_stop = True


def test_a_reload_that_a_run_has_no_time_for_is_one_of_the_next() -> None:
    """The site file is edited and SIGHUP sent again while the run before drains: it has read the file already."""
    signals, runs = Signals(), [_Run(), _Run(), _Run()]
    signals.listen(runs[0])
    signals.listen(runs[1])
    assert not runs[1].asked_to_reload
    signals.reload(signal.SIGHUP, None)
    signals.listen(runs[2])
    assert runs[2].asked_to_reload


def test_many_reloads_wait_for_one_look_at_the_file() -> None:
    """While it is read, who asks is told to ask again: a storm of signals leaves room for commands."""
    reading, let_go = threading.Event(), threading.Event()

    def reload() -> None:
        reading.set()
        let_go.wait(20)

    post = CommandPost(Site(Path("s.yaml"), "s", (), ()), "b", lambda: "online", reload, SystemClock())
    post.start([])
    try:
        assert post.reload()
        assert reading.wait(60)
        assert not post.reload()
        let_go.set()
        wait_until(post.reload, 60, "it is read, and may be read again")
    finally:
        let_go.set()
        post.stop()
    assert not post.left_behind
    assert not post.reload()
