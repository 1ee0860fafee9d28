"""Finds codes in the picture or on objects, and tells each one once: no model needed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.codes import ArucoDictionary, Code, CodeKind, CodeReader, Effort, added
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.places import Polygon, in_pixels, inside
from edge_vision.core.detections import Detections
from edge_vision.core.events import Reading
from edge_vision.core.options import Fraction, Integer, Seconds
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, StageOptions


class BarcodeOptions(StageOptions):
    """Reads codes: each is an object of the class of its kind, with its corners and its text; told once it is sure."""

    kind: Literal["barcode"]
    kinds: tuple[CodeKind, ...] = Field(
        ("qr", "ean13", "ean8", "upc_a", "code128"), min_length=1, description="Kinds of codes to look for."
    )
    aruco: ArucoDictionary = Field("4X4_50", description="Dictionary of the markers, where `kinds` has aruco.")
    effort: Effort = Field(
        "medium", description="How often a picture is looked at otherwise when nothing was read; high: in any case."
    )
    spread: bool = Field(
        default=False,
        description="Look otherwise in one way per frame, in turn: for cameras that see a code for longer.",
    )
    within: Literal["picture", "objects"] = Field(
        "picture", description="Look at the whole picture, or at each object that was found before."
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=1, description="Labels of the objects to look at; all if not given."
    )
    margin: Fraction = Field(0.1, description="Objects are looked at with so much around them, of their box.")
    max_objects: Integer = Field(8, ge=1, le=256, description="Objects to look at in a frame, the surest first.")
    zone: Polygon | None = Field(
        None,
        description="Three or more points [x, y] in 0..1: codes outside are not told; the picture if not given.",
    )
    votes: Integer = Field(2, ge=1, le=100, description="Frames that must read the same before it is told.")
    votes_within_s: Seconds = Field(2.0, description="Longest time between two of those frames, in media time.")
    again_s: Seconds = Field(10.0, description="A code is told again when it was not seen for so long, in media time.")

    @property
    def needs(self) -> frozenset[Fact]:
        """Boxes, to look into."""
        return frozenset({"box", "class"} if self.within == "objects" else ())

    def gives(self, model: frozenset[Fact]) -> frozenset[Fact]:
        """Codes: where, what kind, and what they say."""
        return model | {"box", "class", "quad", "text"}

    @property
    def labels(self) -> tuple[str, ...]:
        """The kinds of codes."""
        return self.kinds

    @model_validator(mode="after")
    def _each_kind_once(self) -> "BarcodeOptions":
        double = next((kind for kind in self.kinds if self.kinds.count(kind) > 1), None)
        if double is not None:
            msg = f"{double} is listed twice"
            raise ValueError(msg)
        if self.classes is not None and self.within == "picture":
            msg = "classes says which objects to look at: add within: objects"
            raise ValueError(msg)
        return self


@dataclass(slots=True)
class _Seen:
    """A text: how many frames read it, when the last did, and whether it was told."""

    votes: int
    last_ns: int
    told: bool = False


_Key = tuple[int | None, str, str]
"""Track, kind and text."""


class Barcode:
    """Reads codes frame by frame; the same text on two places of a picture is two objects, and told once."""

    def __init__(self, options: BarcodeOptions, context: StageContext) -> None:
        self._cv2: Any = require("cv2", "cpu")
        self._options = options
        self._labels = context.labels + options.labels
        self._first = len(context.labels)
        self._wanted = context.chosen(options.classes)
        self._read = CodeReader(options.kinds, options.effort, options.aruco)
        self._seen: dict[_Key, _Seen] = {}
        self._now_ns = 0

    def __call__(self, scene: Scene) -> Scene:
        """The scene with the codes in it as further objects, and an event for each that is new and sure."""
        codes, tracks = self._codes(scene)
        events = tuple(self._told(codes, tracks, scene.frame.media_ns))
        return replace(
            scene,
            detections=scene.detections.joined(self._objects(codes)) if codes else scene.detections,
            events=scene.events + events,
            labels=self._labels,
        )

    def _codes(self, scene: Scene) -> tuple[list[Code], list[int | None]]:
        """The codes of a frame, and the tracks of the objects they were found on."""
        width, height = scene.frame.wh
        whole = np.array([[0, 0, width, height]], np.int64)
        boxes, owners = self._looked_at(scene) if self._options.within == "objects" else (whole, [None])
        polygon = None if self._options.zone is None else in_pixels(self._options.zone, scene.frame.wh)
        if polygon is not None:
            low, high = np.floor(polygon.min(axis=0)), np.ceil(polygon.max(axis=0))
            boxes = np.concatenate([np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], high)], axis=1).astype(int)
        turn = scene.frame.index if self._options.spread else None
        codes: list[Code] = []
        tracks: list[int | None] = []
        for (left, top, right, bottom), owner in zip(boxes.tolist(), owners, strict=True):
            if left >= right or top >= bottom:
                continue
            gray = self._cv2.cvtColor(scene.frame.image[top:bottom, left:right], self._cv2.COLOR_BGR2GRAY)
            for code in self._read(gray, turn):
                moved = replace(code, quad=code.quad + np.array([left, top], np.float32))
                if polygon is None or inside(moved.quad.mean(axis=0)[None], polygon)[0]:
                    tracks += [owner] if added(codes, moved) else []
        return codes, tracks

    def _looked_at(self, scene: Scene) -> tuple[NDArray[np.int64], list[int | None]]:
        """The boxes of the objects chosen, with some margin, in whole pixels (n, 4), and their tracks."""
        seen = scene.detections
        usable = self._wanted[seen.class_id] & np.isfinite(seen.xyxy).all(axis=1)
        chosen = seen.where(np.flatnonzero(usable)[: self._options.max_objects])
        grow = (chosen.xyxy[:, 2:] - chosen.xyxy[:, :2]) * self._options.margin
        limits = np.array(scene.frame.wh)
        low = np.maximum(np.floor(chosen.xyxy[:, :2] - grow), 0)
        high = np.minimum(np.ceil(chosen.xyxy[:, 2:] + grow), limits)
        ids = np.zeros(len(chosen), np.int32) if chosen.track_id is None else chosen.track_id
        return np.concatenate([low, high], axis=1).astype(np.int64), [track or None for track in ids.tolist()]

    def _objects(self, codes: list[Code]) -> Detections:
        quads = np.stack([code.quad for code in codes]).astype(np.float32)
        kinds = [self._first + self._options.kinds.index(code.kind) for code in codes]
        return Detections(
            np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1),
            np.ones(len(codes), np.float32),
            np.array(kinds, np.int32),
            quad=quads,
            text=np.array([code.text for code in codes], np.str_),
        )

    def _told(self, codes: list[Code], tracks: list[int | None], media_ns: int) -> Iterator[Reading]:
        """The events of a frame; a media clock that jumps back begins anew."""
        if media_ns < self._now_ns:
            self._seen.clear()
        self._now_ns = media_ns
        again_ns, between_ns = int(self._options.again_s * 1e9), int(self._options.votes_within_s * 1e9)
        old = [
            key for key, seen in self._seen.items() if media_ns - seen.last_ns > (again_ns if seen.told else between_ns)
        ]
        for key in old:
            del self._seen[key]
        for key, code in {
            (track, code.kind, code.text): code for code, track in zip(codes, tracks, strict=True)
        }.items():
            seen = self._seen.setdefault(key, _Seen(0, media_ns))
            seen.votes, seen.last_ns = seen.votes + 1, media_ns
            if not seen.told and seen.votes >= self._options.votes:
                seen.told = True
                yield Reading(
                    text=code.text,
                    confidence=1.0,
                    votes=seen.votes,
                    quad=np.round(code.quad.astype(np.float64), 2).tolist(),
                    class_name=code.kind,
                    track_id=key[0],
                    stage=self._options.name or self._options.kind,
                )
