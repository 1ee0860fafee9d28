"""Holds what a pipeline counted against what a person counted: across lines, in zones, and how many there were when."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from edge_vision.core.document import Document, DocumentError, Place, Problem, read_document
from edge_vision.core.errors import ConfigError
from edge_vision.core.events import Count, Event, LineCrossed, ZoneEntered, ZoneLeft
from edge_vision.core.options import Integer, Number, Options
from edge_vision.core.schema_errors import did_you_mean, validate

_Many: TypeAlias = Annotated[Integer, Field(ge=0)]
_Ways: TypeAlias = Annotated[dict[Literal["in", "out"], _Many], Field(min_length=1)]


def _in_order(timeline: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    for (before, many), (after, more) in pairwise(timeline):
        if after <= before or many == more:
            msg = f"each change is later than the one before, and to another number: [{after:g}, {more}] is not"
            raise ValueError(msg)
    return timeline


Timeline: TypeAlias = Annotated[
    tuple[tuple[Annotated[Number, Field(ge=0)], _Many], ...], Field(min_length=1), AfterValidator(_in_order)
]
"""[seconds, how many there are from then on], one after the other."""


class ExpectedLine(Options):
    """How often a line was crossed, in each direction that is given."""

    total: _Ways | None = Field(None, description="Of all classes.")
    classes: dict[str, _Ways] = Field(default_factory=dict, description="By class.")


class ExpectedZone(Options):
    """How many came into a zone, and how many left it."""

    entered: _Many | None = Field(None, description="How many came in.")
    left: _Many | None = Field(None, description="How many went out.")


class CountsFile(Options):
    """What a person counted in a clip."""

    version: Literal[1] = Field(description="Version of this format.")
    lines: dict[str, ExpectedLine] = Field(default_factory=dict, description="By name of the line.")
    zones: dict[str, ExpectedZone] = Field(default_factory=dict, description="By name of the zone.")
    picture: Timeline | None = Field(None, description="How many there are in the picture, from when on.")
    count_zones: dict[str, Timeline] = Field(default_factory=dict, description="The same in zones of the count stage.")
    within_s: Number = Field(1.0, ge=0, le=3600, description="How far a change may be from when it was seen by eye.")

    @model_validator(mode="after")
    def _something(self) -> "CountsFile":
        if not (self.lines or self.zones or self.picture or self.count_zones):
            msg = "expects nothing: give lines, zones, picture or count_zones"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Row:
    """What was counted beside what should have been; `at_s` is when, and `expected_s` when it should have been."""

    what: str
    expected: int | None
    counted: int | None
    expected_s: float | None = None
    at_s: float | None = None

    @property
    def equal(self) -> bool:
        """Whether they are the same."""
        return self.expected == self.counted


def read_counts(file: Path, stages: Sequence[Options]) -> CountsFile:
    """A file of expected counts, for a pipeline of these stages. Raises ConfigError with file, line and column."""
    try:
        document, problems = read_document(file)
    except DocumentError as error:
        raise ConfigError(str(error.problem)) from error
    expected, found = validate(document, CountsFile)
    problems += found
    if expected is not None:
        problems += _unknown(document, expected, stages)
    if problems or expected is None:
        raise ConfigError([str(problem) for problem in sorted(problems)])
    return expected


def _unknown(document: Document, expected: CountsFile, stages: Sequence[Options]) -> Iterator[Problem]:
    """Names that the pipeline does not have would be counted as nothing for ever."""
    for key, kind, option in (
        ("lines", "lines", "lines"),
        ("zones", "zones", "zones"),
        ("count_zones", "count", "zones"),
    ):
        known = {name for stage in stages if getattr(stage, "kind", "") == kind for name in getattr(stage, option)}
        for name in getattr(expected, key):
            if name not in known:
                place: Place = (key, name)
                what = f"the pipeline has no such {key[:-1].replace('_', ' ')}{did_you_mean(name, known)}"
                yield document.problem(place, what, at_key=True)
    whole = any(getattr(stage, "kind", "") == "count" and not getattr(stage, "zones", None) for stage in stages)
    if expected.picture is not None and not whole:
        yield document.problem(
            ("picture",), "the pipeline does not count the whole picture: it has no count stage without zones"
        )


def compare(expected: CountsFile, told: Sequence[tuple[float, Event]]) -> list[Row]:
    """Every expectation beside what was told, by second of the clip; counts that nobody expected have rows, too."""
    events = [event for _, event in told]
    crossed = Counter(
        (one.line, one.direction, label)
        for one in events
        if isinstance(one, LineCrossed)
        for label in (None, one.class_name)
    )
    came = Counter(one.zone for one in events if isinstance(one, ZoneEntered))
    went = Counter(one.zone for one in events if isinstance(one, ZoneLeft))
    rows: list[Row] = []
    for line, counts in expected.lines.items():
        for label, ways in ((None, counts.total or {}), *counts.classes.items()):
            of = "" if label is None else f" {label}"
            rows += [Row(f"line {line}{of} {way}", many, crossed[line, way, label]) for way, many in ways.items()]
    for zone, visits in expected.zones.items():
        pairs = (("entered", visits.entered, came), ("left", visits.left, went))
        rows += [Row(f"zone {zone} {what}", many, counted[zone]) for what, many, counted in pairs if many is not None]
    timelines: dict[str | None, Timeline] = dict(expected.count_zones.items())
    if expected.picture is not None:
        timelines[None] = expected.picture
    for place, timeline in timelines.items():
        changes = [(at, one.total) for at, one in told if isinstance(one, Count) and one.zone == place]
        rows += _along("picture" if place is None else f"count zone {place}", timeline, changes, expected.within_s)
    return rows


def _along(
    what: str, timeline: Sequence[tuple[float, int]], told: Sequence[tuple[float, int]], within_s: float
) -> Iterator[Row]:
    """Each change that is expected with the one that was told for it, and those that were told for none."""
    numbers = [None, *(many for _, many in told)]
    changes = [one for before, one in zip(numbers, told, strict=False) if before != one[1]]
    for at, many in timeline:
        fits = [one for one in changes if one[1] == many and abs(one[0] - at) <= within_s]
        best = min(fits, key=lambda one: abs(one[0] - at), default=None)
        if best is None:
            yield Row(what, many, None, at)
        else:
            changes.remove(best)
            yield Row(what, many, many, at, best[0])
    for at, many in changes:
        yield Row(what, None, many, None, at)
