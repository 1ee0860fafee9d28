"""Judges parts: OK, NG or NOT_INSPECTED, with the reasons, once per part."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.inspect_rules import (
    RuleOptions,
    View,
    areas_px,
    conditions_of,
    defect_labels,
    rules_of,
    texts_of,
    view_of,
)
from edge_vision.analytics.lines import crossings
from edge_vision.analytics.places import Anchor, Line, anchors_of
from edge_vision.analytics.rows import TrackRows
from edge_vision.core.events import InspectedPart, Verdict, VerdictName
from edge_vision.core.options import Integer, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions

_FORGET_NS: Final = 60_000_000_000
"""A part that was told and not seen for so long will not come back."""
_LONGEST_TEXT: Final = 64


class InspectOptions(StageOptions, RuleOptions):
    """Judges each part, or the whole picture, by rules over what was seen and measured, and tells why."""

    kind: Literal["inspect"]
    names_labels: ClassVar[tuple[str, ...]] = ("parts", "defects", "forbidden", "counts")
    line: Line | None = Field(
        None, description="Two points in 0..1: a part is told when it crosses it; when it has left, if not given."
    )
    anchor: Anchor = Field("center", description="The point of the box that has to cross.")
    patience_s: Number = Field(1.0, ge=0, le=3600, description="A part unseen for so long has left, in media time.")
    decide: Literal["vote", "worst"] = Field(
        "vote", description="vote: NG when half the views or more are; worst: when one is."
    )
    min_views: Integer = Field(
        1, ge=1, le=1000, description="Fewer views of the whole part that count, and it is NOT_INSPECTED."
    )
    edge_px: Number = Field(
        2.0, ge=0, le=1000, description="A part nearer than this to the picture's edge may be cut off: no view of it."
    )
    stable_s: Number = Field(
        0.5, ge=0, le=3600, description="Of the whole picture: a verdict is told when it has stood for so long."
    )

    @model_validator(mode="after")
    def _parts_for_what_is_theirs(self) -> "InspectOptions":
        if self.parts is None and (self.line is not None or self.min_views > 1):
            name = "line" if self.line is not None else "min_views"
            msg = f"{name} is about parts, and the whole picture is judged frame by frame: give parts, or leave it out"
            raise ValueError(msg)
        return self

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes of known classes where the rules ask for them, parts that are followed, and text."""
        facts: set[Fact] = set()
        limits = (self.max_area_px, self.max_area_mm2, self.max_coverage)
        if self.parts or self.defects or self.forbidden or self.counts or any(limit is not None for limit in limits):
            facts |= {"box", "class"}
        if self.parts is not None:
            facts.add("track_id")
        if "text" in self.texts:
            facts.add("text")
        return frozenset(facts)


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """One view of each of n parts: figures of the rules (n, r) and the conditions (n, c), and what they come to."""

    figures: NDArray[np.float64]
    conditions: NDArray[np.float64]
    broken: NDArray[np.bool_]
    useless: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    kinds: NDArray[np.bool_]
    """(n, k): which kinds of defects are on the part."""
    texts: NDArray[np.str_]

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Which views count (n,): whole, fit to be judged, and every figure known."""
        return np.asarray(~self.cut & ~self.useless.any(axis=1) & ~np.isnan(self.figures).any(axis=1))


class Inspect:
    """Looks at every view of a part and tells once what they come to.

    Of a part that is told when it crosses a line all views up to there count, else all until it has left. A view in
    which the part may be cut off, is unfit by `min_sharpness` and its kin, or lacks a figure, does not count.
    """

    def __init__(self, options: InspectOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._is_part = context.chosen(options.parts)
        self._defects = np.flatnonzero(defect_labels(options, context.labels))
        self._rules = rules_of(options, context.labels)
        self._conditions = conditions_of(options)
        self._counts: Counter[VerdictName] = Counter()
        rules, conditions = len(self._rules), len(self._conditions)
        self._tracks = TrackRows(
            place=np.zeros(2),
            told=np.zeros((), bool),
            class_id=np.zeros((), np.int32),
            views=np.zeros((), np.int32),
            cut=np.zeros((), np.int32),
            bad=np.zeros((), np.int32),
            broken=np.zeros(rules, np.int32),
            worst=np.full(rules, np.nan),
            missing=np.zeros(rules, np.int32),
            useless=np.zeros(conditions, np.int32),
            condition=np.full(conditions, np.nan),
            kinds=np.zeros(len(self._defects), np.int32),
            texts=np.zeros(len(options.texts), f"<U{_LONGEST_TEXT}"),
        )
        self._whole: tuple[VerdictName, int] | None = None
        self._told: VerdictName | None = None

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the verdicts of parts that are done, and with those so far as attribute `verdict`."""
        if self._options.parts is None:
            events = tuple(self._judge_picture(scene))
            return replace(scene, events=scene.events + events) if events else scene
        crossed = np.empty(0, np.intp)
        seen = scene.detections
        if len(seen):
            parts = self._is_part[seen.class_id] & seen.tracked
            rows, crossed = self._follow(view_of(scene, parts))
            verdicts = np.zeros(len(seen), "<U13")
            verdicts[parts] = self._so_far(rows)
            scene = replace(scene, detections=seen.with_attribute("verdict", verdicts))
        away_ns = np.abs(scene.frame.media_ns - self._tracks.seen_ns)
        events = tuple(self._tell(crossed, away_ns > int(self._options.patience_s * 1e9)))
        self._tracks.forget(away_ns > max(_FORGET_NS, int(self._options.patience_s * 1e9)))
        return replace(scene, events=scene.events + events) if events else scene

    def finish(self, scene: Scene) -> Scene:
        """The scene with the verdicts of parts that wait for one: without a line, all that were seen and not told."""
        if self._options.parts is None:
            return scene
        events = tuple(self._tell(np.empty(0, np.intp), np.ones(len(self._tracks), bool)))
        return replace(scene, events=scene.events + events)

    def _look(self, view: View) -> _Looked:
        count, (width, height) = len(view.parts), view.scene.frame.wh
        figures = _columns([rule.figure(view) for rule in self._rules], count)
        conditions = _columns([one.figure(view) for one in self._conditions], count)
        edge, boxes = self._options.edge_px, view.parts.xyxy
        far = np.array([width, height], np.float32) - edge
        cut = np.asarray((boxes[:, :2] < edge).any(axis=1) | (boxes[:, 2:] > far).any(axis=1), bool)
        if self._options.parts is None:
            cut[:] = False
        texts = [[text[:_LONGEST_TEXT] for text in texts_of(name, view)] for name in self._options.texts]
        big = areas_px(view.others) >= self._options.min_area_px
        return _Looked(
            figures,
            conditions,
            _columns([rule.broken(figures[:, row]) for row, rule in enumerate(self._rules)], count).astype(bool),
            _columns([one.broken(conditions[:, row]) for row, one in enumerate(self._conditions)], count).astype(bool),
            cut,
            _columns([view.sums(big, big & (view.others.class_id == kind)) for kind in self._defects], count) > 0,
            np.array(texts, f"<U{_LONGEST_TEXT}").reshape(len(texts), count).T,
        )

    def _follow(self, view: View) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Add a view to each part that is seen; the rows of the parts, and those that went across the line."""
        looked, tracks = self._look(view), self._tracks
        if view.parts.track_id is None:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        rows, fresh = tracks.see(view.parts.track_id, view.scene.frame.media_ns)
        # In 0..1 of the picture: a camera that changes its resolution does not move a part across the line.
        places, began = (
            np.asarray(anchors_of(xyxy, self._options.anchor) / np.array(view.scene.frame.wh), np.float32)
            for xyxy in (view.parts.xyxy, view.parts.xyxy if view.parts.began is None else view.parts.began)
        )
        before = np.where(fresh[:, None], began, tracks["place"][rows])
        tracks["place"][rows], tracks["class_id"][rows] = places, view.parts.class_id
        self._remember(rows, looked)
        if self._options.line is None:
            return rows, np.empty(0, np.intp)
        line = np.array(self._options.line, np.float32)[None]
        return rows, rows[crossings(before, places, line)[:, 0] != 0]

    def _remember(self, rows: NDArray[np.intp], looked: _Looked) -> None:
        tracks, counts = self._tracks, looked.counts
        tracks["views"][rows] += counts
        tracks["cut"][rows] += looked.cut
        tracks["missing"][rows] += np.isnan(looked.figures) & ~looked.cut[:, None]
        tracks["useless"][rows] += looked.useless & ~looked.cut[:, None]
        tracks["condition"][rows] = np.where(looked.useless, looked.conditions, tracks["condition"][rows])
        broken = looked.broken & counts[:, None]
        bad = np.asarray(broken.any(axis=1), bool)
        tracks["bad"][rows] += bad
        tracks["broken"][rows] += broken
        tracks["kinds"][rows] += looked.kinds & bad[:, None]
        wrong = bad[:, None] & (looked.texts != "")
        tracks["texts"][rows] = np.where(wrong, looked.texts, tracks["texts"][rows])
        for number, rule in enumerate(self._rules):
            old, new = tracks["worst"][rows, number], looked.figures[:, number]
            worse = broken[:, number] & ~(rule.excess(old) >= rule.excess(new))
            tracks["worst"][rows, number] = np.where(worse, new, old)

    def _so_far(self, rows: NDArray[np.intp]) -> NDArray[np.str_]:
        """What the views of each part come to now, (n,)."""
        views, bad = self._tracks["views"][rows], self._tracks["bad"][rows]
        ng = bad > 0 if self._options.decide == "worst" else (bad > 0) & (2 * bad >= views)
        return np.where(views < self._options.min_views, "NOT_INSPECTED", np.where(ng, "NG", "OK"))

    def _tell(self, crossed: NDArray[np.intp], left: NDArray[np.bool_]) -> Iterator[Verdict]:
        """A verdict for each part that went across the line (k,), or has left (n,), once."""
        tracks = self._tracks
        due = left if self._options.line is None else np.zeros(len(tracks), bool)
        due[crossed] = True
        for row in np.flatnonzero(due & ~tracks["told"]).tolist():
            tracks["told"][row] = True
            part = InspectedPart(track_id=int(tracks.track_id[row]), class_name=self._labels[tracks["class_id"][row]])
            yield self._verdict(row, str(self._so_far(np.array([row]))[0]), part)

    def _verdict(self, row: int, verdict: str, part: InspectedPart) -> Verdict:
        name: VerdictName = "NG" if verdict == "NG" else "OK" if verdict == "OK" else "NOT_INSPECTED"
        self._counts[name] += 1
        reasons = () if name == "OK" else self._why_bad(row) if name == "NG" else self._why_not(row)
        counts = {key.lower(): self._counts[key] for key in _NAMES}
        return Verdict(
            verdict=name, reasons=tuple(reasons), part=part, views=int(self._tracks["views"][row]), counts=counts
        )

    def _why_bad(self, row: int) -> Iterator[str]:
        """Each rule that was broken in half of the bad views or more, at its worst; every broken one if none was."""
        tracks = self._tracks
        broken, bad = tracks["broken"][row], int(tracks["bad"][row])
        often = (broken > 0) & (2 * broken >= bad)
        kinds = np.flatnonzero(2 * tracks["kinds"][row] >= bad)
        names = ", ".join(self._labels[kind] for kind in self._defects[kinds])
        texts = dict(zip(self._options.texts, tracks["texts"][row].tolist(), strict=True))
        for number in np.flatnonzero(often if often.any() else broken > 0).tolist():
            rule = self._rules[number]
            if rule.name in texts:
                yield f"{rule.name} is {texts[rule.name]!r}, {self._options.texts[rule.name]}"
            else:
                listed = f" ({names})" if rule.lists_defects and names else ""
                yield rule.tell(float(tracks["worst"][row, number])) + listed

    def _why_not(self, row: int) -> Iterator[str]:
        """What the views lacked, with how often."""
        tracks, least = self._tracks, self._options.min_views
        views = int(tracks["views"][row])
        if views:
            yield f"seen in {views} view{'s' * (views != 1)} that count, at least {least}"
        if cut := int(tracks["cut"][row]):
            yield f"at the edge of the picture in {cut} view{'s' * (cut != 1)}"
        for rule, times, figure in zip(self._conditions, tracks["useless"][row], tracks["condition"][row], strict=True):
            if times:
                yield rule.tell(float(figure))
        for rule, times in zip(self._rules, tracks["missing"][row], strict=True):
            if times:
                yield rule.missing

    def _judge_picture(self, scene: Scene) -> Iterator[Verdict]:
        """The verdict on the whole picture, when it is another one and has stood for a while."""
        media_ns = scene.frame.media_ns
        view = view_of(scene, None)
        tracks = self._tracks
        tracks.forget(np.ones(len(tracks), bool))  # every picture is a view of its own
        rows, _ = tracks.see(np.zeros(1, np.int32), media_ns)
        self._remember(rows, self._look(view))
        now: VerdictName = self._so_far(rows)[0].item()
        if self._whole is None or self._whole[0] != now or media_ns < self._whole[1]:
            self._whole = now, media_ns
        if now != self._told and media_ns - self._whole[1] >= int(self._options.stable_s * 1e9):
            self._told = now
            yield self._verdict(0, now, InspectedPart(track_id=None, class_name=None))


_NAMES: Final[tuple[VerdictName, ...]] = ("OK", "NG", "NOT_INSPECTED")


def _columns(columns: list[NDArray[np.float64]] | list[NDArray[np.bool_]], count: int) -> NDArray[np.float64]:
    """Columns (n,) side by side, (n, k)."""
    return np.stack(columns, axis=1).astype(np.float64) if columns else np.empty((count, 0))
