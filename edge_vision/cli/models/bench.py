"""`edge-vision models bench BUNDLE`: how fast each runtime of this machine is, and whether it may serve."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.reading import bundle_at, file_width, number
from edge_vision.cli.models.verify import EXIT_FAILED
from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from edge_vision.models.proof.bench import Result


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.inference.table import BACKENDS

    parser = subparsers.add_parser(
        "bench",
        help="time the runtimes of this machine beside each other",
        epilog="They take turns on the golden pictures; one that sees something else than the reference is timed, but "
        "cannot win. Exit codes: 0 one may serve, 1 none, 78 the bundle is wrong.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--backend", action="append", choices=list(BACKENDS), help="this one; may be given several times"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=["f32", "f16", "bf16", "int8"],
        help="default: f32, and int8 if there is",
    )
    parser.add_argument(
        "--threads", type=number(int, 1, 256), default=1, metavar="N", help="per inference (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=number(float, 0.1, 3600), default=10.0, metavar="S", help="about so long (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from edge_vision.core.protocols import LoadOptions
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.bench import bench

    bundle = bundle_at(options.bundle)
    precisions = options.precision or sorted(
        {"int8" if file.precision == "int8" else "f32" for file in bundle.spec.files}
    )
    loads = [LoadOptions(precision, options.threads) for precision in precisions]
    results = bench(bundle, options.backend or list(BACKENDS), loads, options.seconds, bar("rounds"))
    if options.json:
        facts = {"model": bundle.spec.name, "proof": bundle.proof, "threads": options.threads}
        print(json.dumps({**facts, "results": [asdict(result) for result in results]}, indent=2))
    else:
        threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
        print(f"{bundle.spec.name}: milliseconds per frame, {threads} per inference")
        columns = f"{{:<13}}{{:<{file_width(bundle)}}}{{:<6}}{{:>8}}{{:>8}}{{:>8}}{{:>8}}{{:>8}}{{:>7}}  {{}}"
        print(columns.format(*_HEAD))
        for result in results:
            _print(columns, result)
    return EXIT_DONE if any(result.state in {"proven", "unproven"} for result in results) else EXIT_FAILED


_HEAD = ("runtime", "file", "prec.", "infer", "p95", "road", "p95", "cpu", "ratio", "what it sees")


def _print(columns: str, result: "Result") -> None:
    pace, agreement = result.pace, result.verdict and result.verdict.agreement
    figures = ["", "", "", "", ""]
    if pace is not None:
        values = (pace.infer_p50, pace.infer_p95, pace.road_p50, pace.road_p95, pace.cpu)
        figures = [f"{value:.2f}" for value in values]
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}"
    sees = f"{result.state}: {result.reason or agreement}" if result.reason or agreement else result.state
    print(columns.format(result.backend, result.file, result.precision, *figures, ratio, sees))
