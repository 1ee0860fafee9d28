"""Reads the bundle that a command line names."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge_vision.core.errors import ConfigError

if TYPE_CHECKING:
    from edge_vision.models.bundle import Bundle


NumberT = TypeVar("NumberT", int, float)


def number(kind: type[NumberT], least: float, most: float) -> Callable[[str], NumberT]:
    """What argparse reads a number within limits with."""

    def read(text: str) -> NumberT:
        try:
            value = kind(text)
        except ValueError:
            value = kind(least - 1)
        if not least <= value <= most:
            msg = f"must be a{' whole' if kind is int else ''} number from {least:.10g} to {most:.10g}, not {text!r}"
            raise argparse.ArgumentTypeError(msg)
        return value

    return read


def bundle_at(folder: Path, *, golden: bool = True) -> "Bundle":
    """The bundle in a folder. Raises ConfigError with everything that is wrong with it."""
    from edge_vision.models.bundle import read_bundle

    bundle, problems = read_bundle(folder, golden=golden)
    if bundle is None:
        raise ConfigError([str(problem) for problem in sorted(problems)])
    return bundle


def file_width(bundle: "Bundle") -> int:
    """How wide a column of its files must be."""
    return max(28, *(len(bundle.path_of(file)) + 2 for file in bundle.spec.files))
