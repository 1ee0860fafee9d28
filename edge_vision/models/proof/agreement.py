"""How far two runtimes agree on what is in the same pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.models.options import Tolerance

_SAME: Final = 0.5
"""Boxes that overlap by half or more are the same object."""

_LEAST_FOUND: Final = 0.5
"""Of the reference's objects so many must be found, however many of them are near the threshold."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Figures over all pictures; objects near the threshold that only one side has are in `borderline`, not counted.

    `quality` is the panoptic quality of the found set (Kirillov et al., arXiv:1801.00868): the sum of overlaps over
    found + missed / 2 + extra / 2. `score_diff` and `point_error` are greatest values, the latter as part of the
    diagonal of the object's box. `objects` are those that count: found or missed; `reference` are all it saw.
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

    def __str__(self) -> str:
        return (
            f"{self.found} of {self.reference} objects found, {self.missed} missed, {self.extra} extra, "
            f"{f'{self.borderline} too near the threshold to count, ' if self.borderline else ''}"
            f"mean overlap {self.mean_iou:.3f}, score difference {self.score_diff:.3f}, quality {self.quality:.3f}"
        )

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
        return said


def compare(reference: Sequence[Detections], found: Sequence[Detections], threshold: float, slack: float) -> Agreement:
    """Match the objects of each picture, best overlap first, class by class.

    `slack` is how near to the confidence `threshold` an object may be for its absence on the other side to be
    nobody's fault.
    """
    overlaps: list[float] = []
    scores: list[float] = []
    points: list[float] = []
    missed = extra = borderline = 0
    for expected, actual in zip(reference, found, strict=True):
        pairs = _pairs(expected, actual)
        for one, other, overlap in pairs:
            overlaps.append(overlap)
            scores.append(abs(float(expected.confidence[one]) - float(actual.confidence[other])))
            points.append(_point_error(expected, one, actual, other))
        absent, near = _alone(expected, [one for one, _, _ in pairs], threshold + slack)
        missed, borderline = missed + absent, borderline + near
        absent, near = _alone(actual, [other for _, other, _ in pairs], threshold + slack)
        extra, borderline = extra + absent, borderline + near
    count = len(overlaps)
    return Agreement(
        reference=sum(map(len, reference)),
        objects=count + missed,
        found=count,
        missed=missed,
        extra=extra,
        borderline=borderline,
        mean_iou=float(np.mean(overlaps)) if count else 1.0,
        least_iou=min(overlaps, default=1.0),
        mean_score_diff=float(np.mean(scores)) if count else 0.0,
        score_diff=max(scores, default=0.0),
        point_error=max(points, default=0.0),
        quality=sum(overlaps) / (count + (missed + extra) / 2) if count + missed + extra else 1.0,
    )


def _pairs(expected: Detections, actual: Detections) -> list[tuple[int, int, float]]:
    """Positions in `expected` and `actual` of the same object, and their overlap; each object once."""
    overlap = overlaps_of(expected.xyxy, actual.xyxy)
    overlap[expected.class_id[:, None] != actual.class_id[None, :]] = 0.0
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


def _alone(side: Detections, paired: list[int], sure: float) -> tuple[int, int]:
    """How many objects without a partner score `sure` or more, and how many less."""
    alone = np.delete(side.confidence, paired)
    certain = int((alone >= sure).sum())
    return certain, len(alone) - certain


def overlaps_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, m): intersection over union of boxes (n, 4) and (m, 4); 0 for empty boxes."""
    first, second = one[:, None].astype(np.float64), other[None].astype(np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    common = np.prod(np.maximum(sides, 0.0), axis=2)
    areas = np.prod(first[..., 2:] - first[..., :2], axis=2) + np.prod(second[..., 2:] - second[..., :2], axis=2)
    return np.asarray(common / np.maximum(areas - common, 1e-9))


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
