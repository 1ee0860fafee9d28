"""Runs `edge-vision ...`, as a user would, to its end."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

LIMIT_S: Final = 110


class Done(NamedTuple):
    """What a command left: its exit code, standard output and standard error."""

    code: int
    output: str
    errors: str


def run(*arguments: str | Path, limit_s: float = LIMIT_S, **options: Any) -> Done:
    """Run a command; fails the test on a traceback, and past the limit. `options` are those of Popen."""
    command = [sys.executable, "-m", "edge_vision", *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes, **options) as process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        finally:
            with suppress(ProcessLookupError):  # its children, too
                os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors, errors
    return Done(process.returncode, output, errors)


def models(*arguments: str | Path, **options: Any) -> Done:
    """Run a subcommand of `models`."""
    return run("models", *arguments, **options)


def verify(bundle: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the rows of `models verify --json`."""
    done = models("verify", bundle, "--json", *arguments)
    return done.code, json.loads(done.output)["rows"]
