"""`edge-vision schema`: the JSON schema of the files people write, for completion in editors."""

import argparse
import json
from typing import Any

from edge_vision.core.errors import EXIT_DONE
from edge_vision.core.options import Options


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("schema", help="print the JSON schema of site, pipeline, model or catalog files")
    parser.add_argument("what", nargs="?", choices=("site", "pipeline", "model", "catalog"), default="site")
    parser.set_defaults(run=_schema)


def _schema(options: argparse.Namespace) -> int:
    from edge_vision.config.options import PipelineFile, SiteFile
    from edge_vision.models.catalog.entries import CatalogFile
    from edge_vision.models.options import BundleFile

    models: dict[str, type[Options]] = {
        "site": SiteFile, "pipeline": PipelineFile, "model": BundleFile, "catalog": CatalogFile,
    }  # fmt: skip
    model = models[options.what]
    body = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}
    print(json.dumps(body, indent=2))
    return EXIT_DONE
