"""What stages see happen: one class per kind of event, free of pixels. Each is the `event` of a message on the wire."""

from typing import ClassVar, Literal, TypeAlias

import msgspec

Counts: TypeAlias = dict[str, int]
"""How many, by name."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """What happened; `kind` names it in topics and messages. When and where is said by the frame it was seen in."""

    kind: ClassVar[str] = ""


class LineCrossed(Event, frozen=True, kw_only=True):
    """A track went across a line. `counts` are those of the line so far, `class_counts` those of the class on it."""

    kind: ClassVar[str] = "line_crossed"
    line: str
    direction: Literal["in", "out"]
    class_name: str
    track_id: int
    counts: Counts
    class_counts: Counts


class ZoneEntered(Event, frozen=True, kw_only=True):
    """A track came into a zone; `occupancy` is how many are in it now."""

    kind: ClassVar[str] = "zone_entered"
    zone: str
    class_name: str
    track_id: int
    occupancy: int


class ZoneLeft(Event, frozen=True, kw_only=True):
    """A track went out of a zone, or was lost in it, after `dwell_s` seconds of media time."""

    kind: ClassVar[str] = "zone_left"
    zone: str
    class_name: str
    track_id: int
    occupancy: int
    dwell_s: float


class PresenceChanged(Event, frozen=True, kw_only=True):
    """A zone that was empty is occupied, or one that was occupied is empty, and has been for `after_s` seconds."""

    kind: ClassVar[str] = "presence_changed"
    zone: str
    present: bool
    occupancy: int
    after_s: float


class Count(Event, frozen=True, kw_only=True):
    """How many there are, in a zone or in the whole picture (`zone` null), on change or after a period."""

    kind: ClassVar[str] = "count"
    zone: str | None
    total: int
    by_class: Counts
    reason: Literal["change", "period"]


class Reading(Event, frozen=True, kw_only=True):
    """A text was read: of a track once its readings decide, and again if another one wins; else when it is new.

    `confidence` is that of the text over all readings, `votes` how many of them said it, `quad` the corners of what was
    read in source pixels, `stage` the name of the cascade.
    """

    kind: ClassVar[str] = "reading"
    text: str
    confidence: float
    votes: int
    quad: list[list[float]]
    track_id: int | None
    class_name: str
    stage: str


class MotionChanged(Event, frozen=True, kw_only=True):
    """Something began to move, or nothing moves any more; `area` is the part of the watched picture that moves."""

    kind: ClassVar[str] = "motion_changed"
    moving: bool
    area: float


KINDS: dict[str, type[Event]] = {
    event.kind: event for event in (LineCrossed, ZoneEntered, ZoneLeft, PresenceChanged, Count, Reading, MotionChanged)
}
"""Every kind of event: the whole list."""
