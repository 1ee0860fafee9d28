"""`edge-vision models eval BUNDLE`: average precision on labeled pictures."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_vision.cli.models.reading import bundle_at, number
from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.inference.table import BACKENDS

    parser = subparsers.add_parser(
        "eval",
        help="measure average precision on labeled pictures",
        epilog="The whole road is measured: preprocessing, runtime, postprocessing. COCO's own evaluations count "
        "detections from a confidence of 0.01.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--coco", type=Path, required=True, metavar="annotations.json", help="what is in the pictures, in COCO's format"
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.add_argument(
        "--backend", choices=list(BACKENDS), help="the runtime (default: the first that can serve the model)"
    )
    parser.add_argument(
        "--precision", choices=["f32", "f16", "bf16", "int8"], default="f32", help="default: %(default)s"
    )
    parser.add_argument(
        "--confidence",
        type=number(float, 0, 1),
        default=0.01,
        metavar="C",
        help="count detections from here (default: 0.01)",
    )
    parser.add_argument(
        "--iou", type=number(float, 0, 1), metavar="X", help="overlap of doubles (default: the bundle's)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from edge_vision.core.protocols import LoadOptions
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.evaluate import evaluate, set_exam

    bundle = bundle_at(options.bundle)
    exam = set_exam(bundle, options.coco, options.images, options.confidence, options.iou)
    backends = [options.backend] if options.backend else list(BACKENDS)
    done = evaluate(bundle, exam, backends, LoadOptions(options.precision), bar("pictures"))
    limits = {"confidence": exam.thresholds.confidence, "iou": exam.thresholds.iou}
    if options.json:
        facts = {"model": bundle.spec.name, **asdict(done), **limits, "unlabeled": exam.unlabeled}
        print(json.dumps(facts, indent=2))
        return EXIT_DONE
    print(f"{bundle.spec.name}: {done.figures}")
    print(
        f"{done.backend} {done.device}, {done.file}, {done.precision}; {done.images} pictures, confidence from "
        f"{limits['confidence']:g}, doubles overlap by more than {limits['iou']:g}"
    )
    if exam.unlabeled:
        print(f"left out: {exam.unlabeled} pictures that {options.coco} does not know")
    return EXIT_DONE
