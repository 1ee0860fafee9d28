"""Gathers the subcommands of `edge-vision models`."""

from typing import Any

from edge_vision.cli.models import build, check, golden, import_model, list_models, pull, show, verify

_SUBCOMMANDS = (import_model, check, show, golden, verify, pull, list_models, build)


def add_to(subparsers: Any) -> None:
    """Add the subcommand and those below it."""
    parser = subparsers.add_parser("models", help="make, prove and change model bundles")
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _SUBCOMMANDS:
        module.add_to(below)
