"""Functions that crash, hang or eat memory in a child process leave this one alone and are told apart."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from edge_vision.core.errors import BackendUnavailableError, ModelError, UnfinishedTrialError
from edge_vision.core.files import cache_folder
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference import trial
from edge_vision.runtime.quarantine import confined


def test_the_answer_comes_back() -> None:
    """Also when a library prints: that is not part of it."""
    assert confined("textwrap:shorten", {"text": "a   b", "width": 9}) == "a b"
    assert confined("builtins:help", {"request": "if"}) is None


@pytest.mark.parametrize(
    "row,argument,reason",
    [
        ("ctypes:string_at", {"ptr": 0}, r"crashed \(SIGSEGV\) in a trial"),
        ("os:abort", {}, r"crashed \(SIGABRT\) in a trial"),
        ("os:_exit", {"status": 3}, r"without an answer \(exit code 3\)"),
        ("numpy:ones", {"shape": 1 << 30}, "more memory"),
        ("json:loads", {"s": "{"}, "JSONDecodeError: Expecting property name"),
    ],
)
def test_what_goes_wrong_is_a_reason(row: str, argument: dict[str, Any], reason: str) -> None:
    """The signal, the exit code or the error, never an end of this process."""
    with pytest.raises(BackendUnavailableError, match=reason):
        confined(row, argument, memory_mb=1000)


def test_what_hangs_is_ended_in_time() -> None:
    """The limit holds, and the process is gone."""
    started = time.monotonic()
    with pytest.raises(UnfinishedTrialError, match="hangs: not done within 1 s"):
        confined("signal:pause", {}, limit_s=1)
    assert time.monotonic() - started < 30


def test_a_stop_is_not_a_crash() -> None:
    """A terminal, or systemd, tells the whole group to end: the trial is finished, and the parent decides."""
    shell = "kill -TERM $PPID && kill -INT $PPID && sleep 0.2"
    assert confined("subprocess:call", {"args": shell, "shell": True}) == 0


def test_errors_of_this_package_keep_their_class(tmp_path: Path) -> None:
    """A ModelError in the child is a ModelError here."""
    row = "edge_vision.postprocess.outputs:pick"
    with pytest.raises(ModelError, match="no output 'x'"):
        confined(row, {"tensors": {}, "name": "x"})
    file = ModelFile(tmp_path / "absent.onnx", "onnx", (1, 3, 32, 32))
    with pytest.raises(BackendUnavailableError, match=r"^cannot load .*absent\.onnx"):  # it is named once, not twice
        trial.try_out("onnxruntime", file, LoadOptions())


def test_a_success_is_remembered_and_a_failure_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One trial per file and version of the runtime; another content, another trial."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    tries: list[str] = []

    def fake(name: str, file: ModelFile, options: LoadOptions) -> None:
        del file, options
        tries.append(name)
        if len(tries) == 1:
            msg = "crashed"
            raise BackendUnavailableError(msg)

    monkeypatch.setattr(trial, "try_out", fake)
    path = tmp_path / "a.onnx"
    path.write_bytes(b"one")
    file = ModelFile(path, "onnx", (1, 3, 32, 32))
    with pytest.raises(BackendUnavailableError):
        trial.admit("onnxruntime", file, LoadOptions())
    for _ in range(3):
        trial.admit("onnxruntime", file, LoadOptions())
    assert len(tries) == 2
    path.write_bytes(b"two")
    trial.admit("onnxruntime", file, LoadOptions())
    assert len(tries) == 3


def test_what_was_killed_or_never_started_may_go_well_another_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of memory, say: that is another error than a crash, and says which program is missing."""
    with pytest.raises(UnfinishedTrialError, match=r"killed.*SIGKILL"):
        confined("subprocess:call", {"args": "kill -KILL $PPID", "shell": True})
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UnfinishedTrialError, match="/nowhere/python: No such file"):
        confined("os:getpid", {})


def test_a_trial_ends_with_who_wanted_to_know() -> None:
    """The parent is killed: nobody is left to end a trial that hangs."""
    script = "from edge_vision.runtime.quarantine import confined; confined('signal:pause', {})"
    parent = subprocess.Popen([sys.executable, "-c", script])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    wait_until(lambda: children.read_text() != "", 60, "the trial has begun")
    child = Path("/proc") / children.read_text().strip()
    try:
        wait_until(lambda: (child / "oom_score_adj").read_text().strip() == "1000", 60, "it is set up")
        parent.kill()
        wait_until(lambda: not child.exists() or "\nState:\tZ" in (child / "status").read_text(), 60, "it is gone")
    finally:
        parent.kill()
        parent.wait(timeout=60)
        if child.exists():
            os.kill(int(child.name), signal.SIGKILL)


def test_a_cache_that_cannot_be_looked_at_costs_a_trial_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user, or a name that is too long: the file is tried each time."""
    monkeypatch.setenv("CACHE_DIRECTORY", f"/tmp/{'x' * 300}")
    tries: list[str] = []
    monkeypatch.setattr(trial, "try_out", lambda name, *_: tries.append(name))
    monkeypatch.setattr(trial, "_key", lambda *_: "key")
    for _ in range(2):
        trial.admit("onnxruntime", ModelFile(Path("a.onnx"), "onnx", (1, 3, 32, 32)), LoadOptions())
    assert len(tries) == 2


def test_a_user_without_a_home_has_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container runs as a number that no passwd file knows, and HOME may be absent."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "CACHE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert cache_folder() == Path("/.cache/edge-vision")
