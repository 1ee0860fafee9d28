"""`edge-vision schema`: the JSON schema of the files people write, of messages, and of commands."""

import argparse
import json
import sys
from typing import Any

from edge_vision.core.errors import EXIT_DONE
from edge_vision.core.options import Options


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("schema", help="print the JSON schema of the files, the messages or the commands")
    parser.add_argument("what", nargs="?", choices=("site", "pipeline", "model", "catalog"), help="default: site")
    parser.add_argument("--messages", action="store_true", help="of every kind of message that a site publishes")
    parser.add_argument("--commands", action="store_true", help="of every command that a site takes, and of answers")
    parser.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    asked = [options.what] if options.what is not None else []
    asked += [f"--{name}" for name in ("messages", "commands") if getattr(options, name)]
    if len(asked) > 1:
        print(f"edge-vision schema: either {' or '.join(asked)}", file=sys.stderr)
        return 2
    made = {"--messages": _messages, "--commands": _commands}.get("".join(asked))
    print(json.dumps(_of_file(options.what or "site") if made is None else made(), indent=2))
    return EXIT_DONE


def _messages() -> dict[str, Any]:
    from edge_vision.publish.schema import message_schema

    return message_schema()


def _commands() -> dict[str, Any]:
    from edge_vision.publish.commands.schema import command_schema

    return command_schema()


def _of_file(what: str) -> dict[str, Any]:
    from edge_vision.config.options import PipelineFile, SiteFile
    from edge_vision.models.catalog.entries import CatalogFile
    from edge_vision.models.options import BundleFile

    models: dict[str, type[Options]] = {
        "site": SiteFile, "pipeline": PipelineFile, "model": BundleFile, "catalog": CatalogFile,
    }  # fmt: skip
    schema = models[what].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
