"""`edge-vision models import FILE -o BUNDLE`: makes a bundle of a model file, and says what it could not know."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.models.check import size
from edge_vision.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from edge_vision.models.intake.importing import Imported


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.postprocess.table import FORMATS

    parser = subparsers.add_parser(
        "import",
        help="make a bundle of a model file",
        epilog="Size, layout and output format are taken from the graph and from a trial run. What no file tells, such "
        "as the order of colors, is assumed, listed, and corrected with --set.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("-o", "--to", type=Path, required=True, metavar="BUNDLE", help="a folder that is not there yet")
    parser.add_argument("--name", help="default: the name of the file")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one per line, in order")
    parser.add_argument("--output", choices=list(FORMATS), help="output format; default: found by the outputs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="such as input.color=bgr")
    parser.add_argument("--input-size", type=size, metavar="W,H", help="for inputs whose sides are open or not told")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from edge_vision.models.intake.importing import Wishes, import_model

    wishes = Wishes(
        options.file, options.to, options.name, options.labels, options.output, tuple(options.set), options.input_size
    )
    _print(import_model(wishes), options.to)
    return EXIT_DONE


def _print(imported: "Imported", target: Path) -> None:
    print(imported.graph)
    for name, what in imported.runs.items():
        print(f"  {name:<13}{what}")
    print("found:")
    for key, value in imported.told.items():
        print(f"  {key}: {value}")
    if imported.tried:
        print("open axes, tried:")
        for line in imported.tried:
            print(f"  {line}")
    if imported.assumed:
        print("assumed, because no file tells it; if wrong, import again with --set KEY=VALUE:")
        for key, value in imported.assumed.items():
            print(f"  {key}: {value}")
    print(f"wrote {target}; what it sees is not proven yet:")
    truth = "labels coco.json" if imported.bundle.draws_boxes else "expected answers.json"
    print(f"  edge-vision models golden {target} --images DIR --{truth}")
