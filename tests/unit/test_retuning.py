"""Another confidence reaches the stages of a road that runs, and nothing else changes."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo_site import PARTS

from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.sort import SortOptions
from edge_vision.analytics.table import STAGES
from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.app import pipeline
from edge_vision.app.check import check_pipeline
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.app.tuning import Tuning
from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SyntheticOptions
from edge_vision.capture.table import open_source
from edge_vision.config.site import Camera, Site, read_site
from edge_vision.core.protocols import Tunable
from edge_vision.core.shipped import shipped
from edge_vision.runtime.clock import SystemClock

SOURCE = SyntheticOptions(kind="synthetic", realtime=False, frames=60)


def test_the_stages_that_can_be_tuned() -> None:
    """Those whose confidence a shipped pipeline exposes, but for models on parts of the picture."""
    assert [kind for kind, stage in STAGES.items() if hasattr(stage, "retune")] == ["filter", "tracker", "sort"]
    assert issubclass(pipeline.Detect, Tunable)


def test_every_shipped_pipeline_says_what_its_confidence_sets(tmp_path: Path) -> None:
    """And a command can set it, where there is one."""
    for file in sorted(shipped("pipelines").glob("*.yaml")):
        site = tmp_path / "site.yaml"
        camera = {"id": "c", "source": {"kind": "synthetic"}, "pipeline": file.stem, "with": {"model": PARTS}}
        site.write_text(yaml.safe_dump({"version": 1, "site": "s", "cameras": [camera]}))
        draft = read_site(site)
        if draft.site is None:  # it asks for more, or has no model
            continue
        (made,) = draft.site.cameras
        exposed = "\n  confidence: " in file.read_text()
        assert bool(made.confidence) is exposed, file
        for place, option in made.confidence:
            assert getattr(made.stages[place], option, "absent") != "absent"


def test_a_road_goes_on_with_its_tracks() -> None:
    """From one frame to the next fewer parts are seen, then more; tracks keep their numbers."""
    stages, bundles = check_pipeline("object_counting", [("model", PARTS)], ["backends=[onnxruntime]"])
    places = tuple((number, "high") for number, one in enumerate(stages) if isinstance(one, TrackerOptions))
    camera = Camera("cam", SOURCE, "object_counting", stages, 0, places)
    clock = SystemClock()
    engines = load_engines(Site(Path("s"), "s", (camera,), ()), bundles)
    tuning = Tuning(camera)
    with (
        open_road(camera, engines, clock, {}, tuning) as road,
        open_source(SOURCE, Opening("cam", clock)) as source,
    ):

        def ids(frames: int) -> set[int]:
            seen: set[int] = set()
            for _ in range(frames):
                frame = source.read()
                assert frame is not None
                found = road(frame).detections.track_id
                seen |= set(() if found is None else found.tolist())
            return seen

        before = ids(20)
        assert before
        tuning.set_confidence(1.0)  # no track begins, none is sure; those there go on with what is seen
        during = ids(20)
        assert during <= before
        tuning.set_confidence(None)
        after = ids(19)
        assert after - before


@pytest.mark.parametrize("option, place", [("confidence", 0), ("min_confidence", 1)])
def test_another_threshold_is_that_of_a_road_opened_with_it(option: str, place: int) -> None:
    """The detector and the filter give what they would have given from the start."""
    stages, bundles = check_pipeline("object_detection", [("model", PARTS)], ["backends=[onnxruntime]"])
    camera = Camera("cam", SOURCE, "object_detection", stages, 0, ((place, option),))
    clock = SystemClock()
    engines = load_engines(Site(Path("s"), "s", (camera,), ()), bundles)
    with open_source(SOURCE, Opening("cam", clock)) as source:
        frames = [frame for frame in (source.read() for _ in range(30)) if frame is not None][-3:]
    seen: list[list[list[float]]] = []
    for opened_with in (None, 0.55):
        tuning = Tuning(camera)
        with open_road(camera, engines, clock, {}, tuning) as road:
            road(frames[0])
        if opened_with is not None:
            tuning.set_confidence(opened_with)
        with open_road(camera, engines, clock, {}, tuning) as road:
            usual = [len(road(frame).detections) for frame in frames]
            tuning.set_confidence(0.55)
            seen.append([road(frame).detections.confidence.tolist() for frame in frames])
            assert usual if opened_with is None else True
    assert seen[0] == seen[1]
    assert min(score for scores in seen[0] for score in scores) >= 0.55


def test_a_stand_in_is_tuned_with_whom_it_stands_in_for() -> None:
    """Servers that are opened later, too."""
    from edge_vision.app.standby import Standby

    class Look:
        def __init__(self) -> None:
            self.tuned: list[Any] = []

        def __call__(self, scene: Any) -> Any:
            return scene

        def retune(self, options: Any) -> None:
            self.tuned.append(options)

    class Server:
        fresh = True

    local, served = Look(), Look()

    @contextmanager
    def open_stage(_proven: Any) -> Any:
        yield served

    standby = Standby(None, open_stage, local, SystemClock())  # type: ignore[arg-type]
    standby.retune("first")
    assert standby._stage(Server(), "proof") is served  # type: ignore[arg-type]
    standby.retune("second")
    assert local.tuned == ["first", "second"]
    assert served.tuned == ["first", "second"]
    standby.close()


def test_a_filter_and_a_sort_take_another_score() -> None:
    """As if they had been made with it."""
    from edge_vision.analytics.context import StageContext

    keep = STAGES["filter"](FilterOptions(kind="filter"), StageContext(("a",)))
    assert isinstance(keep, Tunable)
    assert vars(keep)["_passes_all"] is True
    keep.retune(FilterOptions(kind="filter", min_confidence=0.5))
    assert vars(keep)["_passes_all"] is False
    sort = STAGES["sort"](SortOptions(kind="sort"), StageContext(("a",)))
    assert isinstance(sort, Tunable)
    sort.retune(SortOptions(kind="sort", confidence=0.9))
    assert vars(sort)["_options"].confidence == 0.9
