"""`edge-vision try IMAGE|VIDEO`: draws what a pipeline and a model see."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE, EXIT_GAVE_UP


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("try", help="draw what a pipeline and a model see in a picture or a clip")
    parser.add_argument("input", type=Path, metavar="IMAGE|VIDEO")
    parser.add_argument("--pipeline", default="object_detection", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--model", type=Path, required=True, metavar="FOLDER", help="the model bundle")
    parser.add_argument(
        "--with", dest="settings", action="append", default=[], metavar="KEY=VALUE",
        help="a value for what the pipeline exposes, as YAML; may be given several times",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="out.png|mp4")
    parser.set_defaults(run=_try)


def _try(options: argparse.Namespace) -> int:
    from edge_vision.app.check import check_pipeline
    from edge_vision.app.preview import VIDEO_SUFFIXES, Preview, is_picture, run_preview

    if not is_picture(options.output) and options.output.suffix.lower() not in VIDEO_SUFFIXES:
        print(f"{options.output}: write to a picture (.png, .jpg) or a clip (.mp4, .avi)", file=sys.stderr)
        return 2
    if is_picture(options.output) and not is_picture(options.input):
        print(f"{options.output}: a clip goes to a clip: name it .mp4 or .avi", file=sys.stderr)
        return 2
    if options.output.resolve() == options.input.resolve():
        print(f"{options.output}: is the input; write to another file", file=sys.stderr)
        return 2
    stages, bundles = check_pipeline(options.pipeline, options.model, options.settings)
    outcome = run_preview(Preview(options.input, options.output, stages, bundles), bar("frames"))
    counts = ", ".join(f"{count} {label}" for label, count in outcome.objects.most_common()) or "nothing"
    print(f"{options.output}: {outcome.frames} frames on {outcome.backend}; saw {counts}")
    return EXIT_DONE if outcome.frames else EXIT_GAVE_UP
