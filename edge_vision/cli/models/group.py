"""Gathers the subcommands of `edge-vision models`."""

from typing import Any

from edge_vision.cli.models import (
    bench,
    build,
    check,
    convert,
    evaluation,
    golden,
    import_model,
    list_models,
    pull,
    quantize,
    show,
    verify,
)

_SUBCOMMANDS = (
    pull, list_models, import_model, check, show, golden, verify, evaluation, bench, quantize, convert, build,
)  # fmt: skip


def add_to(subparsers: Any) -> None:
    """Add the subcommand and those below it."""
    parser = subparsers.add_parser("models", help="make, prove and change model bundles")
    below = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _SUBCOMMANDS:
        module.add_to(below)
