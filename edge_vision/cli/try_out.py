"""`edge-vision try IMAGE|CLIP|FOLDER`: draws what a pipeline sees, and says what happened."""

import argparse
import sys
from pathlib import Path
from typing import Any

from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE, EXIT_GAVE_UP


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("try", help="draw what a pipeline sees in a picture, a clip or a folder of pictures")
    parser.add_argument("input", type=Path, metavar="IMAGE|CLIP|FOLDER")
    parser.add_argument("--pipeline", default="object_detection", metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="the model bundle: short for --with model=FOLDER")
    parser.add_argument(
        "--with", dest="settings", action="append", default=[], metavar="KEY=VALUE",
        help="a value for what the pipeline exposes, as YAML; may be given several times",
    )  # fmt: skip
    parser.add_argument("--events", type=Path, metavar="FILE.jsonl", help="write the messages of events to a file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="out.png|mp4|FOLDER")
    parser.set_defaults(run=_try)


def _try(options: argparse.Namespace) -> int:
    from edge_vision.app.check import check_pipeline
    from edge_vision.app.preview import Preview, run_preview

    wrong = _wrong_output(options.input, options.output) or _wrong_events(options)
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    given = [] if options.model is None else [("model", str(options.model))]
    stages, bundles = check_pipeline(options.pipeline, given, options.settings)
    seen = run_preview(Preview(options.input, options.output, stages, bundles, options.events), bar("frames"))
    counts = ", ".join(f"{count} {label}" for label, count in seen.objects.most_common()) or "nothing"
    frames = "1 frame" if seen.frames == 1 else f"{seen.frames} frames"
    print(f"{options.output}: {frames} on {seen.backends}; saw {counts}")
    for line in seen.lines():
        print(line)
    return EXIT_DONE if seen.frames else EXIT_GAVE_UP


def _wrong_output(source: Path, target: Path) -> str:
    """Why the drawing of an input cannot go there, or nothing."""
    from edge_vision.app.preview import VIDEO_SUFFIXES, is_picture

    if target.resolve() == source.resolve():
        return f"{target}: is the input; write to another file"
    if source.is_dir():
        return f"{target}: is a file; pictures of a folder go to a folder" if target.is_file() else ""
    if not is_picture(target) and target.suffix.lower() not in VIDEO_SUFFIXES:
        return f"{target}: write to a picture (.png, .jpg) or a clip (.mp4, .avi)"
    if is_picture(target) and not is_picture(source):
        return f"{target}: a clip goes to a clip: name it .mp4 or .avi"
    if is_picture(source) and not is_picture(target):
        return f"{target}: a picture goes to a picture: name it .png or .jpg"
    return ""


def _wrong_events(options: argparse.Namespace) -> str:
    taken = {options.input.resolve(), options.output.resolve()}
    if options.events is not None and options.events.resolve() in taken:
        return f"{options.events}: is the input or the drawing; write events to another file"
    return ""
