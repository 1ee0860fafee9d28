"""`edge-vision models pull NAME`: fetches a public model and makes a bundle of it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from edge_vision.models.catalog.entries import Entry
    from edge_vision.models.catalog.pull import Get

_KILO = 1000


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "pull",
        help="fetch a model of the catalogue and make a bundle of it",
        epilog="Exit codes: 0 done, 70 a file could not be fetched (what came is kept: call it again), 78 unknown "
        "model, a folder that exists, or a wrong catalogue. A mirror has <name>/<file> for every file.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="as `edge-vision models list` shows it")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="make the bundle here (default: models/NAME)"
    )
    where.add_argument(
        "--to-mirror", type=Path, metavar="DIR", help="only put the files into a mirror, such as a stick"
    )
    parser.add_argument(
        "--mirror", metavar="DIR|URL", help="take the files from this folder or http(s) address, and nowhere else"
    )
    parser.add_argument("--catalog", type=Path, metavar="FILE", help="a catalogue of your own")
    parser.set_defaults(run=_pull)


def _pull(options: argparse.Namespace) -> int:
    from edge_vision.models.catalog.entries import SHIPPED, read_catalog
    from edge_vision.models.catalog.pull import getter

    if options.output is not None and len(options.names) > 1:
        msg = f"--output names one folder, but {len(options.names)} models are asked for"
        raise ConfigError(msg)
    catalog = read_catalog(options.catalog or SHIPPED)
    entries = [catalog.entry(name) for name in options.names]
    get = getter(options.mirror)
    for entry in entries:
        if options.to_mirror is not None:
            _into_mirror(entry, options.to_mirror, get)
        else:
            _into_bundle(entry, options.output or Path("models") / entry.name, get)
    return EXIT_DONE


def _into_mirror(entry: "Entry", mirror: Path, get: "Get") -> None:
    from edge_vision.models.catalog.pull import fill_mirror

    folder = fill_mirror(entry, mirror, get, _kilobytes())
    print(f"{folder}: {_files(entry)}; take them with: edge-vision models pull {entry.name} --mirror {mirror}")


def _into_bundle(entry: "Entry", target: Path, get: "Get") -> None:
    from edge_vision.models.catalog.pull import pull

    pull(entry, target, get, _kilobytes())
    source = entry.model.source
    assert source is not None
    print(f"{target}: {_files(entry)}, {source.license}, from {source.url}")
    print(f"not proven yet; to prove it: edge-vision models golden {target} --images DIR --labels coco.json")


def _files(entry: "Entry") -> str:
    count = len(entry.files)
    return f"{count} file{'s' if count > 1 else ''}, {megabytes(entry.size)}"


def megabytes(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1e6:.1f} MB"


def _kilobytes() -> Callable[[int, int], None]:
    """A bar that moves once per kilobyte."""
    draw = bar("kB")
    last = -1

    def progress(done: int, expected: int) -> None:
        nonlocal last
        now = -(-done // _KILO)
        if now != last:
            last = now
            draw(now, -(-expected // _KILO))

    return progress
