"""`edge-vision models show BUNDLE`: what is in a bundle, who can read it here, and what is known of it."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_vision.cli.models.reading import bundle_at
from edge_vision.core.errors import EXIT_DONE

_SHOWN_LABELS = 8


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("show", help="say what is in a bundle and which runtimes can read it here")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_show)


def _show(options: argparse.Namespace) -> int:
    from edge_vision.models.contents import contents

    facts = contents(bundle_at(options.bundle))
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        _print(facts)
    return EXIT_DONE


def _print(facts: Mapping[str, Any]) -> None:
    labels = facts["labels"]
    more = f", ... {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    named = f"{len(labels)} labels: {', '.join(labels[:_SHOWN_LABELS])}{more}" if labels else "no labels"
    print(f"{facts['name']}: {facts['task']}, {named}")
    for file in facts["files"]:
        print(f"{file['path']}: {file['format']}, weights in {file['precision']}")
        for part in file["parts"]:
            print(f"  {part['path']}  {part['bytes']} bytes  sha256 {part['sha256']}")
        readers = [name for name, answer in file["runtimes"].items() if answer == "yes"]
        print(f"  read here by {', '.join(readers) or 'nothing'}")
        for name, answer in file["runtimes"].items():
            if answer != "yes" and not answer.startswith("does not read"):
                print(f"  not by {name}: {answer}")
    for section in ("input", "output", "thresholds", "proof", "source", "evaluation"):
        said = facts[section]
        print(f"{section}: {'nothing known' if said is None else _line(said)}")


def _line(said: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_word(value)}" for key, value in said.items() if value is not None)


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"[{', '.join(map(_word, value))}]" if isinstance(value, list) else str(value)
