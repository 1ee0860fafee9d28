"""Crowds whose every step is known: people who walk, cross, turn and hide each other, and what a detector sees of them.

Who stands nearer hides who stands behind: half hidden is seen weakly and cut, mostly hidden is not seen at all, as with
real detectors. Everything follows from a seed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.models.proof.tracks import Rows

WH: Final = (1280.0, 720.0)
FPS: Final = 25.0
_CUT, _GONE = 0.35, 0.7
"""How much of a person must be hidden for the box to be cut and weak, and for there to be none."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The known tracks, and the detections of each frame, the first of which is frame 1."""

    truth: Rows
    seen: list[Detections]


def crowd(people: int, seconds: float, seed: int, looks: int = 0, turning: float = 0.0) -> Crowd:
    """People who walk across the picture; `turning` is how many of a hundred turn around in a second.

    With `looks` each detection comes with what the person looks like, in so many numbers; trembling, but his own.
    """
    rng, looking = np.random.default_rng(seed), np.random.default_rng(seed + 1_000_000)
    depth = rng.uniform(0.5, 1.0, people)  # 1 is nearest: larger, lower in the picture, in front
    size = np.stack([90 * depth, 220 * depth], axis=1)
    place = np.stack([rng.uniform(0, WH[0], people), 250 + 400 * (depth - 0.5) + rng.uniform(-20, 20, people)], axis=1)
    step = np.stack([rng.choice([-1, 1], people) * rng.uniform(1.5, 4.5, people) * depth, np.zeros(people)], axis=1)
    look = looking.normal(size=(people, looks))
    number, last = np.arange(1, people + 1), people
    known: list[tuple[float, ...]] = []
    seen: list[Detections] = []
    for frame in range(1, round(seconds * FPS) + 1):
        place = place + step
        turned = rng.uniform(size=people) < turning / 100 / FPS
        step[turned, 0] *= -1
        gone = (place[:, 0] < -60) | (place[:, 0] > WH[0] + 60)
        for one in np.flatnonzero(gone):  # somebody else comes in on the other side
            place[one, 0] = -55 if step[one, 0] > 0 else WH[0] + 55
            last += 1
            number[one], look[one] = last, looking.normal(size=looks)
        boxes = np.concatenate([place - size / 2, place + size / 2], axis=1).clip(0, [*WH, *WH])
        hidden = _hidden(boxes, depth)
        inside = boxes[:, 2] - boxes[:, 0] > 20
        known += [(frame, number[one], *boxes[one]) for one in np.flatnonzero(inside & (hidden < _GONE))]
        seen.append(_look((rng, looking), boxes, size, hidden, inside, look))
    table = np.array(known)
    return Crowd(Rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:], np.ones(len(table))), seen)


def _look(
    chances: tuple[np.random.Generator, np.random.Generator],
    boxes: NDArray[np.float64],
    size: NDArray[np.float64],
    hidden: NDArray[np.float64],
    inside: NDArray[np.bool_],
    look: NDArray[np.float64],
) -> Detections:
    """What a detector makes of it: boxes that tremble by some percent, and now and then something that is nothing."""
    rng, looking = chances
    there = np.flatnonzero(inside & (hidden < _GONE) & (rng.uniform(size=len(boxes)) > 0.02))
    tremble = rng.normal(0, 0.02, (len(there), 4)) * np.tile(size[there], 2)
    found = boxes[there] + tremble
    found[:, 3] -= np.where(hidden[there] > _CUT, 0.25, 0.0) * (found[:, 3] - found[:, 1])
    score = np.where(hidden[there] > _CUT, rng.uniform(0.15, 0.45, len(there)), rng.uniform(0.55, 0.95, len(there)))
    mine = look[there] + 0.35 * looking.normal(size=(len(there), look.shape[1]))
    if rng.uniform() < 0.05:
        corner = rng.uniform(0, [WH[0] - 80, WH[1] - 160])
        found = np.concatenate([found, [[*corner, corner[0] + 70, corner[1] + 150]]])
        score = np.append(score, rng.uniform(0.1, 0.6))
        mine = np.concatenate([mine, looking.normal(size=(1, look.shape[1]))])
    embedding = (mine / np.maximum(np.linalg.norm(mine, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    order = np.argsort(-score)
    return Detections(
        found[order].astype(np.float32),
        score[order].astype(np.float32),
        np.zeros(len(order), np.int32),
        embedding=embedding[order] if look.shape[1] else None,
    )


def _hidden(boxes: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each box the one that hides most of it hides."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    own = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    nearer = depth[None, :] > depth[:, None]
    return np.asarray((shared / own[:, None] * nearer).max(axis=1))
