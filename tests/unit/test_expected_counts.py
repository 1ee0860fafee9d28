"""Checks how counts are held against those of a person."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tracks import OPTIONS

from edge_vision.core.errors import ConfigError
from edge_vision.core.events import Count, Event, LineCrossed, ZoneEntered, ZoneLeft
from edge_vision.models.proof.counts import CountsFile, compare, read_counts

STAGES = [
    OPTIONS.validate_python({"kind": "lines", "lines": {"gate": [[0, 0], [1, 1]]}}),
    OPTIONS.validate_python({"kind": "zones", "zones": {"bay": [[0, 0], [1, 0], [1, 1]]}}),
    OPTIONS.validate_python({"kind": "count"}),
]


def _expected(**content: Any) -> CountsFile:
    return CountsFile.model_validate({"version": 1, **content})


def _number(total: int, zone: str | None = None) -> Event:
    return Count(zone=zone, total=total, by_class={"bottle": total}, reason="change")


def _crossed(direction: Any, label: str) -> Event:
    none = {"in": 0, "out": 0}
    return LineCrossed(line="gate", direction=direction, class_name=label, track_id=1, counts=none, class_counts=none)


def test_lines_and_zones_are_compared_by_direction_and_class() -> None:
    """What is not given is not compared."""
    told: list[tuple[float, Event]] = [(1.0, _crossed("in", "car")), (2.0, _crossed("in", "bus"))]
    told += [(3.0, ZoneEntered(zone="bay", class_name="car", track_id=1, occupancy=1))]
    told += [(4.0, ZoneLeft(zone="bay", class_name="car", track_id=1, occupancy=0, dwell_s=1.0))]
    gate = {"total": {"in": 2, "out": 0}, "classes": {"car": {"in": 2}}}
    rows = compare(_expected(lines={"gate": gate}, zones={"bay": {"entered": 1}}), told)
    assert [(row.what, row.expected, row.counted, row.equal) for row in rows] == [
        ("line gate in", 2, 2, True),
        ("line gate out", 0, 0, True),
        ("line gate car in", 2, 1, False),
        ("zone bay entered", 1, 1, True),
    ]


@pytest.mark.parametrize(
    "told, expected",
    [
        ([(0.5, 3), (10.9, 2)], [(3, 3), (2, 2)]),
        ([(0.5, 3), (11.1, 2)], [(3, 3), (2, None), (None, 2)]),  # too late
        ([(0.5, 3), (5.0, 4), (5.5, 3), (10.2, 2)], [(3, 3), (2, 2), (None, 4), (None, 3)]),  # two too many
        ([(0.5, 3)], [(3, 3), (2, None)]),  # never
        ([(0.5, 3), (4.0, 3), (10.0, 2), (12.0, 2)], [(3, 3), (2, 2)]),  # said again is no change
        ([], [(3, None), (2, None)]),
    ],
)
def test_every_change_has_its_time(
    told: list[tuple[float, int]], expected: list[tuple[int | None, int | None]]
) -> None:
    """Three from the start, two from 10 s on, each within a second; what nobody expected has a row, too."""
    rows = compare(_expected(picture=[[0, 3], [10, 2]]), [(at, _number(many)) for at, many in told])
    assert [(row.expected, row.counted) for row in rows] == expected


def test_a_zone_has_a_timeline_of_its_own() -> None:
    """What is counted elsewhere is not its number."""
    told = [(0.1, _number(5)), (0.2, _number(1, "bay")), (0.3, _number(2, "dock"))]
    rows = compare(_expected(count_zones={"bay": [[0, 1]]}), told)
    assert [(row.what, row.expected, row.counted, row.at_s) for row in rows] == [("count zone bay", 1, 1, 0.2)]


@pytest.mark.parametrize(
    "content, words",
    [
        ({}, "expects nothing"),
        ({"lines": {"gaet": {"total": {"in": 1}}}}, "lines.gaet: the pipeline has no such line; did you mean gate?"),
        ({"zones": {"dock": {"entered": 1}}}, "zones.dock: the pipeline has no such zone"),
        ({"count_zones": {"bay": [[0, 1]]}}, "count_zones.bay: the pipeline has no such count zone"),
        ({"lines": {"gate": {"total": {"up": 1}}}}, "must be one of in, out"),
        ({"lines": {"gate": {"total": {"in": -1}}}}, "must be at least 0, not -1"),
        ({"picture": [[0, 1], [0, 2]]}, "each change is later than the one before"),
        ({"picture": [[0, 1], [5, 1]]}, "and to another number: [5, 1] is not"),
        ({"timeline": [[0, 1]]}, "unknown key"),
    ],
)
def test_what_cannot_be_expected_is_refused(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With file and line, before anything runs."""
    file = tmp_path / "counts.yaml"
    file.write_text(yaml.safe_dump({"version": 1, **content}))
    with pytest.raises(ConfigError) as failed:
        read_counts(file, STAGES)
    assert words in str(failed.value)
    assert f"{file}:" in str(failed.value)


def test_a_picture_that_nobody_counts_has_no_timeline(tmp_path: Path) -> None:
    """A count stage with zones only, or none at all."""
    file = tmp_path / "counts.yaml"
    file.write_text("version: 1\npicture: [[0, 1]]\n")
    assert read_counts(file, STAGES).picture == ((0.0, 1),)
    with pytest.raises(ConfigError, match="the pipeline does not count the whole picture"):
        read_counts(file, STAGES[:2])
