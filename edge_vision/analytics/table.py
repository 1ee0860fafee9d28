"""Which code is which analytics stage: the whole list."""

from collections.abc import Callable
from typing import Any, Final

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.count import Counter
from edge_vision.analytics.filter import Filter
from edge_vision.analytics.lines import Lines
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.sort import Sort
from edge_vision.analytics.tracker import Tracker
from edge_vision.analytics.zones import Zones
from edge_vision.core.protocols import Stage

STAGES: Final[dict[str, Callable[[Any, StageContext], Stage]]] = {
    "filter": Filter,
    "tracker": Tracker,
    "lines": Lines,
    "zones": Zones,
    "count": Counter,
    "sort": Sort,
}


def build_stage(options: AnalyticsOptions, context: StageContext) -> Stage:
    """A stage for one camera."""
    return STAGES[options.kind](options, context)
