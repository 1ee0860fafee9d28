"""Reads the command line, runs the subcommand, and turns errors into exit codes."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from edge_vision import __version__
from edge_vision.app.logs import set_up_logging
from edge_vision.cli import audit, check, demo, keys, probe, run, schema, tail, try_out
from edge_vision.cli.models import group
from edge_vision.core.errors import (
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_GAVE_UP,
    ConfigError,
    EdgeVisionError,
    MissingLibraryError,
    ModelError,
    NoBackendError,
    NoBackendYetError,
)

_INTERRUPTED = 130
_SUBCOMMANDS = (run, check, probe, try_out, group, schema, demo, tail, audit, keys)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="edge-vision",
        description="Real-time video analytics at the edge: one YAML file per site.",
        epilog="Exit codes: 0 done, 2 wrong command line, 70 gave up (a restart may help), 78 wrong site or model.",
    )
    parser.add_argument("--version", action="version", version=f"edge-vision {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log details, too")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _SUBCOMMANDS:
        module.add_to(subparsers)
    return parser


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    options = build_parser().parse_args(arguments)
    set_up_logging("DEBUG" if options.verbose else "INFO")
    try:
        code: int = options.run(options)
        if sys.stdout is not None:  # it was closed before the start
            sys.stdout.flush()
    except (EdgeVisionError, OSError, KeyboardInterrupt) as error:
        return _explain(error, as_json=getattr(options, "json", False) is True)
    return code


def _explain(error: BaseException, *, as_json: bool) -> int:
    """Say what ended the command, in a sentence or a line per mistake; the exit code it stands for."""
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    if isinstance(error, OSError) and not isinstance(error, EdgeVisionError):
        # Standard output takes nothing more: without this the end of Python would say it once again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    if isinstance(error, BrokenPipeError):  # `edge-vision tail ... | head`: whoever read has enough
        return EXIT_DONE
    problems = error.problems if isinstance(error, ConfigError) else (f"edge-vision: {error}",)
    if as_json and isinstance(error, EdgeVisionError):  # whoever parses standard output finds the reason there, too
        print(json.dumps({"problems": [line for problem in problems for line in problem.splitlines()]}, indent=2))
    for problem in problems:
        print(problem, file=sys.stderr)
    wrong = (ConfigError, NoBackendError, ModelError, MissingLibraryError)
    return EXIT_CONFIG if isinstance(error, wrong) and not isinstance(error, NoBackendYetError) else EXIT_GAVE_UP
