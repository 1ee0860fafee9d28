"""What a pipeline may say about its analytics stages: every kind there is."""

from typing import TypeAlias

from edge_vision.analytics.barcode import BarcodeOptions
from edge_vision.analytics.blur import BlurOptions
from edge_vision.analytics.cascade import CascadeOptions
from edge_vision.analytics.count import CountOptions
from edge_vision.analytics.crowd import CrowdOptions
from edge_vision.analytics.distance import DistanceOptions
from edge_vision.analytics.dwell import DwellOptions
from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.heatmap import HeatmapOptions
from edge_vision.analytics.inspect import InspectOptions
from edge_vision.analytics.lines import LinesOptions
from edge_vision.analytics.measure import MeasureOptions
from edge_vision.analytics.motion import MotionOptions
from edge_vision.analytics.proximity import ProximityOptions
from edge_vision.analytics.smooth import SmoothOptions
from edge_vision.analytics.sort import SortOptions
from edge_vision.analytics.speed import SpeedOptions
from edge_vision.analytics.tracker import TrackerOptions
from edge_vision.analytics.zones import ZonesOptions

AnalyticsOptions: TypeAlias = (
    FilterOptions
    | TrackerOptions
    | LinesOptions
    | ZonesOptions
    | CountOptions
    | DwellOptions
    | CascadeOptions
    | SpeedOptions
    | DistanceOptions
    | ProximityOptions
    | CrowdOptions
    | SmoothOptions
    | HeatmapOptions
    | MeasureOptions
    | InspectOptions
    | BarcodeOptions
    | BlurOptions
    | MotionOptions
    | SortOptions
)
