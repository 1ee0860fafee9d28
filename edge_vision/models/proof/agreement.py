"""How far two runtimes agree on what is in the same pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from edge_vision.core.detections import Detections
from edge_vision.core.geometry import overlaps
from edge_vision.models.options import Tolerance
from edge_vision.models.proof.findings import Findings, mask_overlap

_SAME: Final = 0.5
"""Boxes, or masks, that overlap by half or more are the same object."""

_LEAST_FOUND: Final = 0.5
"""Of the reference's objects so many must be found, however many of them are near the threshold."""


_WHOLE_CELLS: Final = 1024
"""A mask of fewer cells weighs less: at its rim, most of it, rounding decides."""

_SPECK_CELLS: Final = 64
"""A mask of fewer cells that only one side has is borderline."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures over all pictures; objects near the threshold that only one side has are in `borderline`, not counted.

    `quality` is the panoptic quality of the found set (Kirillov et al., arXiv:1801.00868): the sum of overlaps over
    found + missed / 2 + extra / 2. Overlaps are those of masks where the reference has masks. `score_diff`,
    `point_error` and `embedding_distance` are greatest values, `point_error` as part of the diagonal of the object's
    box; `text_diff` is the edit distance of all texts over their characters, `attribute_diff` the mean difference of
    the attribute that differs most. `objects` are those that count: found or missed; `reference` are all it saw.
    """

    reference: int
    objects: int
    found: int
    missed: int
    extra: int
    borderline: int
    mean_iou: float
    least_iou: float
    mean_score_diff: float
    score_diff: float
    point_error: float
    quality: float
    text_diff: float = 0.0
    embedding_distance: float = 0.0
    attribute_diff: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.reference} objects found, {self.missed} missed, {self.extra} extra, "
            f"{f'{self.borderline} too near the threshold to count, ' if self.borderline else ''}"
            f"mean overlap {self.mean_iou:.3f}, score difference {self.score_diff:.3f}, quality {self.quality:.3f}"
            f"{''.join(f', {name} {value:.4f}' for name, value in self._contents().items() if value)}"
        )

    def _contents(self) -> dict[str, float]:
        """How far apart what was found out about the objects is."""
        return {
            "text difference": self.text_diff,
            "embedding distance": self.embedding_distance,
            "attribute difference": self.attribute_diff,
        }

    def facts(self) -> dict[str, float]:
        """The figures as a message has them, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def breaches(self, limit: Tolerance) -> list[str]:
        """What is out of tolerance, a sentence each."""
        said: list[str] = []
        if self.found < max(1.0, self.reference * _LEAST_FOUND):  # else who sees nothing would pass as borderline
            said.append(f"{self.found} of {self.reference} objects found (limit {_LEAST_FOUND:.0%})")
        counts = (("missed", self.missed, limit.missed), ("extra", self.extra, limit.extra))
        for name, count, share in counts:
            if count > share * self.objects:
                said.append(f"{count} {name} beside {self.objects} objects (limit {share:.0%})")
        floors = (("mean overlap", self.mean_iou, limit.mean_iou), ("quality", self.quality, limit.quality))
        said += [f"{name} {value:.3f} (limit {floor:g})" for name, value, floor in floors if not value >= floor]
        roofs = (
            ("score difference", self.score_diff, limit.score_diff),
            ("point error", self.point_error, limit.point_error),
        )
        said += [f"{name} {value:.3f} (limit {roof:g})" for name, value, roof in roofs if not value <= roof]
        limits = (limit.text_diff, limit.embedding_distance, limit.attribute_diff)
        contents = zip(self._contents().items(), limits, strict=True)
        said += [f"{name} {value:.4f} (limit {roof:g})" for (name, value), roof in contents if not value <= roof]
        return said


def compare(reference: Sequence[Detections], found: Sequence[Detections], threshold: float, slack: float) -> Agreement:
    """Match the objects of each picture, best overlap first, class by class.

    `slack` is how near to the confidence `threshold` an object may be for its absence on the other side to be
    nobody's fault.
    """
    overlaps: list[float] = []
    weights: list[float] = []
    scores: list[float] = []
    points: list[float] = []
    findings = Findings()
    missed = extra = borderline = 0
    for expected, actual in zip(reference, found, strict=True):
        pairs = _pairs(expected, actual)
        for one, other, overlap in pairs:
            overlaps.append(overlap)
            weights.append(_weight(expected, one))
            scores.append(abs(float(expected.confidence[one]) - float(actual.confidence[other])))
            points.append(_point_error(expected, one, actual, other))
            findings.add(expected, one, actual, other)
        absent, near = _alone(expected, [one for one, _, _ in pairs], threshold + slack)
        missed, borderline = missed + absent, borderline + near
        absent, near = _alone(actual, [other for _, other, _ in pairs], threshold + slack)
        extra, borderline = extra + absent, borderline + near
    count = len(overlaps)
    weight, overlapping = sum(weights), float(np.dot(weights, overlaps))
    return Agreement(
        reference=sum(map(len, reference)),
        objects=count + missed,
        found=count,
        missed=missed,
        extra=extra,
        borderline=borderline,
        mean_iou=overlapping / weight if count else 1.0,
        least_iou=min(overlaps, default=1.0),
        mean_score_diff=float(np.mean(scores)) if count else 0.0,
        score_diff=max(scores, default=0.0),
        point_error=max(points, default=0.0),
        quality=overlapping / (weight + (missed + extra) / 2) if count + missed + extra else 1.0,
        text_diff=findings.text_diff,
        embedding_distance=findings.embedding_distance,
        attribute_diff=findings.attribute_diff,
    )


def _pairs(expected: Detections, actual: Detections) -> list[tuple[int, int, float]]:
    """Positions in `expected` and `actual` of the same object, and their overlap; each object once."""
    overlap = overlaps(expected.xyxy, actual.xyxy)
    overlap[expected.class_id[:, None] != actual.class_id[None, :]] = 0.0
    if expected.mask is not None:
        for one, other in np.argwhere(overlap > 0.0):
            overlap[one, other] = mask_overlap(expected, int(one), actual, int(other))
    pairs: list[tuple[int, int, float]] = []
    for place in np.argsort(-overlap, axis=None, kind="stable"):
        one, other = divmod(int(place), len(actual))
        if overlap[one, other] < _SAME:
            if overlap[one, other] == 0.0:
                break
            continue
        pairs.append((one, other, float(overlap[one, other])))
        overlap[one, :] = -1.0
        overlap[:, other] = -1.0
    return pairs


def _weight(side: Detections, row: int) -> float:
    """How much the overlap of an object counts."""
    return 1.0 if side.mask is None else min(1.0, max(1.0, float(np.count_nonzero(side.mask[row]))) / _WHOLE_CELLS)


def _alone(side: Detections, paired: list[int], sure: float) -> tuple[int, int]:
    """How many objects without a partner score `sure` or more and are no speck, and how many others."""
    alone = np.delete(np.arange(len(side)), paired)
    certain = side.confidence[alone] >= sure
    if side.mask is not None:
        certain &= np.array([np.count_nonzero(side.mask[row]) >= _SPECK_CELLS for row in alone], bool)
    return int(certain.sum()), len(alone) - int(certain.sum())


def _point_error(expected: Detections, one: int, actual: Detections, other: int) -> float:
    """Greatest distance between keypoints or corners, as part of the diagonal of the reference's box.

    Infinite when only one side has such points.
    """
    worst = 0.0
    sides = expected.xyxy[one, 2:] - expected.xyxy[one, :2]
    diagonal = max(float(np.hypot(*sides)), 1.0)
    for column in ("keypoints", "quad"):
        here, there = getattr(expected, column), getattr(actual, column)
        if here is None and there is None:
            continue
        if here is None or there is None or here.shape[1:] != there.shape[1:]:
            return float("inf")
        distance = np.hypot(*(here[one, :, :2] - there[other, :, :2]).T)
        worst = max(worst, float(np.nan_to_num(distance, nan=np.inf).max(initial=0.0)) / diagonal)
    return worst
