"""Tells which class a picture shows, when that has changed and stays."""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from edge_vision.analytics.context import StageContext
from edge_vision.core.events import ClassChanged
from edge_vision.core.options import Fraction, Integer, Number
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


class SortOptions(StageOptions):
    """Tells the class of the whole picture, as a classifier sees it, when it changes."""

    kind: Literal["sort"]
    top_k: Integer = Field(1, ge=1, le=1000, description="At most so many classes are kept and told, the best.")
    confidence: Fraction = Field(0.5, description="Below this score the best class is not known for one.")
    stable_s: Number = Field(0.5, ge=0, le=3600, description="A class counts when it has been the best for so long.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Classes; boxes do not matter."""
        return frozenset({"class"})


class Sort:
    """The best class of each frame; one that flickers is told when it has come to rest. None is a class, too."""

    def __init__(self, options: SortOptions, context: StageContext) -> None:
        self._options = options
        self._labels = context.labels
        self._stable_ns = int(options.stable_s * 1e9)
        self._told: str | None = None
        self._told_ns = 0
        self._now: str | None = None
        self._since_ns: int | None = None

    def retune(self, options: SortOptions) -> None:
        """Another confidence from the next frame on."""
        self._options = options

    def __call__(self, scene: Scene) -> Scene:
        """The scene with its best classes, and an event when another one has come to stay."""
        seen, media_ns = scene.detections, scene.frame.media_ns
        if len(seen) > self._options.top_k:
            best = (-seen.confidence).argsort(kind="stable")[: self._options.top_k]
            seen = seen.where(best)
            scene = replace(scene, detections=seen)
        known = len(seen) > 0 and float(seen.confidence.max()) >= self._options.confidence
        now = self._labels[int(seen.class_id[seen.confidence.argmax()])] if known else None
        if self._since_ns is None:
            self._told_ns = media_ns
        if self._since_ns is None or now != self._now or media_ns < self._since_ns:  # the last: a clock began anew
            self._now, self._since_ns = now, media_ns
        if now == self._told or media_ns - self._since_ns < self._stable_ns:
            return scene
        previous_s = max(0, self._since_ns - self._told_ns) / 1e9
        scores: dict[str, float] = {}
        for class_id, score in zip(seen.class_id.tolist(), seen.confidence.tolist(), strict=True):
            scores.setdefault(self._labels[class_id], round(score, 4))  # ImageNet has two kinds of "crane"
        event = ClassChanged(
            class_name=now,
            previous=self._told,
            previous_s=round(previous_s, 3),
            scores=scores,
        )
        self._told, self._told_ns = now, self._since_ns
        return replace(scene, events=(*scene.events, event))
