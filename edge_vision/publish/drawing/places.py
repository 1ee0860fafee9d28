"""Draws the lines and zones of a pipeline with what was counted there, and the events of the last moment."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_vision.core.events import Event
from edge_vision.publish.drawing.canvas import Canvas
from edge_vision.publish.drawing.colors import LINE, PANEL, ZONE
from edge_vision.publish.words import in_words

_MOST_LINES: Final = 5
_ARROW: Final = 0.06
"""Length of the arrow that says where "in" is, as a part of the picture's longer side."""

Points: TypeAlias = tuple[tuple[float, float], ...]
"""x and y in 0..1 of the picture's width and height."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pipeline looks: its lines, from a to b, and its zones, by name; `counted` are lines that count."""

    lines: Mapping[str, Points] = field(default_factory=dict)
    zones: Mapping[str, Points] = field(default_factory=dict)
    counted: frozenset[str] = frozenset()


class PlacesView:
    """Remembers the last numbers that events told of each place."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._counts: dict[str, Mapping[str, int]] = {name: {"in": 0, "out": 0} for name in places.counted}
        self._inside: dict[str, int] = {}

    def hear(self, events: Iterable[Event]) -> None:
        """Take in what happened: any event that names a line or a zone and says how many."""
        for event in events:
            line, zone = getattr(event, "line", None), getattr(event, "zone", None)
            if line in self._counts and hasattr(event, "counts"):
                self._counts[line] = event.counts
            number = getattr(event, "occupancy", getattr(event, "total", None))
            if zone is not None and number is not None:
                self._inside[zone] = number

    def draw_under(self, canvas: Canvas) -> None:
        """The areas, which objects are drawn upon."""
        for polygon in self._places.zones.values():
            corners = _in_pixels(polygon, canvas)
            canvas.fill(corners, ZONE, 0.12)
            canvas.outline(corners, ZONE)

    def draw_over(self, canvas: Canvas) -> None:
        """Lines, and the arrow from their left to their right, which is "in"."""
        for ends in self._places.lines.values():
            start, end = points = _in_pixels(ends, canvas)
            way = end - start
            right = np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-6)
            middle = (start + end) / 2
            canvas.outline(points, LINE, closed=False)
            canvas.arrow(middle, middle + right * _ARROW * max(canvas.wh), LINE)

    def draw_tags(self, canvas: Canvas) -> None:
        """Names and numbers."""
        for name, ends in self._places.lines.items():
            start = _in_pixels(ends, canvas)[0]
            numbers = ", ".join(f"{number} {direction}" for direction, number in self._counts.get(name, {}).items())
            canvas.tag(f"{name}: {numbers}" if numbers else name, (*start, *start), LINE)
        for name, polygon in self._places.zones.items():
            corners = _in_pixels(polygon, canvas)
            text = f"{name}: {self._inside[name]}" if name in self._inside else name
            canvas.tag(text, (*corners.min(axis=0), *corners.max(axis=0)), ZONE)


class Banner:
    """The events of the last moment of media time, the newest last."""

    def __init__(self, lasts_ns: int) -> None:
        self._lasts_ns = lasts_ns
        self._told: deque[tuple[int, str]] = deque(maxlen=_MOST_LINES)

    def hear(self, events: Iterable[Event], media_ns: int) -> None:
        """Take in what happened now, and forget what is older; a media clock that jumps back begins anew."""
        self._told.extend((media_ns, in_words(event.kind, _body(event))) for event in events)
        fresh = [one for one in self._told if 0 <= media_ns - one[0] < self._lasts_ns]
        self._told = deque(fresh, _MOST_LINES)

    def draw(self, canvas: Canvas) -> None:
        """One line each, in the bottom left corner."""
        canvas.corner([text for _, text in self._told], PANEL, bottom=True)


def _body(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(event)
    return body


def _in_pixels(points: Points, canvas: Canvas) -> NDArray[np.float64]:
    return np.asarray(np.array(points, np.float64) * np.array(canvas.wh))
