"""`edge-vision run SITE.yaml`: the daemon."""

import argparse
from pathlib import Path
from typing import Any


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("run", help="run a site until its sources end or it is told to stop")
    parser.add_argument("site", type=Path, metavar="SITE.yaml")
    parser.add_argument("--max-seconds", type=positive, metavar="N", help="end by itself after so long")
    parser.set_defaults(run=_run)


def positive(text: str) -> float:
    """A number of seconds, more than 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"must be more than 0, not {text}"
        raise argparse.ArgumentTypeError(msg)
    return value


def _run(options: argparse.Namespace) -> int:
    from edge_vision.app.daemon import run_site

    return run_site(options.site, options.max_seconds)
