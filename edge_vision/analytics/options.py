"""What a pipeline may say about its analytics stages: every kind there is."""

from typing import TypeAlias

from edge_vision.analytics.count import CountOptions
from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.lines import LinesOptions
from edge_vision.analytics.sort import SortOptions
from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.analytics.zones import ZonesOptions

AnalyticsOptions: TypeAlias = FilterOptions | TrackerOptions | LinesOptions | ZonesOptions | CountOptions | SortOptions
