"""`edge-vision schema`: the JSON schema of the files people write, and of the messages they receive."""

import argparse
import json
import sys
from typing import Any

from edge_vision.core.errors import EXIT_DONE
from edge_vision.core.options import Options


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("schema", help="print the JSON schema of the files, or of the messages")
    parser.add_argument("what", nargs="?", choices=("site", "pipeline", "model", "catalog"), help="default: site")
    parser.add_argument("--messages", action="store_true", help="of every kind of message that a site publishes")
    parser.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    if options.messages and options.what is not None:
        print(f"edge-vision schema: either {options.what} or --messages", file=sys.stderr)
        return 2
    print(json.dumps(_messages() if options.messages else _of_file(options.what or "site"), indent=2))
    return EXIT_DONE


def _messages() -> dict[str, Any]:
    from edge_vision.publish.schema import message_schema

    return message_schema()


def _of_file(what: str) -> dict[str, Any]:
    from edge_vision.config.options import PipelineFile, SiteFile
    from edge_vision.models.catalog.entries import CatalogFile
    from edge_vision.models.options import BundleFile

    models: dict[str, type[Options]] = {
        "site": SiteFile, "pipeline": PipelineFile, "model": BundleFile, "catalog": CatalogFile,
    }  # fmt: skip
    schema = models[what].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
