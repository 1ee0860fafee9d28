"""Reads the bundle that a command line names."""

from pathlib import Path
from typing import TYPE_CHECKING

from edge_vision.core.errors import ConfigError

if TYPE_CHECKING:
    from edge_vision.models.bundle import Bundle


def bundle_at(folder: Path, *, golden: bool = True) -> "Bundle":
    """The bundle in a folder. Raises ConfigError with everything that is wrong with it."""
    from edge_vision.models.bundle import read_bundle

    bundle, problems = read_bundle(folder, golden=golden)
    if bundle is None:
        raise ConfigError([str(problem) for problem in sorted(problems)])
    return bundle
