"""Checks that stages which do not fit each other or their models are found at `check`, with the line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo_site import PARTS

from edge_vision.app.check import check_site
from edge_vision.core.errors import ConfigError


def _problems(tmp_path: Path, write_site: Callable[..., Path], stages: list[dict[str, Any]]) -> list[str]:
    """What `check` says of a pipeline of these stages, a line each, from line 3 of the file on."""
    lines = [
        "version: 1",
        "stages:",
        *(f"  - {yaml.safe_dump(one, default_flow_style=True).strip()}" for one in stages),
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    site = write_site(cameras=[{"id": "a", "source": {"kind": "synthetic"}, "pipeline": "mine"}])
    try:
        check_site(site)
    except ConfigError as error:
        return [line.partition("mine.yaml:")[2] for line in error.problems]
    return []


NO_TRACKER = "needs track_id, which no stage before it gives: put a tracker before it"
NO_DETECTOR = "needs box, which no stage before it gives: put a detect stage before it"
DETECT = {"kind": "detect", "model": str(PARTS)}


@pytest.mark.parametrize(
    "stages, expected",
    [
        ([DETECT, {"kind": "tracker"}, {"kind": "lines"}], None),
        ([DETECT, {"kind": "lines"}], f"4:5: stages[1]: stage lines {NO_TRACKER}"),
        ([{"kind": "tracker"}], f"3:5: stages[0]: stage tracker {NO_DETECTOR}"),
        (
            [DETECT, {"kind": "zones", "name": "bay"}, {"kind": "tracker"}],
            f"4:5: stages[1]: stage bay {NO_TRACKER}",
        ),
        (
            [DETECT, {**DETECT, "name": "again"}],
            "4:5: stages[1]: a second detect stage would throw away what detect found: use a cascade",
        ),
        (
            [DETECT, {"kind": "tracker"}, {"kind": "inspect", "parts": ["bolt"], "counts": {"washers": {"min": 1}}}],
            "5:15: stages[2].counts.washers: the model has no label 'washers'; did you mean washer?",
        ),
        (
            [{"kind": "enhance"}, DETECT, {"kind": "inspect", "parts": ["bolt"]}],
            f"5:5: stages[2]: stage inspect {NO_TRACKER}",
        ),
        ([{"kind": "enhance"}, {"kind": "inspect", "measures": {"gap": {"min": 1}}}], None),
        (
            [DETECT, {"kind": "filter", "classes": ["bolts"]}],
            "4:16: stages[1].classes[0]: the model has no label 'bolts'; did you mean bolt?",
        ),
    ],
)
def test_a_stage_must_be_given_what_it_needs(
    tmp_path: Path, write_site: Callable[..., Path], stages: list[dict[str, Any]], expected: str | None
) -> None:
    """Said of the stage that lacks something, in the order of the pipeline."""
    assert _problems(tmp_path, write_site, stages) == ([] if expected is None else [expected])
