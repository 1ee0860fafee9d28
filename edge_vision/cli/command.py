"""Reads the command line, runs the subcommand, and turns errors into exit codes."""

import argparse
import sys
from collections.abc import Sequence

from edge_vision import __version__
from edge_vision.app.logs import set_up_logging
from edge_vision.cli import check, demo, probe, run, schema, tail, try_out
from edge_vision.core.errors import (
    EXIT_CONFIG,
    EXIT_GAVE_UP,
    ConfigError,
    EdgeVisionError,
    MissingLibraryError,
    ModelError,
    NoBackendError,
)

_SUBCOMMANDS = (run, check, probe, try_out, schema, demo, tail)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="edge-vision",
        description="Real-time video analytics at the edge: one YAML file per site.",
        epilog="Exit codes: 0 done, 2 wrong command line, 70 gave up (a restart may help), 78 wrong site or model.",
    )
    parser.add_argument("--version", action="version", version=f"edge-vision {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log more than a day's worth of lines should hold")
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
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIG
    except (NoBackendError, ModelError, MissingLibraryError) as error:
        print(f"edge-vision: {error}", file=sys.stderr)
        return EXIT_CONFIG
    except EdgeVisionError as error:
        print(f"edge-vision: {error}", file=sys.stderr)
        return EXIT_GAVE_UP
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `edge-vision tail ... | head`
        sys.stderr.close()
        return 0
    return code
