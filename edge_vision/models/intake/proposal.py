"""Proposes what a model.yaml may say of a network: its input from the graph, its output format from real outputs."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edge_vision.core.tensor import Tensors
from edge_vision.models.reading.graph import Graph

_STRIDES: Final = ((8, 16, 32), (8, 16, 32, 64))
_CONVENTIONS: Final[dict[str, dict[str, Any]]] = {
    "yolox": {"color": "bgr", "resize": "letterbox", "anchor": "top_left", "pad_value": 114, "scale": 1.0},
    "yolov5": {"color": "rgb", "resize": "letterbox", "anchor": "center", "pad_value": 114, "scale": 1 / 255},
    "yolov8": {"color": "rgb", "resize": "letterbox", "anchor": "center", "pad_value": 114, "scale": 1 / 255},
    "ssd": {"color": "bgr", "resize": "stretch", "scale": 1.0},
    "scores_boxes": {"color": "rgb", "resize": "stretch", "mean": [127.0] * 3, "std": [128.0] * 3},
    "darknet": {"color": "rgb", "resize": "stretch", "scale": 1 / 255},
    "priors": {"color": "rgb", "resize": "stretch", "mean": [127.0] * 3, "std": [128.0] * 3},
}
"""How the projects these formats come from prepare a picture; a guess, and named as one."""
_PRIORS: Final = (
    ((8, 16, 32, 64), ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256)), True),  # UltraFace
    ((8, 16, 32), ((16, 32), (64, 128), (256, 512)), False),  # RetinaFace
)
"""Strides and sides of the prior boxes of projects whose files are met often, and whether they are clipped."""
_DARKNET_LAYER: Final = re.compile(r"(yolo|region|detection)_\d+$")
_GUESSED: Final = ("color", "resize", "anchor", "pad_value", "scale", "mean", "std")


@dataclass(frozen=True, slots=True)
class Guess:
    """An output format that fits the outputs, its options, how many classes it would have, and what speaks for it."""

    options: dict[str, Any]
    classes: int | None
    why: str

    @property
    def format(self) -> str:
        """Name of the format."""
        return str(self.options["format"])


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
    """Size and layout of an input of that shape, and gray where it has one channel."""
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    height, width, channels = (shape[1], shape[2], shape[3]) if last else (shape[2], shape[3], shape[1])
    section: dict[str, Any] = {"size": [int(width), int(height)]}
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
    found = [guess for name in outputs for guess in _single(name, outputs, size)]
    found += _pairs(outputs, size, labels)
    found += _darknet(outputs)
    return [guess for guess in found if labels is None or guess.classes in (None, labels)]


def _single(name: str, outputs: Tensors, size: tuple[int, int]) -> Iterator[Guess]:
    value = outputs[name]
    named: dict[str, Any] = {} if len(outputs) == 1 else {"output": name}
    shape = value.shape
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7:  # noqa: PLR2004 - DetectionOutput
        yield Guess({"format": "ssd", **named}, None, f"{list(shape)} is a DetectionOutput layer")
    if len(shape) != 3 or shape[0] != 1:  # noqa: PLR2004
        return
    for strides in _STRIDES:
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
            yield Guess({"format": "yolov8", **named}, shape[1] - 4, f"{where}, one column each")


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
            else:
                options |= {"format": "priors", **_priors(boxes.shape[1], size)}
                if scores.min() < 0 or scores.max() > 1:
                    options["activation"] = "softmax" if first else "sigmoid"
                yield Guess(options, classes, f"{where}, boxes as offsets from priors")


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
