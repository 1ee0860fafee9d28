"""`edge-vision models list`: the public models that `models pull` fetches."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.pull import megabytes
from edge_vision.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from edge_vision.models.catalog.entries import Entry

_COLUMNS = "{:<11}{:<13}{:>9}  {:<10}{:<8}{}"


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("list", help="the catalogue of public models")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--urls", action="store_true", help="sha256, place in a mirror and address of every file")
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="a catalogue of your own")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="where pulled models are (default: models)"
    )
    parser.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> int:
    from edge_vision.models.catalog.entries import SHIPPED, read_catalog

    catalog = read_catalog(options.catalog or SHIPPED)
    if options.json:
        print(json.dumps([_facts(entry, options.models) for entry in catalog.entries], indent=2))
    elif options.urls:
        for entry in catalog.entries:
            for file in entry.files:
                print(f"{file.sha256}  {entry.name}/{file.path}  {file.url}")
    else:
        longest = max(20, *(len(entry.name) + 2 for entry in catalog.entries))
        print("name".ljust(longest) + _COLUMNS.format("task", "license", "size", "input", "pulled", "description"))
        for entry in catalog.entries:
            facts = _facts(entry, options.models)
            width, height = facts["input"]
            print(
                facts["name"].ljust(longest)
                + _COLUMNS.format(
                    facts["task"], facts["license"], megabytes(facts["size"]), f"{width}x{height}",
                    "yes" if facts["pulled"] else "no", facts["description"],
                )
            )  # fmt: skip
    return EXIT_DONE


def _facts(entry: "Entry", folder: Path) -> dict[str, Any]:
    from edge_vision.models.catalog.pull import is_pulled

    source = entry.model.source
    return {
        "name": entry.name,
        "task": entry.model.task,
        "license": entry.license,
        "size": entry.size,
        "input": list(entry.model.input.size),
        "description": entry.description,
        "source": source and source.url,
        "pulled": is_pulled(entry, folder / entry.name),
        "files": [file.model_dump(mode="json") for file in entry.files],
    }
