"""Checks what a road remembers when it is opened anew after a failure."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from edge_vision.app.check import check_pipeline
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.capture.conveyor import Conveyor
from edge_vision.capture.options import SyntheticOptions
from edge_vision.config.site import Camera, Site
from edge_vision.core.errors import InferenceError
from edge_vision.core.protocols import Stage
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_frame


@pytest.mark.parametrize("error, goes_on", [(InferenceError("too slow"), True), (ValueError("a mistake"), False)])
def test_tracks_go_on_after_a_runtime_failed_and_begin_anew_after_a_mistake(error: Exception, goes_on: bool) -> None:
    """Numbers are given once in a run, though a device failed a frame; a stage that may be broken is made anew."""
    model = str(ROOT / "configs/demo/parts")
    stages, bundles = check_pipeline("object_counting", [("model", model)], ["backends=[onnxruntime]"])
    camera = Camera("line", SyntheticOptions(kind="synthetic"), "object_counting", stages, 0)
    engines, clock = load_engines(Site(Path("test"), "test", (camera,), ()), bundles), SystemClock()
    image = np.empty((360, 640, 3), np.uint8)
    Conveyor((640, 360), 25.0).draw(200, image)
    kept: dict[int, Stage] = {}
    with pytest.raises(type(error)), open_road(camera, engines, clock, kept) as road:  # noqa: PT012 - it fails in use
        for number in range(5):
            before = road(make_frame(image, index=number)).detections
        raise error
    with open_road(camera, engines, clock, kept) as road:
        after = road(make_frame(image, index=5)).detections
    assert before.track_id is not None
    assert after.track_id is not None
    assert len(before.track_id) > 0
    assert after.track_id.tolist() == (before.track_id.tolist() if goes_on else [])
