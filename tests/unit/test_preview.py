"""Checks that `try` finds the places of a pipeline, whatever its stages call them."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.places import Line, NamedLines, NamedZones, Polygon
from edge_vision.app.preview import _decoded, places_of
from edge_vision.core.errors import SourceError
from edge_vision.core.stages import StageOptions

OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)
SQUARE = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9))
OTHER = ((0.2, 0.2), (0.9, 0.1), (0.9, 0.9))
GATE = ((0.0, 0.5), (1.0, 0.5))


class _Options(StageOptions):
    """A stage with places of all kinds, and with what looks like places and is none."""

    kind: Literal["places"] = "places"
    line: Line | None = None
    zone: Polygon | None = None
    machines: NamedZones = Field(default_factory=dict)
    marks: NamedLines = Field(default_factory=dict)
    template: tuple[tuple[float, float], ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)


def _stage(kind: str, **options: Any) -> Any:
    return OPTIONS.validate_python({"kind": kind, **options})


def test_named_lines_and_zones_are_places() -> None:
    """The same zone in two stages is one; only the lines of a `lines` stage count."""
    stages = (
        _stage("filter", classes=["a"]),
        _stage("lines", lines={"gate": GATE}),
        _stage("zones", zones={"bay": SQUARE}),
        _stage("count", zones={"bay": SQUARE, "bay2": OTHER}),
    )
    places = places_of(stages)
    assert places.lines == {"gate": GATE}
    assert places.zones == {"bay": SQUARE, "bay2": OTHER}
    assert places.counted == {"gate"}


def test_places_have_many_names() -> None:
    """One line, one zone, or a mapping under any name; a template, figures and words are no places."""
    one = _Options(
        line=GATE,
        zone=SQUARE,
        machines={"press": OTHER},
        marks={"start": GATE},
        template=SQUARE,
        weights={"a": 1.0},
        names={"a": ("x", "y")},
        ranges={"a": (0.0, 1.0)},
    )
    places = places_of((one,))
    assert places.lines == {"line": GATE, "start": GATE}
    assert places.zones == {"zone": SQUARE, "press": OTHER}
    assert places.counted == frozenset()


def test_two_places_of_one_name_are_both_there() -> None:
    """Told apart by the option they stand under."""
    places = places_of((_stage("zones", zones={"bay": SQUARE}), _Options(machines={"bay": OTHER})))
    assert places.zones == {"bay": SQUARE, "machines bay": OTHER}


def test_a_picture_that_is_not_there_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In our words, without those that OpenCV would print beside them."""
    with pytest.raises(SourceError, match=r"none\.jpg: no such file"):
        _decoded(tmp_path / "none.jpg")
    assert capfd.readouterr().err == ""
