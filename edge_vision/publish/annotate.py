"""Draws a scene onto its picture: objects, lines, zones, counts, events and measures, legible at any size."""

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.scene import Scene
from edge_vision.publish.drawing.canvas import Canvas
from edge_vision.publish.drawing.colors import PANEL
from edge_vision.publish.drawing.objects import Trails, draw_shapes, draw_tags
from edge_vision.publish.drawing.places import Banner, Places, PlacesView


class Annotator:
    """Draws the scenes of one source, in their order: it remembers trails, counts, and events for `events_ns`.

    Time is media time. For one thread.
    """

    def __init__(self, places: Places | None = None, events_ns: int = 1_000_000_000) -> None:
        self._places = PlacesView(places or Places())
        self._trails = Trails()
        self._banner = Banner(events_ns)

    def __call__(self, scene: Scene) -> NDArray[np.uint8]:
        """A new (height, width, 3) uint8 BGR picture; the frame stays as it is. A tiny picture comes back enlarged."""
        media_ns = scene.frame.media_ns
        self._places.hear(scene.events)
        self._banner.hear(scene.events, media_ns)
        self._trails.follow(scene.detections, media_ns)
        canvas = Canvas(scene.frame.image)
        self._places.draw_under(canvas)
        self._trails.draw(canvas)
        draw_shapes(canvas, scene.detections)
        self._places.draw_over(canvas)
        # What stands in the corners is written first: other labels keep clear of it, and of each other.
        canvas.corner([f"{name} {value:.4g}" for name, value in scene.measures.items()], PANEL)
        self._banner.draw(canvas)
        self._places.draw_tags(canvas)
        draw_tags(canvas, scene.detections, scene.labels)
        return canvas.image
