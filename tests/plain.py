"""Decoders that walk row by row and say each formula once: slow, obvious, and sharing nothing with those they check."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]


class Found(NamedTuple):
    """An object: its score, its class, its box as left, top, right, bottom, and what else the format tells."""

    score: float
    number: int
    box: Box
    more: Any = None


def best_of(scores: Sequence[float]) -> tuple[float, int]:
    """The best score and its place; the first of equal ones."""
    place = max(range(len(scores)), key=lambda one: (scores[one], -one))
    return float(scores[place]), place


def softmax(values: Sequence[float]) -> list[float]:
    """Numbers as probabilities."""
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def sigmoid(value: float) -> float:
    """A number as a probability."""
    return 1 / (1 + math.exp(-value))


def around(x: float, y: float, width: float, height: float) -> Box:
    """A box by its center."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def nanodet(
    scores: Sequence[NDArray[Any]], distances: Sequence[NDArray[Any]], strides: Sequence[int], width: int, shift: str
) -> list[Found]:
    """Every cell of every stride; `shift` is where in a cell the distances begin."""
    found = []
    for cls, dis, stride in zip(scores, distances, strides, strict=True):
        columns = math.ceil(width / stride)
        begin = {"pixel": (stride - 1) / 2, "middle": stride / 2, "corner": 0.0}[shift]
        bins = dis.shape[1] // 4
        for cell in range(len(cls)):
            reach = []
            for side in range(4):
                odds = softmax([float(value) for value in dis[cell, side * bins : (side + 1) * bins]])
                reach.append(sum(number * odd for number, odd in enumerate(odds)) * stride)
            x, y = (cell % columns) * stride + begin, (cell // columns) * stride + begin
            found.append(Found(*best_of(cls[cell]), (x - reach[0], y - reach[1], x + reach[2], y + reach[3])))
    return found


def fastestdet(raw: NDArray[Any], wh: tuple[int, int]) -> list[Found]:
    """Every cell of (5 + classes, rows, columns), in a picture of `wh`."""
    _, rows, columns = raw.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            cell = [float(value) for value in raw[:, row, column]]
            best, number = best_of(cell[5:])
            x, y = (column + math.tanh(cell[1])) / columns * wh[0], (row + math.tanh(cell[2])) / rows * wh[1]
            box = around(x, y, sigmoid(cell[3]) * wh[0], sigmoid(cell[4]) * wh[1])
            found.append(Found(cell[0] ** 0.6 * best**0.4, number, box))
    return found


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if common else 0.0


def suppressed(found: Sequence[Found], iou: float) -> list[Found]:
    """The best of those of a class that overlap by more than `iou`, best first."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda each: -each.score):
        if not any(other.number == one.number and overlap(one.box, other.box) > iou for other in kept):
            kept.append(one)
    return kept


def clipped(box: Box, wh: tuple[int, int]) -> Box:
    """The part of a box that lies in the picture."""
    left, top, right, bottom = box
    return (
        min(max(left, 0.0), wh[0]),
        min(max(top, 0.0), wh[1]),
        min(max(right, 0.0), wh[0]),
        min(max(bottom, 0.0), wh[1]),
    )


def as_annotations(
    found: Mapping[int, Sequence[Found]],
    ids: Sequence[int | None],
    sizes: Mapping[int, tuple[int, int]] | None,
) -> list[dict[str, Any]]:
    """Detections by the id of their picture as pycocotools takes them; clipped where the pictures' sizes are given.

    Classes without one of the `ids` are left out.
    """
    return [
        {
            "image_id": image,
            "category_id": ids[one.number],
            "bbox": [left, top, right - left, bottom - top],
            "score": one.score,
        }
        for image, those in found.items()
        for one in those
        if ids[one.number] is not None
        for left, top, right, bottom in [one.box if sizes is None else clipped(one.box, sizes[image])]
    ]


def detr(logits: NDArray[Any], boxes: NDArray[Any], wh: tuple[int, int], activation: str) -> list[Found]:
    """Every query; the last column of a softmax is no object, which is no class."""
    found = []
    for row, (x, y, width, height) in zip(logits, boxes, strict=True):
        values = [float(value) for value in row]
        if activation == "softmax":
            odds = softmax(values)[:-1]
        else:
            odds = [sigmoid(value) for value in values] if activation == "sigmoid" else values
        found.append(Found(*best_of(odds), around(x * wh[0], y * wh[1], width * wh[0], height * wh[1])))
    return found


def pose(raw: NDArray[Any], classes: int, values: int) -> list[Found]:
    """Every column of (4 + classes + keypoints * values, anchors); `more` are x, y and confidence of each keypoint."""
    found = []
    for column in raw.T:
        score, number = best_of(column[4 : 4 + classes])
        rest = [float(value) for value in column[4 + classes :]]
        points = [tuple(rest[start : start + values]) for start in range(0, len(rest), values)]
        points = points if values == 3 else [(*point, score) for point in points]
        found.append(Found(score, number, around(*column[:4]), points))
    return found


def turned(raw: NDArray[Any], classes: int) -> list[Found]:
    """Every column of (5 + classes, anchors); `more` is the turned box itself, `box` the one around its corners."""
    found = []
    for column in raw.T:
        x, y, width, height, angle = (float(value) for value in (*column[:4], column[-1]))
        corners = corners_of(x, y, width, height, angle)
        xs, ys = [one for one, _ in corners], [one for _, one in corners]
        score, number = best_of(column[4 : 4 + classes])
        found.append(Found(score, number, (min(xs), min(ys), max(xs), max(ys)), (x, y, width, height, angle)))
    return found


def corners_of(x: float, y: float, width: float, height: float, angle: float) -> list[tuple[float, float]]:
    """Top left, top right, bottom right, bottom left of a box that was turned clockwise around its center."""
    corners = []
    for right, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        a, b = right * width, down * height
        corners.append((x + a * math.cos(angle) - b * math.sin(angle), y + a * math.sin(angle) + b * math.cos(angle)))
    return corners


def hellinger(one: Sequence[float], other: Sequence[float]) -> float:
    """1 - the Hellinger distance of the Gaussians of two turned boxes, by matrices (arXiv:2106.06072, 2 to 5)."""
    means, spreads = [], []
    for x, y, width, height, angle in (one, other):
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        means.append(np.array([x, y]))
        spreads.append(turn @ np.diag([width**2 / 12, height**2 / 12]) @ turn.T)
    mean = (spreads[0] + spreads[1]) / 2
    apart = means[0] - means[1]
    forms = np.linalg.det(mean) / math.sqrt(np.linalg.det(spreads[0]) * np.linalg.det(spreads[1]))
    distance = apart @ np.linalg.inv(mean) @ apart / 8 + math.log(forms) / 2
    return 1 - math.sqrt(max(1 - math.exp(-max(distance, 0.0)), 0.0))
