"""`edge-vision models convert BUNDLE`: a file in another format, proven before it is kept."""

import argparse
from pathlib import Path
from typing import Any

from edge_vision.cli.models.reading import bundle_at
from edge_vision.cli.models.verify import EXIT_FAILED
from edge_vision.core.errors import EXIT_DONE


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.models.making.convert import TARGETS

    parser = subparsers.add_parser(
        "convert",
        help="make a file in another format, proven before it is kept",
        epilog="Exit codes: 0 written, 1 it does not see the same and nothing is written, 78 wrong input.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--to", choices=list(TARGETS), required=True, help="the format")
    parser.add_argument(
        "--precision", choices=["f32", "f16"], default="f32", help="of the weights (default: %(default)s)"
    )
    parser.add_argument(
        "--tool", metavar="PROGRAM", help="the converter, where one is used (tflite: onnx2tf, by default that in PATH)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NEW", help="folder of the new bundle")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> int:
    from edge_vision.models.making.convert import Conversion, convert

    bundle = bundle_at(options.bundle)
    done = convert(bundle, Conversion(options.to, options.precision, options.tool, options.output))
    print(f"{bundle.spec.name}: {done.source} -> {done.name}, {done.size / 1e6:.2f} MB, by {done.maker}")
    for row in done.rows:
        agreement = row.verdict and row.verdict.agreement
        print(f"  {row.backend}: {'passed' if row.passed else 'refused'}: {row.reason or agreement}")
    if not done.passed:
        print("nothing is written: the new file does not see what the reference sees")
        return EXIT_FAILED
    if not done.rows:
        print("  not proven: no runtime of this machine reads it; the gate decides where it is to serve")
    print(f"{options.output}: written")
    return EXIT_DONE
