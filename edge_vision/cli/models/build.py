"""`edge-vision models build SITE.yaml`: makes the engines of a site before it starts."""

import argparse
from pathlib import Path
from typing import Any

from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_CONFIG, EXIT_DONE

_COLUMNS = "{:<20} {:<28} {:<24} {:<6} {}"


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "build",
        help="build the engines of a site ahead of time",
        epilog="TensorRT engines and OpenVINO's cache go to the cache folder. Exit codes: 0 every model has a runtime "
        "here that is ready, 78 an engine could not be built, or a model has no runtime here.",
    )
    parser.add_argument("site", type=Path, metavar="SITE.yaml")
    parser.add_argument(
        "--precision", choices=["f32", "f16", "bf16", "int8"], help="in place of what the site file says"
    )
    parser.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> int:
    from edge_vision.app.ahead import build_ahead, complete
    from edge_vision.app.check import check_site
    from edge_vision.inference.tensorrt.engine_cache import engines_folder, entries

    rows = []
    site = check_site(options.site)
    print(_COLUMNS.format("model", "file", "runtime", "prec.", "result"))
    for row in build_ahead(site, options.precision, bar):
        rows.append(row)
        text = f"{row.state}: {row.text}"
        print(_COLUMNS.format(row.model, row.file or "-", row.backend, row.precision, text), flush=True)
    kept = entries()
    print(f"{engines_folder()}: {len(kept)} engines, {sum(entry.size for entry in kept) / 1e6:.1f} MB")
    return EXIT_DONE if complete(rows) else EXIT_CONFIG
