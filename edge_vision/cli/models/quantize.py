"""`edge-vision models quantize BUNDLE`: makes an int8 file, and says what it gains and costs."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.reading import bundle_at, number
from edge_vision.cli.models.verify import EXIT_FAILED
from edge_vision.core.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from edge_vision.models.bundle import Bundle
    from edge_vision.models.making.quantize import Attempt, Quantized
    from edge_vision.models.proof.evaluate import Exam

_MOST = 300


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.models.making.quantize import QUANTIZERS

    parser = subparsers.add_parser(
        "quantize",
        help="make an int8 file, prove it, and measure what it gains and costs",
        epilog="The gate decides with the tolerance of int8 (parity: in model.yaml): first every layer is quantized, "
        "then less and less. Exit codes: 0 written, 1 no attempt passed and nothing is written, 78 wrong input.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="pictures to calibrate with; may be given several times",
    )
    parser.add_argument(
        "--most",
        type=number(int, 1, 100_000),
        default=_MOST,
        metavar="N",
        help="calibrate with so many pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="coco.json", help="labels to measure average precision on, before and after"
    )
    parser.add_argument(
        "--test-images", type=Path, metavar="DIR", help="the labeled pictures (default: the first --images)"
    )
    parser.add_argument(
        "--with", dest="tool", choices=list(QUANTIZERS), default=next(iter(QUANTIZERS)), help="default: %(default)s"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NEW", help="folder of the new bundle")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_quantize)


def _quantize(options: argparse.Namespace) -> int:
    from edge_vision.models.making.calibration import pick_pictures
    from edge_vision.models.making.derive import refuse_existing
    from edge_vision.models.making.quantize import Order, quantize

    bundle = bundle_at(options.bundle)
    refuse_existing(options.output)
    pictures = pick_pictures(tuple(options.images), options.most)
    exam = _exam(bundle, options)
    shared = len({picture.name for picture in pictures} & {picture.name for picture in exam.pictures}) if exam else 0
    if not options.json:
        print(f"{bundle.spec.name}: {options.tool}, {len(pictures)} pictures to calibrate with")
        if shared:
            print(f"{shared} of the labeled pictures calibrate too: the accuracy after may look better than it is")
    done = quantize(bundle, Order(options.tool, pictures, exam, options.output), _ignore if options.json else _print)
    if options.json:
        facts = {"model": bundle.spec.name, "passed": done.passed, "calibrated": len(pictures), "shared": shared}
        print(json.dumps({**facts, **asdict(done)}, indent=2))
    else:
        _conclude(done, options.output)
    return EXIT_DONE if done.passed else EXIT_FAILED


def _exam(bundle: "Bundle", options: argparse.Namespace) -> "Exam | None":
    from edge_vision.models.proof.evaluate import set_exam

    if options.labels is None:
        if options.test_images is not None:
            msg = f"--test-images {options.test_images}: needs --labels, what is in the pictures"
            raise ConfigError(msg)
        return None
    return set_exam(bundle, options.labels, options.test_images or options.images[0])


def _print(attempt: "Attempt") -> None:
    if attempt.failure:
        print(f"  {attempt.scope}: {attempt.failure}", flush=True)
        return
    accuracy = "" if attempt.accuracy is None else f"; {attempt.accuracy}"
    print(f"  {attempt.scope}: {attempt.size / 1e6:.2f} MB{accuracy}", flush=True)
    for row in attempt.rows:
        agreement = row.verdict and row.verdict.agreement
        print(f"    {row.backend}: {'passed' if row.passed else 'refused'}: {row.reason or agreement}", flush=True)


def _ignore(attempt: "Attempt") -> None:
    del attempt


def _conclude(done: "Quantized", target: Path) -> None:
    if all(attempt.failure for attempt in done.attempts):
        print(f"nothing is written: {done.maker} could not quantize it at all")
        return
    if done.paces is None:
        print(f"nothing is written: no attempt sees what the reference sees on {done.backend} within the tolerance")
        return
    last = done.attempts[-1]
    print(f"{target}: {done.name} beside {done.source}, by {done.maker}")
    print(f"size: {done.source_size / 1e6:.2f} -> {last.size / 1e6:.2f} MB ({last.size / done.source_size:.0%})")
    plain, small = done.paces
    print(
        f"speed on {done.backend}: {plain.infer_p50:.2f} -> {small.infer_p50:.2f} ms per inference "
        f"({plain.infer_mean / small.infer_mean:.2f} times as fast), taken in turns"
    )
    if small.infer_mean >= plain.infer_mean:
        print("  int8 is not faster on this machine: keep it for its size, or for a machine where it is")
    if done.accuracy is not None and last.accuracy is not None:
        change = last.accuracy.ap - done.accuracy.ap
        print(f"accuracy: {done.accuracy}  ->  {last.accuracy}  (AP {change:+.4f})")
