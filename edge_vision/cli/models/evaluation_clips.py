"""The part of `models eval` that takes a clip down a pipeline: tracks and counts."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE, ConfigError
from edge_vision.core.files import why_not_file

if TYPE_CHECKING:
    from edge_vision.core.events import Event
    from edge_vision.models.bundle import Bundle
    from edge_vision.models.proof.tracks import TrackScore

_PIPELINE: Final = "object_counting"
EXIT_DIFFERENT: Final = 1
"""Something was counted otherwise than expected."""


def evaluate_detections(options: argparse.Namespace) -> int:
    """The tracker alone, on what a detector saw."""
    from edge_vision.analytics.tracker import TrackerOptions
    from edge_vision.models.proof.tracks import follow, read_rows, score

    truth, seen = read_rows(options.tracks, known=True), read_rows(options.detections, known=False)
    found = score(truth, follow(seen, options.fps, TrackerOptions(kind="tracker")))
    return _print_tracks(found, f"the tracker on {options.detections}, {options.fps:g} frames per second", options)


def evaluate_tracks(options: argparse.Namespace) -> int:
    """A pipeline with a tracker on a clip."""
    from edge_vision.app.walk import walk
    from edge_vision.models.proof.tracks import read_rows, rows_of, score

    truth = read_rows(options.tracks, known=True)
    name, stages, bundles = _pipeline(options)
    if not any("track_id" in stage.gives(frozenset()) for stage in stages):
        msg = f"pipeline {name} has no tracker: there are no tracks to measure"
        raise ConfigError(msg)
    scenes = walk(options.clip, stages, bundles, bar("frames"))
    found = score(truth, rows_of([(number, scene.detections) for number, scene in enumerate(scenes, 1)]))
    return _print_tracks(found, f"{name} on {options.clip}", options)


def _print_tracks(found: "TrackScore", what: str, options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps({"of": what, **asdict(found)}, indent=2))
    else:
        print(found)
        print(what)
    return EXIT_DONE


def evaluate_counts(options: argparse.Namespace) -> int:
    """A pipeline that counts, on a clip; 1 when it counts otherwise than a person did."""
    from edge_vision.app.walk import walk
    from edge_vision.models.proof.counts import compare, read_counts

    name, stages, bundles = _pipeline(options)
    expected = read_counts(options.counts, stages)
    told: list[tuple[float, Event]] = []
    began_ns: int | None = None
    for scene in walk(options.clip, stages, bundles, bar("frames")):
        began_ns = scene.frame.media_ns if began_ns is None else began_ns
        told += [((scene.frame.media_ns - began_ns) / 1e9, event) for event in scene.events]
    rows = compare(expected, told)
    different = [row for row in rows if not row.equal]
    if options.json:
        facts = [{**asdict(row), "equal": row.equal} for row in rows]
        print(json.dumps({"of": f"{name} on {options.clip}", "different": len(different), "rows": facts}, indent=2))
    else:
        width = max(len(row.what) for row in rows) + 2
        print(f"{'':<{width}}{'expected':>9}{'counted':>9}")
        for row in rows:
            print(
                f"{row.what:<{width}}{_shown(row.expected):>9}{_shown(row.counted):>9}{_when(row.expected_s, row.at_s)}"
            )
        print(f"{name} on {options.clip}: {f'{len(different)} different' if different else 'all as expected'}")
    return EXIT_DIFFERENT if different else EXIT_DONE


def _shown(many: int | None) -> str:
    return "-" if many is None else str(many)


def _when(expected_s: float | None, at_s: float | None) -> str:
    """When it was told, beside when it was to be."""
    if expected_s is None:
        return "" if at_s is None else f"   told at {at_s:.2f} s"
    return f"   from {expected_s:.2f} s, {'not told' if at_s is None else f'told at {at_s:.2f} s'}"


def _pipeline(options: argparse.Namespace) -> tuple[str, Sequence[Any], "dict[Path, Bundle]"]:
    """The name, the stages and the bundles of the pipeline that is to be measured."""
    from edge_vision.app.check import check_pipeline

    if why := why_not_file(options.clip):
        msg = f"{options.clip}: {why}"
        raise ConfigError(msg)
    name = options.pipeline or _PIPELINE
    given = [] if options.bundle is None else [("model", str(options.bundle))]
    stages, bundles = check_pipeline(name, given, options.settings or [])
    return name, stages, bundles
