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


class InspectedPart(msgspec.Struct, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """Which part was judged: a track and its class; both null where the whole picture is the part."""

    track_id: int | None
    class_name: str | None


VerdictName: TypeAlias = Literal["OK", "NG", "NOT_INSPECTED"]


class DwellExceeded(Event, frozen=True, kw_only=True):
    """A track has been in a zone for longer than `limit_s`: `dwell_s` so far. Told once per stay."""

    kind: ClassVar[str] = "dwell_exceeded"
    zone: str
    class_name: str
    track_id: int
    dwell_s: float
    limit_s: float


class SpeedExceeded(Event, frozen=True, kw_only=True):
    """A track is faster than `limit_mps`, in meters per second. Told again when it was slower in between."""

    kind: ClassVar[str] = "speed_exceeded"
    class_name: str
    track_id: int
    speed_mps: float
    limit_mps: float


class Proximity(Event, frozen=True, kw_only=True):
    """A track came nearer than `limit_m` to another, or to a machine; `near` false: it is farther than that again.

    `distance_m` is the last one known, `least_m` the smallest of the approach so far, `lasted_s` its media time.
    """

    kind: ClassVar[str] = "proximity"
    near: bool
    class_name: str
    track_id: int
    other_class: str | None
    other_track_id: int | None
    machine: str | None
    distance_m: float
    least_m: float
    limit_m: float
    lasted_s: float


class Crowd(Event, frozen=True, kw_only=True):
    """There are too many in a zone, or in the whole picture (`zone` null); `crowded` false: no longer.

    `density` is per square meter, null without a calibration.
    """

    kind: ClassVar[str] = "crowd"
    zone: str | None
    crowded: bool
    total: int
    limit: int | None
    density: float | None
    max_density: float | None


class Heatmap(Event, frozen=True, kw_only=True):
    """Where objects were: for each cell of a grid over the picture, row by row, how many seconds somebody stood in it.

    With a `half_life_s` what is so long ago counts half. `since_s` is how much media time is in it.
    """

    kind: ClassVar[str] = "heatmap"
    columns: int
    rows: int
    seconds: list[float]
    since_s: float
    half_life_s: float | None


class Reading(Event, frozen=True, kw_only=True):
    """Something was read: of a track once its readings decide, and again if another one wins; else when it is new.

    `confidence` is that of the text over all readings, `votes` how many of them said it, `quad` the corners of what was
    read in source pixels, `stage` the name of the stage that read it.
    """

    kind: ClassVar[str] = "reading"
    text: str
    confidence: float
    votes: int
    quad: list[list[float]]
    track_id: int | None
    class_name: str
    stage: str


class Verdict(Event, frozen=True, kw_only=True):
    """A part was judged: what came out, why if it is not OK, from how many views, and how many there were so far."""

    kind: ClassVar[str] = "verdict"
    verdict: VerdictName
    reasons: tuple[str, ...]
    part: InspectedPart
    views: int
    counts: Counts


class MotionChanged(Event, frozen=True, kw_only=True):
    """Something began to move, or nothing moves any more; `area` is the part of the watched picture that moves."""

    kind: ClassVar[str] = "motion_changed"
    moving: bool
    area: float


class ClassChanged(Event, frozen=True, kw_only=True):
    """The picture shows another class, or none that is known (null); `previous` did for `previous_s` seconds.

    `scores` are those of the best classes in this frame, best first.
    """

    kind: ClassVar[str] = "class_changed"
    class_name: str | None
    previous: str | None
    previous_s: float
    scores: dict[str, float]


class LineTotals(Event, frozen=True, kw_only=True):
    """What has gone across a line so far, in sum and by class, and in the `period_s` seconds that are over."""

    kind: ClassVar[str] = "line_totals"
    line: str
    period_s: float
    period: Counts
    counts: Counts
    by_class: dict[str, Counts]


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        LineCrossed,
        ZoneEntered,
        ZoneLeft,
        PresenceChanged,
        Count,
        DwellExceeded,
        SpeedExceeded,
        Proximity,
        Crowd,
        Heatmap,
        Reading,
        Verdict,
        MotionChanged,
        ClassChanged,
        LineTotals,
    )
}
"""Every kind of event: the whole list."""
