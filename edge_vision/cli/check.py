"""`edge-vision check SITE.yaml`: every mistake at once, each with its place."""

import argparse
from pathlib import Path
from typing import Any

from edge_vision.core.errors import EXIT_DONE

PROOFS = {
    "verified": "verified golden data",
    "unverified": "unverified golden data, made without ground truth: runtimes can only be shown to agree",
    "none": "no golden data: runtimes are not checked; make some with `edge-vision models golden`",
}
"""What `check` says of a model's golden data."""


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("check", help="say everything that is wrong with a site file, or nothing")
    parser.add_argument("site", type=Path, metavar="SITE.yaml")
    parser.add_argument("--resolved", action="store_true", help="print the site in full, for reading")
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from edge_vision.app.check import check_site
    from edge_vision.app.owed import outbox_folder
    from edge_vision.capture.table import lacking
    from edge_vision.config.explain import resolved_yaml

    checked = check_site(options.site)
    if options.resolved:
        print(f"# {options.site} in full, for reading: stages in the place of pipeline and with. Not a site file.")
        print(resolved_yaml(checked.site), end="")
    else:
        print(f"{options.site}: ok, cameras: {len(checked.site.cameras)}, models: {len(checked.bundles)}")
        for camera in checked.site.cameras:
            if missing := lacking(camera.source):
                print(f"camera {camera.id}: cannot be opened on this machine: {missing}")
        folder = outbox_folder(checked.site)
        if folder is not None:
            print(f"what may not be lost waits in {folder}")
        for bundle in checked.bundles.values():
            print(f"model {bundle.spec.name}: {PROOFS[bundle.proof]}")
    return EXIT_DONE
