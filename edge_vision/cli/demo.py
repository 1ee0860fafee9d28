"""`edge-vision demo`: the whole road on a shipped clip and model; no camera, broker, download or GPU."""

import argparse
from typing import Any

from edge_vision.cli.run import positive
from edge_vision.core.shipped import shipped


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("demo", help="watch a rendered conveyor line being analyzed, right now")
    parser.add_argument("--max-seconds", type=positive, metavar="N", help="end after so long, not with the clip")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from edge_vision.app.daemon import run_site

    site = shipped("configs/demo.yaml")
    print(f"Running {site}\nThe same from another terminal: edge-vision tail tcp://127.0.0.1:5556\n", flush=True)
    return run_site(site, options.max_seconds)
