"""Every stage keeps the contract of `Stage`; a new row of STAGES without a line here fails."""

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import STAGES, build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.scene import Event, Scene, ServedModel
from edge_vision.testing.contracts import check_stage
from edge_vision.testing.fakes import NOON, make_frame

LABELS = ("person", "car", "dog")
GIVEN: dict[str, list[dict[str, Any]]] = {
    "filter": [{}, {"classes": ["dog"]}, {"min_confidence": 0.5}, {"min_area_px": 50.0, "max_area_px": 5000.0}],
}
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)


def _scene(count: int) -> Scene:
    random = np.random.default_rng(count)
    corner = random.uniform(0, 40, (count, 2))
    seen = Detections(
        np.concatenate([corner, corner + random.uniform(1, 20, (count, 2))], axis=1).astype(np.float32),
        np.sort(random.uniform(0, 1, count))[::-1].astype(np.float32),
        random.integers(0, 3, count).astype(np.int32),
        track_id=np.arange(count, dtype=np.int32),
    )
    event = Event("earlier", "cam", NOON, 0, {})
    return Scene(make_frame(), seen, (event,), model=ServedModel("m", "b", "d", "f32", LABELS))


def test_every_stage_is_tested_here() -> None:
    """A new row of STAGES comes with a line in this file."""
    assert set(STAGES) == set(GIVEN)


@pytest.mark.parametrize("kind, given", [(kind, given) for kind, rows in GIVEN.items() for given in rows])
@pytest.mark.parametrize("count", [0, 1, 25])
def test_a_stage_keeps_the_contract(kind: str, given: dict[str, Any], count: int) -> None:
    """It hands on the frame, changes nothing it was given, and two fresh ones agree."""
    options = OPTIONS.validate_python({"kind": kind, **given})
    after = check_stage(lambda: build_stage(options, LABELS), _scene(count))
    assert len(after.detections) <= count
