"""A start that is called off, and the exit codes of one that fails."""

import threading
from pathlib import Path
from typing import Any

import pytest

from edge_vision.app import daemon
from edge_vision.app.check import Checked
from edge_vision.app.daemon import Daemon
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

    monkeypatch.setattr(daemon, "load_engines", load_engines)
    monkeypatch.setattr(daemon, "warm_up", lambda *_: None)
    run = Daemon(Checked(Site(Path("s.yaml"), "s", (), ()), {}), SystemClock())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run.run(None)))
    thread.start()
    assert loading.wait(5)
    run.stop()
    thread.join(5)
    try:
        assert codes == [EXIT_DONE]
        assert run.left_behind
    finally:
        let_go.set()
        assert run._loading is not None
        assert run._loading.join(5)
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
