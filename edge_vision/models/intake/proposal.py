"""Proposes what a model.yaml may say of a network: its input from the graph, its output format from real outputs."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_vision.core.tensor import Tensors
from edge_vision.models.intake.whole import Guess, without_boxes
from edge_vision.models.reading.graph import Graph

_STRIDES: Final = ((8, 16, 32), (8, 16, 32, 64))
_IMAGENET: Final = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_CONVENTIONS: Final[dict[str, dict[str, Any]]] = {
    "yolox": {"color": "bgr", "resize": "letterbox", "anchor": "top_left", "pad_value": 114, "scale": 1.0},
    "yolov5": {"color": "rgb", "resize": "letterbox", "anchor": "center", "pad_value": 114, "scale": 1 / 255},
    **{
        name: {"color": "rgb", "resize": "letterbox", "anchor": "center", "pad_value": 114, "scale": 1 / 255}
        for name in ("yolov8", "yolov8_pose", "yolov8_obb", "end2end")
    },
    "ssd": {"color": "bgr", "resize": "stretch", "scale": 1.0},
    "scores_boxes": {"color": "rgb", "resize": "stretch", "mean": [127.0] * 3, "std": [128.0] * 3},
    "darknet": {"color": "rgb", "resize": "stretch", "scale": 1 / 255},
    "priors": {"color": "rgb", "resize": "stretch", "mean": [127.0] * 3, "std": [128.0] * 3},
    "nanodet": {
        "color": "bgr", "resize": "letterbox", "anchor": "center", "pad_value": 0,
        "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395],
    },
    "fastestdet": {"color": "bgr", "resize": "stretch", "interpolation": "area", "scale": 1 / 255},
    "detr": {
        "color": "rgb", "resize": "stretch", "scale": 1 / 255,
        **_IMAGENET,
    },
    "classification": {"color": "rgb", "resize": "stretch", "scale": 1 / 255, **_IMAGENET},
    "segmentation": {"color": "rgb", "resize": "stretch", "scale": 1 / 255, **_IMAGENET},
    "anomaly": {"color": "rgb", "resize": "stretch", "scale": 1 / 255, **_IMAGENET},
    "embedding": {"color": "rgb", "resize": "stretch", "scale": 1 / 255, **_IMAGENET},
    "dbnet": {
        "color": "bgr", "resize": "letterbox", "anchor": "top_left", "pad_value": 0, "scale": 1 / 255, **_IMAGENET,
    },
    "ctc": {
        "color": "bgr", "resize": "fit_height", "pad_value": 127, "scale": 1 / 255,
        "mean": [0.5] * 3, "std": [0.5] * 3,
    },
}  # fmt: skip
"""How the projects these formats come from prepare a picture; a guess, and named as one."""
_PRIORS: Final = (
    ((8, 16, 32, 64), ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256)), True),  # UltraFace
    ((8, 16, 32), ((16, 32), (64, 128), (256, 512)), False),  # RetinaFace
)
"""Strides and sides of the prior boxes of projects whose files are met often, and whether they are clipped."""
_AXES_OF_A_CLIP: Final = 5
_BINS: Final = 8
"""Values per distance of NanoDet, wherever it was published."""
_PEOPLE: Final = 17
"""Keypoints of COCO's people."""
_STRIDE_OF_FASTESTDET: Final = 16
_MOST_QUERIES: Final = 1000
"""More rows than that are cells of a grid."""
_ORDERS: Final = {
    "image_box_class_score": (7, 1, 6, 5),
    "box_score_class": (6, 0, 4, 5),
    "class_score_box": (6, 2, 1, 0),
}
"""Of finished detections in one output: columns in all, where the box begins, the score, and the class."""
_IN_UNIT: Final = 2.0
"""Boxes in 0..1 reach a little beyond the picture, boxes in pixels far."""
_DARKNET_LAYER: Final = re.compile(r"(yolo|region|detection)_\d+$")
_GUESSED: Final = ("color", "resize", "anchor", "pad_value", "scale", "mean", "std")


@dataclass(frozen=True, slots=True)
class Told:
    """What the exporter wrote into the file: labels, a license, the input; None and empty where it did not."""

    labels: tuple[str, ...] | None
    license: str | None
    size: tuple[int, int] | None
    input: dict[str, Any]


def told_by(graph: Graph) -> Told:
    """Read the metadata that Ultralytics and OpenVINO's tools write."""
    facts = graph.metadata
    names = _literal(facts.get("names"))
    labels: tuple[str, ...] | None = None
    if isinstance(names, dict) and names and sorted(names) == list(range(len(names))):
        labels = tuple(str(names[number]) for number in range(len(names)))
    elif isinstance(names, list) and names:
        labels = tuple(map(str, names))
    elif facts.get("labels"):  # model_info of an IR: words with underscores for spaces
        labels = tuple(word.replace("_", " ") for word in facts["labels"].split())
    sides = _literal(facts.get("imgsz"))
    size = (int(sides[1]), int(sides[0])) if isinstance(sides, list) and len(sides) == 2 else None  # noqa: PLR2004
    known = dict(_CONVENTIONS["yolov8"]) if facts.get("author") == "Ultralytics" else {}
    return Told(labels, facts.get("license"), size, known)


def input_section(shape: Sequence[int], dtype: str) -> dict[str, Any]:
    """Size and layout of an input of that shape, the frames of a clip, and gray where it has one channel."""
    last = shape[-1] in (1, 3) and shape[1] not in (1, 3)
    height, width, channels = (*shape[-3:-1], shape[-1]) if last else (*shape[-2:], shape[1])
    section: dict[str, Any] = {"size": [int(width), int(height)]}
    if len(shape) == _AXES_OF_A_CLIP:
        section |= {"layout": "nthwc", "frames": shape[1]} if last else {"layout": "ncthw", "frames": shape[2]}
    else:
        section |= {"layout": "nhwc"} if last else {}
    section |= {"dtype": dtype} if dtype != "float32" else {}
    return section | ({"color": "gray"} if channels == 1 else {})


def conventional(section: Mapping[str, Any], format_: str) -> dict[str, Any]:
    """What an input section does not say yet, as the projects behind an output format have it."""
    usual = dict(_CONVENTIONS.get(format_, {}))
    if section.get("color") == "gray":
        usual |= {key: usual[key][:1] for key in ("mean", "std") if key in usual}
    if section.get("dtype") == "uint8":  # pixels as they are, or quantized by the file itself
        usual = {key: value for key, value in usual.items() if key not in {"scale", "mean", "std"}}
    return {key: value for key, value in usual.items() if key not in section}


def assumed(section: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """The keys of an input section that nothing has told."""
    skip = {*known}
    skip |= {"color"} if section.get("color") == "gray" else set()
    skip |= {"scale", "mean", "std"} if section.get("dtype") == "uint8" else set()
    skip |= {"anchor", "pad_value"} if section.get("resize") == "stretch" else set()
    return [f"input.{key}" for key in _GUESSED if f"input.{key}" not in skip and key not in skip]


def guesses(outputs: Tensors, size: tuple[int, int], labels: int | None) -> list[Guess]:
    """The formats that outputs may have, likeliest first; with labels only those of as many classes."""
    found = list(_finished(outputs))
    found += [guess for name in outputs for guess in _single(name, outputs, size, labels)]
    found += _pairs(outputs, size, labels)
    found += _darknet(outputs)
    found += _nanodet(outputs, size)
    found += without_boxes(outputs, size, labels)
    return [guess for guess in found if labels is None or guess.classes in (None, labels)]


def _single(name: str, outputs: Tensors, size: tuple[int, int], labels: int | None) -> Iterator[Guess]:
    value = outputs[name]
    named: dict[str, Any] = {} if len(outputs) == 1 else {"output": name}
    shape = value.shape
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7:  # noqa: PLR2004 - DetectionOutput
        yield Guess({"format": "ssd", **named}, None, f"{list(shape)} is a DetectionOutput layer")
    grid = tuple(side * _STRIDE_OF_FASTESTDET for side in shape[:1:-1])
    if len(shape) == 4 and grid == size and shape[1] > 5 and _sums_to_one(value[0, 5:]):  # noqa: PLR2004
        yield Guess({"format": "fastestdet", **named}, shape[1] - 5, f"{list(shape)} is one grid with classes")
    if len(shape) != 3 or shape[0] != 1:  # noqa: PLR2004
        return
    for strides in _STRIDES:
        yield from _cells(value, size, strides, labels, named)


def _cells(
    value: Any, size: tuple[int, int], strides: tuple[int, ...], labels: int | None, named: dict[str, Any]
) -> Iterator[Guess]:
    """Heads with a row or a column for each cell of the strides."""
    shape = value.shape
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in strides)
    where = f"{list(shape)}: {cells} cells of the strides {', '.join(map(str, strides))}"
    if shape[1] == cells and shape[2] > 5:  # noqa: PLR2004 - a box and objectness
        if _in_pixels(value, size):
            yield Guess({"format": "yolov5", **named}, shape[2] - 5, f"{where}, boxes in pixels")
        else:
            options = {"format": "yolox", "strides": list(strides), **named}
            yield Guess(options, shape[2] - 5, f"{where}, boxes as offsets")
    if shape[1] == 3 * cells and shape[2] > 5:  # noqa: PLR2004
        yield Guess({"format": "yolov5", **named}, shape[2] - 5, f"{where} with 3 anchors each")
    if shape[2] == cells and shape[1] > 4:  # noqa: PLR2004 - a box
        yield from _columns(shape[1], labels, named, f"{where}, one column each")
    if shape[1] == cells and shape[2] > 4 * _BINS and not named:
        options = {"format": "nanodet", "strides": list(strides), "bins": _BINS, "begin": "corner"}
        yield Guess(options, shape[2] - 4 * _BINS, f"{where} with distances of {_BINS} values")


def _columns(rows: int, labels: int | None, named: dict[str, Any], where: str) -> Iterator[Guess]:
    """What a column of a YOLOv8 head holds: a box and classes, an angle behind them, or keypoints."""
    people = Guess({"format": "yolov8_pose", **named}, 1, f"{where}, with the {_PEOPLE} keypoints of people")
    if rows == 5 + 3 * _PEOPLE:  # rather than 52 classes
        yield people
    yield Guess({"format": "yolov8", **named}, rows - 4, where)
    if labels is None:
        return
    rest = rows - 4 - labels
    if rest == 1:
        yield Guess({"format": "yolov8_obb", **named}, labels, f"{where}, with an angle")
    elif rest > 0 and rest % 3 == 0:
        options = {"format": "yolov8_pose", "keypoints": rest // 3, **named}
        yield Guess(options, labels, f"{where}, with {rest // 3} keypoints")


def _darknet(outputs: Tensors) -> Iterator[Guess]:
    """The layers of a Darknet file, which OpenCV has decoded already."""
    widths = {value.shape[-1] for value in outputs.values() if value.ndim == 2}  # noqa: PLR2004 - boxes, columns
    if outputs and len(widths) == 1 and all(_DARKNET_LAYER.match(name) for name in outputs):
        (width,) = widths
        if width > 5:  # noqa: PLR2004 - a box and objectness
            shown = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
            yield Guess({"format": "darknet"}, width - 5, f"{shown}: layers of a Darknet file")


def _in_pixels(value: Any, size: tuple[int, int]) -> bool:
    """Whether the first two columns are centers spread over the picture, and not offsets inside a cell."""
    return bool(np.nanmax(np.abs(value[0, :, :2])) > max(size) / 4)


def _pairs(outputs: Tensors, size: tuple[int, int], labels: int | None) -> Iterator[Guess]:
    """Boxes beside scores: as corners in 0..1, or as offsets from priors."""
    sides = [(name, value) for name, value in outputs.items() if value.ndim == 3 and value.shape[0] == 1]  # noqa: PLR2004
    for name, boxes in sides:
        for other, scores in sides:
            if other == name or boxes.shape[2] != 4 or boxes.shape[1] != scores.shape[1]:  # noqa: PLR2004
                continue
            classes = labels if labels is not None else max(1, scores.shape[2] - 1)
            first = scores.shape[2] - classes
            if first not in (0, 1):
                continue
            options: dict[str, Any] = {"format": "", "scores": other, "boxes": name, "first_class": first}
            where = f"{name} {list(boxes.shape)} beside {other} {list(scores.shape)}"
            if ((boxes[0, :, 2:] >= boxes[0, :, :2]).all(axis=1)).mean() > 0.99:  # noqa: PLR2004 - rounding
                yield Guess({**options, "format": "scores_boxes"}, classes, f"{where}, boxes as corners")
            elif boxes.min() >= 0 and boxes.max() <= 1 and boxes.shape[1] <= _MOST_QUERIES:
                yield _queries(name, other, scores, labels, where)
            else:
                options |= {"format": "priors", **_priors(boxes.shape[1], size)}
                if scores.min() < 0 or scores.max() > 1:
                    options["activation"] = "softmax" if first else "sigmoid"
                yield Guess(options, classes, f"{where}, boxes as offsets from priors")


def _queries(boxes: str, name: str, scores: Any, labels: int | None, where: str) -> Guess:
    """DETR, whose last column is no object, or a successor without it: most queries find nothing."""
    columns = scores.shape[2]
    none = columns - labels == 1 if labels is not None else bool((scores[0].argmax(axis=1) == columns - 1).mean() > 0.5)  # noqa: PLR2004
    known = bool(scores.min() >= 0 and scores.max() <= 1)
    activation = "softmax" if none else "none" if known else "sigmoid"
    options = {"format": "detr", "scores": name, "boxes": boxes, "activation": activation}
    return Guess(options, columns - none, f"{where}, boxes as centers in 0..1")


def _nanodet(outputs: Tensors, size: tuple[int, int]) -> Iterator[Guess]:
    """Scores and distances of each stride."""
    shapes = sorted(value.shape[-2:] for value in outputs.values() if value.ndim == 3)  # noqa: PLR2004
    for strides in _STRIDES:
        cells = [-(-size[0] // stride) * -(-size[1] // stride) for stride in strides]
        columns = {columns for _, columns in shapes} - {4 * _BINS}
        if len(outputs) != 2 * len(strides) or len(columns) != 1:
            continue
        (classes,) = columns
        if shapes == sorted((count, width) for count in cells for width in (classes, 4 * _BINS)):
            options = {"format": "nanodet", "strides": list(strides), "bins": _BINS}
            yield Guess(options, classes, f"scores and distances of the strides {', '.join(map(str, strides))}")


def _finished(outputs: Tensors) -> Iterator[Guess]:
    """Detections of a network that suppresses doubles itself: told by whole numbers where the classes are."""
    (name, value), *others = outputs.items()
    rows = value[0] if value.ndim == 3 and len(value) == 1 else value  # noqa: PLR2004 - a batch of one
    shown = f"{name} {list(value.shape)}"
    if others:
        boxes = [key for key, one in outputs.items() if one.ndim == 3 and len(one) == 1 and one.shape[2] in (4, 5)]  # noqa: PLR2004
        yield from _several(outputs, boxes[0]) if len(boxes) == 1 else ()
    elif rows.ndim == 2 and 0 < len(rows) <= _MOST_QUERIES:  # noqa: PLR2004 - rows and columns
        for columns, (width, begin, score, number) in _ORDERS.items():
            if rows.shape[1] == width and _whole(rows[:, number]) and _in_unit(rows[:, score]):
                unit = _unit(rows[:, begin : begin + 4])
                options = {"format": "end2end", "columns": columns, "unit": unit}
                yield Guess(options, None, f"{shown}: rows of {columns.replace('_', ', ')}")
                return


def _several(outputs: Tensors, boxes: str) -> Iterator[Guess]:
    """Boxes, scores, classes and perhaps their count in outputs of their own."""
    count, width = outputs[boxes].shape[1:]
    named: dict[str, str] = {}
    for name, value in outputs.items():
        if value.size == 1:
            named["count"] = name
        elif value.shape == (1, count):
            named["classes" if _whole(value) and "score" not in name.lower() else "scores"] = name
    wanted = {"classes", *(["scores"] if width == 4 else [])}  # noqa: PLR2004 - else the score is behind the box
    if named.keys() - {"count"} != wanted or len(named) != len(outputs) - 1:
        return
    unit = _unit(outputs[boxes][..., :4])
    options = {"format": "end2end", "boxes": boxes, **named, "unit": unit}
    options |= {"box": "yxyx"} if unit == "input" else {}  # TensorFlow's way
    yield Guess(options, None, f"{boxes} {list(outputs[boxes].shape)} beside {', '.join(named.values())}")


def _unit(boxes: Any) -> str:
    return "input" if np.abs(boxes).max(initial=0.0) <= _IN_UNIT else "pixel"


def _whole(values: Any) -> bool:
    """Whether these may be numbers of classes."""
    return bool((values == np.floor(values)).all() and (values >= -1).all())


def _in_unit(values: Any) -> bool:
    return bool((values >= 0).all() and (values <= 1).all())


def _sums_to_one(classes: Any) -> bool:
    """Whether (classes, rows, columns) are probabilities."""
    return bool(np.allclose(classes.sum(axis=0), 1.0, atol=1e-2))


def _priors(count: int, size: tuple[int, int]) -> dict[str, Any]:
    """Strides and sides of prior boxes, where a known set has that many; what is missing must be said."""
    for strides, sides, clip in _PRIORS:
        cells = [-(-size[0] // stride) * -(-size[1] // stride) for stride in strides]
        if count == sum(number * len(own) for number, own in zip(cells, sides, strict=True)):
            return {"strides": list(strides), "min_sizes": [list(own) for own in sides], "clip": clip}
    return {}


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text or "None")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
