"""Which code is which analytics stage: the whole list."""

from collections.abc import Callable
from typing import Any, Final

from edge_vision.analytics.barcode import Barcode
from edge_vision.analytics.blur import Blur
from edge_vision.analytics.cascade import Cascade
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.count import Counter
from edge_vision.analytics.crowd import Crowds
from edge_vision.analytics.distance import Distance
from edge_vision.analytics.dwell import Dwell
from edge_vision.analytics.filter import Filter
from edge_vision.analytics.heatmap import Heatmaps
from edge_vision.analytics.inspect import Inspect
from edge_vision.analytics.lines import Lines
from edge_vision.analytics.measure import Measure
from edge_vision.analytics.motion import Motion
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.proximity import Proximities
from edge_vision.analytics.smooth import Smooth
from edge_vision.analytics.sort import Sort
from edge_vision.analytics.speed import Speed
from edge_vision.analytics.tracker import Tracker
from edge_vision.analytics.zones import Zones
from edge_vision.core.protocols import Stage

STAGES: Final[dict[str, Callable[[Any, StageContext], Stage]]] = {
    "filter": Filter,
    "tracker": Tracker,
    "lines": Lines,
    "zones": Zones,
    "count": Counter,
    "dwell": Dwell,
    "cascade": Cascade,
    "speed": Speed,
    "distance": Distance,
    "proximity": Proximities,
    "crowd": Crowds,
    "smooth": Smooth,
    "heatmap": Heatmaps,
    "measure": Measure,
    "inspect": Inspect,
    "barcode": Barcode,
    "blur": Blur,
    "motion": Motion,
    "sort": Sort,
}


def build_stage(options: AnalyticsOptions, context: StageContext) -> Stage:
    """A stage for one camera."""
    return STAGES[options.kind](options, context)
