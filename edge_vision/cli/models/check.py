"""`edge-vision models check FILE|BUNDLE`: which runtimes of this machine can run a model, and which node stops one."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.reading import bundle_at
from edge_vision.core.errors import EXIT_CONFIG, EXIT_DONE, ConfigError, MissingLibraryError, ModelError

if TYPE_CHECKING:
    from edge_vision.models.intake.check import Report


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.inference.table import BACKENDS

    parser = subparsers.add_parser(
        "check",
        help="try model files and bundles on the runtimes of this machine",
        epilog="Exit codes: 0 every runtime that reads the format can run it (those of --backend, if given), 78 one "
        "cannot, or something is wrong with a file. Each file is tried in a process of its own.",
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="FILE|BUNDLE")
    parser.add_argument("--backend", action="append", choices=list(BACKENDS), help="this one; may be given again")
    parser.add_argument("--input-size", type=size, metavar="W,H", help="for inputs whose sides are open or not told")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_check)


def size(text: str) -> tuple[int, int]:
    """WIDTH,HEIGHT as two numbers."""
    try:
        width, height = (int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        msg = f"{text!r}: write WIDTH,HEIGHT"
        raise argparse.ArgumentTypeError(msg) from None
    if not (8 <= width <= 8192 and 8 <= height <= 8192):  # noqa: PLR2004 - as in model.yaml
        msg = f"{text!r}: sides are 8 to 8192"
        raise argparse.ArgumentTypeError(msg)
    return width, height


def _check(options: argparse.Namespace) -> int:
    problems: list[str] = []
    facts: list[dict[str, Any]] = []
    for path in options.models:
        try:
            reports = _reports(path, options)
        except (ConfigError, ModelError, MissingLibraryError) as error:
            found = str(error).splitlines()
            problems += found
            facts.append({"path": str(path), "problems": found})
            continue
        for report in reports:
            found = report.problems()
            problems += found
            rows = [{**asdict(row), "passed": row.passed} for row in report.rows]
            facts.append({"path": str(report.path), "format": report.graph.format, "rows": rows, "problems": found})
            if not options.json:
                _print(report)
    if options.json:
        print(json.dumps(facts, indent=2))
        for problem in problems:
            print(problem, file=sys.stderr)
    elif problems:
        raise ConfigError(problems)
    return EXIT_CONFIG if problems else EXIT_DONE


def _reports(path: Path, options: argparse.Namespace) -> "list[Report]":
    from edge_vision.models.intake.check import check_bundle, check_file

    if (path / "model.yaml").exists():
        return check_bundle(bundle_at(path), options.backend or [])
    return [check_file(path, options.backend or [], options.input_size)]


def _print(report: "Report") -> None:
    print(f"{report.path}: {report.graph}")
    for row in report.rows:
        node = f" at {row.node}" if row.node else ""
        print(f"  {row.backend:<13}{row.note or ('runs it' if row.passed else 'cannot run it')}{node}", flush=True)
