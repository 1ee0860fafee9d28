"""Shows parts of a frame to a second model, and attaches what it says to the objects: text, a class, an embedding."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.analytics.cascade_crops import Cropper, Region, laid, turned
from edge_vision.analytics.cascade_votes import Readings
from edge_vision.analytics.context import StageContext
from edge_vision.analytics.measures import sharpness
from edge_vision.analytics.places import Point
from edge_vision.core.detections import Detections
from edge_vision.core.events import Reading
from edge_vision.core.geometry import corners_of
from edge_vision.core.options import Identifier, Integer, Number
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import Fact, ModelStageOptions


class _Said(NamedTuple):
    """What a model says of one part: a text or the name of a class, and how sure it is; or an embedding."""

    text: str
    confidence: float
    vector: NDArray[np.float32] | None = None


_Side: TypeAlias = Annotated[Integer, Field(ge=8, le=4096)]


class CascadeOptions(ModelStageOptions):
    """Shows a part of the picture around each object to another model, and attaches what that one says.

    Text becomes the object's `text`, a class its attribute `attribute` with `<attribute>_confidence`, an embedding its
    `embedding`. With a tracker before it an object is read a few times and voted on; without one in every frame.
    """

    kind: Literal["cascade"]
    region: Region = Field(
        "box", description="What is cut out: the box, the quad straightened, or what the keypoints are laid on."
    )
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to look at; all if not given.")
    size: tuple[_Side, _Side] | None = Field(
        None, description="[width, height] of a straightened part in pixels; that of the quad if not given."
    )
    grow: Number = Field(0.0, ge=-0.4, le=2, description="Margin on each side, as part of the region's own sides.")
    template: tuple[Point, ...] | None = Field(
        None, min_length=2, max_length=256, description="Where each keypoint belongs, [x, y] in 0..1 of the part."
    )
    lay: bool = Field(False, description="Whether quads 1.5 times taller than wide are lines that stand on their side.")
    turn: dict[str, Literal[90, 180, 270]] | None = Field(
        None,
        min_length=1,
        description="For labels of a model that tells how things lie, the degrees clockwise: the quad is turned back.",
    )
    min_side_px: Integer = Field(0, ge=0, le=4096, description="Objects whose box has a shorter side are left out.")
    min_sharpness: Number = Field(
        0.0, ge=0, description="Parts below this variance of the Laplacian are left out; 0 does not measure."
    )
    batch: Integer = Field(8, ge=1, le=64, description="Parts in one inference, where the model has a batch axis.")
    most: Integer = Field(32, ge=1, le=256, description="Parts looked at per frame; more wait, or are left out.")
    attribute: Identifier | None = Field(None, description="What a class is called; the stage's name if not given.")
    pattern: str | None = Field(
        None, min_length=1, max_length=1000, description="Regular expression that a whole text must match."
    )
    reads: Integer = Field(5, ge=1, le=50, description="Readings of a track that decide; fewer when they agree.")
    every_s: Number = Field(0.2, ge=0, le=3600, description="Media time between two readings of a track.")
    again_after_s: Number | None = Field(
        None, gt=0, le=86400, description="A track that is decided is read again so often; never if not given."
    )
    patience_s: Number = Field(
        1.0, ge=0, le=60, description="A track unseen so long is told with the readings it has, however few."
    )
    same_text_s: Number = Field(
        5.0, ge=0, le=3600, description="Without tracks: a text is told again when it was away for so long."
    )

    @model_validator(mode="after")
    def _fits_the_region(self) -> "CascadeOptions":
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                msg = f"pattern is not a regular expression: {error}"
                raise ValueError(msg) from None
        if self.region == "keypoints" and (self.template is None or self.size is None):
            msg = "region keypoints needs a template, where the keypoints belong, and a size"
            raise ValueError(msg)
        if self.region != "keypoints" and self.template is not None:
            msg = f"template belongs to region keypoints, not to {self.region}"
            raise ValueError(msg)
        if self.region == "box" and self.size is not None:
            msg = "size belongs to region quad or keypoints: a box is cut out as it is"
            raise ValueError(msg)
        if self.region != "quad" and (self.lay or self.turn is not None):
            msg = f"lay and turn belong to region quad, not to {self.region}"
            raise ValueError(msg)
        return self

    def most_at_once(self, cameras: int) -> int:
        """How many parts of a frame one inference may be given."""
        del cameras
        return min(self.batch, self.most)

    @property
    def needs(self) -> frozenset[Fact]:
        """The region."""
        return frozenset({"box", self.region})

    def gives(self, model: frozenset[Fact]) -> frozenset[Fact]:
        """Text and embeddings are the model's; its class becomes an attribute."""
        return model & {"text", "embedding"}

    def why_not(self, gives: frozenset[Fact], labels: tuple[str, ...]) -> str:
        """Models that find objects of their own, or give nothing to attach, have no place here."""
        if not gives & {"text", "class", "embedding"} or "box" in gives:
            given = " and ".join(sorted(gives))
            return f"gives {given}: a cascade takes a model that tells a text, a class or an embedding, without boxes"
        if self.turn is not None and "class" not in gives:
            return "gives no class: turn needs a model that tells how things lie"
        unknown = next((label for label in self.turn or () if label not in labels), None)
        return "" if unknown is None else f"has no label {unknown!r}, which turn names; it has {', '.join(labels)}"


class Cascade:
    """Cuts out parts, has them looked at in batches, and remembers for each track what was said."""

    def __init__(self, options: CascadeOptions, context: StageContext) -> None:
        assert context.network is not None
        self._options = options
        self._network = context.network
        self._labels = context.labels
        self._wanted = context.chosen(options.classes)
        self._name = options.name or options.kind
        self._attribute = "text" if "text" in context.gives else options.attribute or self._name
        self._reads_text = "text" in context.gives
        self._embeds = "embedding" in context.gives and not self._reads_text
        self._pattern = None if options.pattern is None else re.compile(options.pattern)
        self._crop = Cropper(options.region, options.size, options.grow, options.template, options.most)
        self._cv2: Any = require("cv2", "cpu")
        self._readings = Readings(options.reads, options.every_s, options.again_after_s)
        self._patience_ns = round(options.patience_s * 1e9)
        self._last_ns: dict[str, int] = {}
        """Without tracks: when a text was read last."""

    def __call__(self, scene: Scene) -> Scene:
        """The scene with what the model says, and an event for each text that is decided."""
        seen, options, media_ns = scene.detections, self._options, scene.frame.media_ns
        if options.lay and seen.quad is not None:
            seen = replace(seen, quad=laid(seen.quad))
        rows = self._candidates(seen)
        if seen.track_id is None:
            said, left_out = self._look(scene, seen, rows[np.argsort(-seen.confidence[rows], kind="stable")])
        else:
            said, left_out = self._look_at_tracks(scene, seen, rows)
        events: list[Reading] = []
        if self._reads_text and seen.track_id is None:
            events = list(self._fresh(seen, said, media_ns))
        elif self._reads_text:
            events = list(self._of_tracks(media_ns, self._patience_ns))
        measures = scene.measures
        if left_out:
            measures = {**measures, f"{self._name}_left_out": float(left_out)}
        return replace(
            scene,
            detections=self._attached(seen, said),
            events=(*scene.events, *events),
            models=(*scene.models, self._network.model),
            measures=measures,
        )

    def finish(self, scene: Scene) -> Scene:
        """The scene with a reading of each track that has some and was not told, however few they are."""
        events = tuple(self._of_tracks(scene.frame.media_ns, 0) if self._reads_text else ())
        return replace(scene, events=scene.events + events)

    def _candidates(self, seen: Detections) -> NDArray[np.intp]:
        """The objects that can be looked at."""
        if len(seen) == 0:
            return np.empty(0, np.intp)
        usable = self._wanted[seen.class_id] & self._crop.usable(seen)
        if self._options.min_side_px:
            usable &= (seen.xyxy[:, 2:] - seen.xyxy[:, :2]).min(axis=1) >= self._options.min_side_px
        return np.flatnonzero(usable)

    def _look(self, scene: Scene, seen: Detections, rows: NDArray[np.intp]) -> tuple[dict[int, _Said], int]:
        """What the model says of the first `most` of some objects, by row, and how many are left out."""
        options = self._options
        chosen, left_out = rows[: options.most], max(0, len(rows) - options.most)
        if len(chosen) == 0:
            return {}, left_out
        crops = self._crop.cut(scene.frame.image, seen, chosen)
        if options.min_sharpness:
            grays = (self._cv2.cvtColor(crop, self._cv2.COLOR_BGR2GRAY) for crop in crops)
            sharp = [number for number, gray in enumerate(grays) if sharpness(gray) >= options.min_sharpness]
            chosen, crops = chosen[sharp], [crops[number] for number in sharp]
        if not crops:
            return {}, left_out
        answers = zip(chosen.tolist(), map(self._said, self._network(crops)), strict=True)
        return {row: said for row, said in answers if said is not None}, left_out

    def _said(self, answer: Detections) -> _Said | None:
        """What a model says of one part; None when that is nothing."""
        if len(answer) == 0:
            return None
        confidence = float(answer.confidence[0])
        if self._embeds:
            return None if answer.embedding is None else _Said("", confidence, answer.embedding[0])
        if self._reads_text:
            text = "" if answer.text is None else str(answer.text[0])
        else:
            text = self._network.model.labels[int(answer.class_id[0])]
        matches = text and (self._pattern is None or self._pattern.fullmatch(text))
        return _Said(text, confidence) if matches else None

    def _look_at_tracks(self, scene: Scene, seen: Detections, rows: NDArray[np.intp]) -> tuple[dict[int, _Said], int]:
        """What is known of each track, after those that are due were looked at, the largest first."""
        assert seen.track_id is not None
        readings, media_ns = self._readings, scene.frame.media_ns
        followed = np.flatnonzero(self._wanted[seen.class_id] & seen.tracked)
        areas = np.prod(seen.xyxy[followed, 2:] - seen.xyxy[followed, :2], axis=1)
        quads = (corners_of(seen.xyxy) if seen.quad is None else seen.quad)[followed]
        known = readings.see(seen.track_id[followed], seen.class_id[followed], quads, media_ns)
        places = np.flatnonzero(np.isin(followed, rows) & readings.due(known, areas, media_ns))
        places = places[np.argsort(-areas[places], kind="stable")]
        readings.tried(known[places[: self._options.most]], media_ns)
        found, left_out = self._look(scene, seen, followed[places])
        for row, said in found.items():
            place = int(np.searchsorted(followed, row))
            if said.vector is not None:
                readings.add_vector(int(known[place]), said.vector, float(areas[place]))
            else:
                readings.add(int(known[place]), said.text, said.confidence, float(areas[place]))
        if self._embeds:
            vectors = readings.vectors(known)
            return {int(followed[place]): _Said("", 1.0, vector) for place, vector in vectors.items()}, left_out
        texts, scores = readings.known(known)
        return {
            row: _Said(text, score)
            for row, text, score in zip(followed.tolist(), texts.tolist(), scores.tolist(), strict=True)
            if text
        }, left_out

    def _attached(self, seen: Detections, said: dict[int, _Said]) -> Detections:
        """The objects with what is known of them."""
        rows = list(said)
        if self._embeds:
            if not rows:
                return seen
            vectors = np.zeros((len(seen), len(said[rows[0]].vector)), np.float32)  # type: ignore[arg-type]
            vectors[rows] = [one.vector for one in said.values()]
            return replace(seen, embedding=vectors)
        texts, scores = np.full(len(seen), "", object), np.full(len(seen), np.nan, np.float32)
        texts[rows] = [one.text for one in said.values()]
        scores[rows] = [one.confidence for one in said.values()]
        if self._reads_text and seen.text is not None:  # an earlier cascade has read something
            texts = np.where(texts == "", seen.text.astype(object), texts)
        column = texts.astype(np.str_)
        if self._options.turn and seen.quad is not None:
            degrees = np.array([self._options.turn.get(text, 0) for text in column.tolist()], int)
            seen = replace(seen, quad=turned(seen.quad, degrees))
        scored = seen.with_attribute(f"{self._attribute}_confidence", scores)
        return replace(scored, text=column) if self._reads_text else scored.with_attribute(self._attribute, column)

    def _of_tracks(self, media_ns: int, patience_ns: int) -> Iterator[Reading]:
        for news in self._readings.news(media_ns, patience_ns):
            yield self._event(**news)

    def _fresh(self, seen: Detections, said: dict[int, _Said], media_ns: int) -> Iterator[Reading]:
        """Without tracks: what was not read a moment ago."""
        patience_ns = round(self._options.same_text_s * 1e9)
        self._last_ns = {text: last for text, last in self._last_ns.items() if abs(media_ns - last) < patience_ns}
        for row, one in said.items():
            fresh = one.text not in self._last_ns
            self._last_ns[one.text] = media_ns
            if fresh:
                quad = (corners_of(seen.xyxy) if seen.quad is None else seen.quad)[row]
                class_id = int(seen.class_id[row])
                yield self._event(one.text, one.confidence, 1, quad, None, class_id)

    def _event(
        self, text: str, confidence: float, votes: int, quad: NDArray[np.float32], track_id: int | None, class_id: int
    ) -> Reading:
        return Reading(
            text=text,
            confidence=round(confidence, 4),
            votes=votes,
            quad=np.round(quad.astype(np.float64), 2).tolist(),
            track_id=track_id,
            class_name=self._labels[class_id],
            stage=self._name,
        )
