"""`edge-vision models verify BUNDLE`: which runtimes of this machine see what the reference saw."""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.reading import bundle_at, file_width
from edge_vision.core.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from edge_vision.models.bundle import Bundle
    from edge_vision.models.proof.verify import Row

EXIT_FAILED = 1
"""A runtime that was asked for did not pass."""


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.inference.table import BACKENDS

    parser = subparsers.add_parser(
        "verify",
        help="prove runtimes on golden data, with figures",
        epilog="Exit codes: 0 every runtime asked for passed, 1 one failed, 78 the bundle is wrong. Without --backend "
        "and --all-backends those are asked for that work here and read one of the files.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--backend", action="append", choices=list(BACKENDS), help="this one; may be given several times"
    )
    which.add_argument("--all-backends", action="store_true", help="every one, also those that cannot run here")
    parser.add_argument(
        "--precision",
        action="append",
        choices=["f32", "f16", "bf16", "int8"],
        help="default: f32, and int8 if there is",
    )
    parser.add_argument("--device", help="in a runtime's words, such as GPU; default: each runtime's own")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.verify import verify

    bundle = bundle_at(options.bundle)
    golden = bundle.golden
    if golden is None:
        msg = (
            f"{options.bundle}: has no golden data; make some: edge-vision models golden {options.bundle} --images DIR"
        )
        raise ConfigError(msg)
    precisions = options.precision or sorted(
        {"int8" if file.precision == "int8" else "f32" for file in bundle.spec.files}
    )
    if not options.json:
        truth = golden.file.verified
        shown = f"verified against {truth.source}: {truth.figure}" if truth else "unverified: made without ground truth"
        print(f"{bundle.spec.name}: {len(golden.file.images)} golden pictures, {golden.objects} objects, {shown}")
    columns = _columns(bundle)
    if not options.json:
        print(columns.format(*_HEAD))
    tell = _nothing if options.json else partial(_print, columns)
    rows = verify(bundle, golden, options.backend or list(BACKENDS), precisions, tell, options.device)
    named = options.backend or options.all_backends
    judged = [row for row in rows if named or row.file]
    serve = {(row.backend, row.asked) for row in judged if row.passed}
    # A file that a runtime cannot load is no failure where it has another one; seeing something else always is.
    failed = [row for row in judged if not row.passed and (row.verdict or (row.backend, row.asked) not in serve)]
    if options.json:
        print(
            json.dumps(
                {"model": bundle.spec.name, "proof": bundle.proof, "rows": [_facts(row) for row in rows]}, indent=2
            )
        )
    if not judged and not options.json:
        print("no runtime of this machine can read it")
    return EXIT_DONE if judged and not failed else EXIT_FAILED


_HEAD = (
    "runtime",
    "file",
    "prec.",
    "tensor",
    "objects",
    "missed",
    "extra",
    "near",
    "overlap",
    "score",
    "quality",
    "verdict",
)


def _columns(bundle: "Bundle") -> str:
    return f"{{:<13}}{{:<{file_width(bundle)}}}{{:<6}}{{:>7}}{{:>9}}{{:>8}}{{:>7}}{{:>6}}{{:>9}}{{:>8}}{{:>9}}  {{}}"


def _print(columns: str, row: "Row") -> None:
    agreement = None if row.verdict is None else row.verdict.agreement
    figures = [""] * 7
    if agreement is not None:
        figures = [
            f"{agreement.found}/{agreement.reference}", str(agreement.missed), str(agreement.extra),
            str(agreement.borderline),
            f"{agreement.mean_iou:.4f}", f"{agreement.score_diff:.4f}", f"{agreement.quality:.4f}",
        ]  # fmt: skip
    tensor = "" if row.verdict is None else f"{row.verdict.tensor_levels:.2f}"
    verdict = "passed" if row.passed else f"{'failed' if row.file else 'not here'}: {row.reason}"
    print(columns.format(row.backend, row.file, row.precision, tensor, *figures, verdict), flush=True)


def _nothing(row: "Row") -> None:
    del row


def _facts(row: "Row") -> dict[str, Any]:
    return {**asdict(row), "passed": row.passed}
