"""Every stage keeps the contract of `Stage`; a new row of STAGES without a line here fails."""

from typing import Any

import numpy as np
import pytest
from crops import SayingNetwork
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import STAGES, build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.events import Count
from edge_vision.core.scene import Scene, ServedModel
from edge_vision.publish.wire import Wire
from edge_vision.testing.contracts import check_stage, check_stage_goes_on
from edge_vision.testing.fakes import FakeClock, make_frame
from edge_vision.testing.hostile import hostile_scenes

LABELS = ("person", "car", "dog")
FLOOR = {"points": [[0, 1], [1, 1], [0.7, 0], [0.3, 0]], "meters": [[0, 0], [4, 0], [4, 9], [0, 9]]}
GIVEN: dict[str, list[dict[str, Any]]] = {
    "filter": [{}, {"classes": ["dog"]}, {"min_confidence": 0.5}, {"min_area_px": 50.0, "max_area_px": 5000.0}],
    "tracker": [{}, {"min_hits": 1}, {"min_hits": 1, "low": 0.0, "high": 0.0}],
    "lines": [{}, {"lines": {"gate": [[0.0, 0.5], [1.0, 0.5]]}, "classes": ["dog"], "anchor": "bottom", "period_s": 1}],
    "zones": [
        {},
        {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}},
        {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}, "min_s": 1},
    ],
    "cascade": [
        {"model": "m"},
        {"model": "m", "classes": ["dog"], "grow": 0.1, "most": 4},
        {"model": "m", "reads": 1, "min_side_px": 5, "pattern": "w1."},
    ],
    "count": [{}, {"stable_s": 0}, {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}, "stable_s": 0, "period_s": 1}],
    "dwell": [
        {},
        {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}},
        {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}, "limit_s": 9},
    ],
    "speed": [{}, {"limit_mps": 1.0}, {"calibration": FLOOR, "classes": ["dog"]}],
    "distance": [
        {},
        {"calibration": FLOOR},
        {"classes": ["dog"], "to": ["car"], "heights_m": {"dog": 0.6}},
    ],
    "proximity": [
        {},
        {"proximity_m": 1.0, "min_s": 0},
        {"proximity_m": 1.0, "machines": {"press": [[0, 0], [1, 0], [1, 1]]}, "calibration": FLOOR, "min_s": 0},
    ],
    "crowd": [{}, {"limit": 3, "min_s": 0}, {"zones": {"bay": [[0, 0], [1, 0], [1, 1]]}, "limit": 3, "min_s": 0}],
    "smooth": [{}, {"beta": 0}],
    "heatmap": [{}, {"columns": 1, "rows": 1, "half_life_s": 5}],
    "barcode": [{}, {"within": "objects", "classes": ["dog"], "kinds": ["qr", "aruco"], "effort": "low"}],
    "blur": [{}, {"classes": ["dog"], "method": "fill"}, {"always": {"desk": [[0, 0], [1, 0], [1, 1]]}}],
    "motion": [{}, {"method": "difference", "zone": [[0, 0], [1, 0], [1, 1]]}],
    "measure": [
        {},
        {"measures": {"light": {"kind": "brightness"}, "bar": {"kind": "caliper", "line": [[0, 0.5], [1, 0.5]]}}},
        {"measures": {"light": {"kind": "sharpness"}, "dots": {"kind": "blobs"}}, "classes": ["car"]},
    ],
    "inspect": [
        {},
        {"stable_s": 0, "counts": {"dog": {"min": 1}}},
        {"parts": ["person"], "max_coverage": 0.1, "min_brightness": 10, "measures": {"width_px": {"max": 9}}},
        {"parts": ["person"], "line": [[0.5, 0], [0.5, 1]], "texts": {"text": {"equals": "A"}}},
    ],
    "sort": [{}, {"top_k": 3, "stable_s": 0}],
}
CONTEXT = StageContext(LABELS, SayingNetwork(lambda image: (f"w{image.shape[1]}", 0.9)), frozenset({"text"}))
"""With a network that reads a text in everything it is shown."""
OPTIONS: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)


def _scene(count: int) -> Scene:
    random = np.random.default_rng(count)
    corner = random.uniform(0, 40, (count, 2))
    seen = Detections(
        np.concatenate([corner, corner + random.uniform(1, 20, (count, 2))], axis=1).astype(np.float32),
        np.sort(random.uniform(0, 1, count))[::-1].astype(np.float32),
        random.integers(0, 3, count).astype(np.int32),
        track_id=np.arange(1, count + 1, dtype=np.int32),
    )
    event = Count(zone=None, total=3, by_class={"dog": 3}, reason="change")
    model = ServedModel("m", "b", "d", "f32", LABELS)
    return Scene(make_frame(), seen, (event,), labels=LABELS, models=(model,))


def test_every_stage_is_tested_here() -> None:
    """A new row of STAGES comes with a line in this file."""
    assert set(STAGES) == set(GIVEN)


@pytest.mark.parametrize("kind, given", [(kind, given) for kind, rows in GIVEN.items() for given in rows])
@pytest.mark.parametrize("count", [0, 1, 25])
def test_a_stage_keeps_the_contract(kind: str, given: dict[str, Any], count: int) -> None:
    """It hands on the frame, changes nothing it was given, and two fresh ones agree.

    One that hands on another picture must say `covers`: else clips would show what it hides.
    """
    options = OPTIONS.validate_python({"kind": kind, **given})
    after = check_stage(lambda: build_stage(options, CONTEXT), _scene(count), repaints=options.covers)
    assert len(after.detections) <= count


CASES = [(kind, given) for kind, rows in GIVEN.items() for given in rows]


@pytest.mark.parametrize("kind, given", CASES)
def test_a_stage_bears_what_comes(kind: str, given: dict[str, Any]) -> None:
    """One bad frame does not take the camera down, nor does what a stage made of it keep the message from going out."""
    options = OPTIONS.validate_python({"kind": kind, **given})
    scenes = [scene for _, scene in hostile_scenes(LABELS)]
    after = check_stage_goes_on(lambda: build_stage(options, CONTEXT), scenes, repaints=options.covers)
    wire = Wire("site", "boot", FakeClock())
    for scene in after:
        assert wire.detections(scene).body
        wire.events(scene)
