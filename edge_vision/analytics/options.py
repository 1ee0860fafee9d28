"""What a pipeline may say about its analytics stages: every kind there is."""

from typing import TypeAlias

from edge_vision.analytics.barcode import BarcodeOptions
from edge_vision.analytics.blur import BlurOptions
from edge_vision.analytics.count import CountOptions
from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.lines import LinesOptions
from edge_vision.analytics.motion import MotionOptions
from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.analytics.zones import ZonesOptions

AnalyticsOptions: TypeAlias = (
    FilterOptions
    | TrackerOptions
    | LinesOptions
    | ZonesOptions
    | CountOptions
    | BarcodeOptions
    | BlurOptions
    | MotionOptions
)
