"""`edge-vision models golden BUNDLE`: makes the data that runtimes are proven with."""

import argparse
from pathlib import Path
from typing import Any

from edge_vision.cli.models.reading import bundle_at, number
from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("golden", help="make golden data: what the reference runtime sees in pictures")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="pictures like those it will see")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument("--labels", type=Path, metavar="coco.json", help="what is in the pictures, in COCO's format")
    truth.add_argument(
        "--expected", type=Path, metavar="FILE", help="what the training framework sees in them, as JSON"
    )
    parser.add_argument(
        "--most", type=number(int, 1, 256), default=8, metavar="N", help="keep so many pictures (default: %(default)s)"
    )
    parser.set_defaults(run=_golden)


def _golden(options: argparse.Namespace) -> int:
    from edge_vision.models.proof.record import Recording, record

    bundle = bundle_at(options.bundle, golden=False)
    recording = Recording(options.images, options.labels, options.expected, options.most)
    made = record(bundle, recording, bar("pictures"))
    objects = sum(image.objects for image in made.images)
    by = made.reference
    print(f"{options.bundle}/golden: {len(made.images)} pictures, {objects} objects, seen by {by.backend} {by.version}")
    if made.verified is None:
        print("unverified: made without ground truth, it proves only that runtimes agree (--labels or --expected)")
    else:
        print(f"verified against {made.verified.source}: {made.verified.figure}, {made.verified.images} pictures")
    return EXIT_DONE
