"""Calls a function in a process of its own, so that one which crashes or hangs takes nobody with it."""

import contextlib
import ctypes
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_vision.core import errors
from edge_vision.core.errors import BackendError, BackendUnavailableError, EdgeVisionError, UnfinishedTrialError
from edge_vision.core.plugin import resolve

LIMIT_S: Final = 60.0
"""How long a call may take when nothing else is said."""
_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_CHILD: Final = (
    "import sys; sys.path = [path for path in sys.path if path]; "  # nothing from the folder this was started in
    "from edge_vision.runtime.quarantine import serve; serve()"
)
_LONGEST: Final = 200
_PR_SET_PDEATHSIG: Final = 1


def confined(row: str, argument: Mapping[str, Any], limit_s: float = LIMIT_S, memory_mb: int | None = None) -> Any:
    """What the function of a row ("module:attribute") returns for keyword arguments, called in a child process.

    What it returns must be JSON. Raises what the function raises, if it is one of this package's errors;
    BackendUnavailableError that names the signal or the limit when the process crashes or wants more memory than
    `memory_mb` (default: what the machine has); UnfinishedTrialError when it takes longer than `limit_s`, is killed, or
    cannot be started, which may be different another day. Blocks no longer than `limit_s`.
    """
    limits = {"limit_s": limit_s, "memory_mb": memory_mb, "parent": os.getpid()}
    request = pickle.dumps({"row": row, "argument": dict(argument), **limits})
    # The child finds this package where the parent did, be it installed or not.
    paths = [path for path in (os.environ.get("PYTHONPATH"), str(_ROOT)) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, with a module of this package
            [sys.executable, "-c", _CHILD],
            input=request, capture_output=True, check=False, timeout=limit_s, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        msg = f"hangs: not done within {limit_s:g} s in a trial of its own process"
        raise UnfinishedTrialError(msg) from None
    except OSError as error:
        msg = f"cannot be tried in a process of its own: {sys.executable or 'no interpreter'}: {error.strerror}"
        raise UnfinishedTrialError(msg) from error
    return _answer(done)


def _answer(done: "subprocess.CompletedProcess[bytes]") -> Any:
    said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
    last = said[-1].strip()[:_LONGEST] if said else ""
    if done.returncode < 0:
        name = _signal_name(-done.returncode)
        killed = -done.returncode == signal.SIGKILL
        what = "killed, for want of memory perhaps" if killed else "crashed"
        msg = f"{what} ({name}) in a trial of its own process{f': {last}' if last else ''}"
        raise UnfinishedTrialError(msg) if killed else BackendUnavailableError(msg)
    try:
        content = json.loads(done.stdout)
    except ValueError:
        msg = f"ended without an answer (exit code {done.returncode}) in a trial of its own process: {last}"
        raise BackendUnavailableError(msg) from None
    if "error" in content:
        kind = getattr(errors, content["error"], BackendError)
        raise kind(content["text"])
    return content["value"]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def serve() -> None:
    """The child: answer one request from standard input on standard output, and end."""
    # What libraries print must not get between the lines of the answer.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        request = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent process
        _set_limits(request["limit_s"], request["memory_mb"])
        _end_with(request["parent"])
        try:
            content = {"value": resolve(request["row"])(**request["argument"])}
        except EdgeVisionError as error:
            content = {"error": type(error).__name__, "text": str(error)}
        except MemoryError:
            content = {"error": "BackendUnavailableError", "text": "wants more memory than there is"}
        except Exception as error:  # noqa: BLE001 - a library that is fed rubbish raises anything
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            content = {"error": "BackendUnavailableError", "text": text}
        json.dump(content, answer)
    os._exit(0)  # a library that crashes while it is unloaded has answered all the same


def _set_limits(limit_s: float, memory_mb: int | None) -> None:
    """Leave no core file, end when the parent cannot end this any more, and be the first to go for want of memory."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a stop is for the parent, who would take it for a crash here
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(int(limit_s) + 2)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if memory_mb is None else memory_mb << 20
    # Data, not address space: GPU drivers reserve more of that than any machine has memory.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _end_with(parent: int) -> None:
    """Be killed when the parent is gone: nobody waits for the answer then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)
