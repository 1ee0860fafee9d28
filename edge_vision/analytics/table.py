"""Which code is which analytics stage: the whole list."""

from typing import Final

from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.core.plugin import resolve
from edge_vision.core.protocols import Stage

STAGES: Final = {
    "filter": "edge_vision.analytics.filter:Filter",
}


def build_stage(options: AnalyticsOptions, labels: tuple[str, ...]) -> Stage:
    """A stage for one camera; `labels` are those of the model before it."""
    stage: Stage = resolve(STAGES[options.kind])(options, labels)
    return stage
