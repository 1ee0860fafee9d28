"""Functions that crash, hang or eat memory in a child process leave this one alone and are told apart."""

import time
from pathlib import Path
from typing import Any

import pytest

from edge_vision.core.errors import BackendUnavailableError, ModelError
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
    with pytest.raises(BackendUnavailableError, match="hangs: not done within 1 s"):
        confined("signal:pause", {}, limit_s=1)
    assert time.monotonic() - started < 5


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
