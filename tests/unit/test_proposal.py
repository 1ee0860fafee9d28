"""Output formats are told from real outputs, inputs from shapes and metadata, nodes from what runtimes say."""

from typing import Any

import numpy as np
import pytest
from conftest import RANDOM

from edge_vision.core.tensor import TensorSpec
from edge_vision.models.intake.culprit import _shortest, named
from edge_vision.models.intake.proposal import assumed, conventional, guesses, input_section, told_by
from edge_vision.models.reading.graph import Graph, Node

SIZE = (64, 96)
CELLS = 8 * 12 + 4 * 6 + 2 * 3


def offsets(*shape: int) -> Any:
    """Numbers as an untrained head gives them."""
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def pixels(*shape: int) -> Any:
    """Centers all over the picture."""
    made = offsets(*shape)
    made[..., :2] = RANDOM.uniform(0, 64, made[..., :2].shape)
    return made


def corners(count: int) -> Any:
    """Boxes in 0..1."""
    made = RANDOM.uniform(0, 0.5, (1, count, 4)).astype(np.float32)
    made[..., 2:] += 0.5
    return made


def scores(count: int, columns: int) -> Any:
    """Numbers in 0..1."""
    return RANDOM.uniform(0, 1, (1, count, columns)).astype(np.float32)


def centers(count: int) -> Any:
    """Boxes as center and size in 0..1."""
    return RANDOM.uniform(0, 1, (1, count, 4)).astype(np.float32)


def none_mostly(count: int, columns: int) -> Any:
    """Logits of queries that find nothing, but for a few."""
    made = offsets(1, count, columns)
    made[0, 5:, -1] = 9
    return made


def heads(classes: int) -> Any:
    """Six outputs, in no order."""
    cells = (4 * 6, 8 * 12, 2 * 3)
    return {f"{count}x{width}": offsets(1, count, width) for width in (32, classes) for count in cells}


def shares(*shape: int) -> Any:
    """Probabilities along the last axis."""
    made = np.exp(offsets(*shape))
    return made / made.sum(axis=-1, keepdims=True)


def steps(count: int, classes: int, blank: int) -> Any:
    """Logits of a line in which next to nothing is written."""
    made = offsets(1, count, classes)
    made[0, 2:, blank] = 9
    return made


def one_grid(classes: int) -> Any:
    """Objectness, a box and probabilities at stride 16."""
    made = offsets(1, 5 + classes, 6, 4)
    made[:, 5:] = np.exp(made[:, 5:]) / np.exp(made[:, 5:]).sum(axis=1, keepdims=True)
    return made


def finished(columns: str) -> Any:
    """Detections in a row each: boxes, scores, classes and the number of the image."""
    parts = {
        "b": RANDOM.uniform(0, 60, (20, 4)),
        "s": RANDOM.uniform(0, 1, (20, 1)),
        "c": RANDOM.integers(0, 3, (20, 1)),
        "i": np.zeros((20, 1)),
    }
    return np.concatenate([parts[name] for name in columns], axis=1).astype(np.float32)


def four(side: float, numbers: Any) -> Any:
    """The same in four outputs."""
    return {
        "n": np.array([[7]], numbers),
        "b": RANDOM.uniform(0, side, (1, 20, 4)).astype(np.float32),
        "s": RANDOM.uniform(0, 1, (1, 20)).astype(np.float32),
        "c": RANDOM.integers(0, 3, (1, 20)).astype(numbers),
    }


@pytest.mark.parametrize(
    "outputs,labels,options,classes",
    [
        ({"o": offsets(1, CELLS, 9)}, None, {"format": "yolox", "strides": [8, 16, 32]}, 4),
        ({"o": pixels(1, CELLS, 9)}, None, {"format": "yolov5"}, 4),
        ({"o": pixels(1, 3 * CELLS, 9)}, 4, {"format": "yolov5"}, 4),
        ({"o": offsets(1, 7, CELLS)}, None, {"format": "yolov8"}, 3),
        ({"o": offsets(1, 7, CELLS + 2), "p": offsets(1, CELLS, 9)}, None, {"format": "yolox", "output": "p"}, 4),
        ({"o": offsets(1, CELLS + 1, 9)}, None, {"format": "yolox", "strides": [8, 16, 32, 64]}, 4),
        ({"o": offsets(1, 1, 200, 7)}, 2, {"format": "ssd"}, None),
        ({"b": corners(50), "s": scores(50, 2)}, None, {"format": "scores_boxes", "first_class": 1, "boxes": "b"}, 1),
        ({"b": corners(50), "s": scores(50, 3)}, 3, {"format": "scores_boxes", "first_class": 0, "scores": "s"}, 3),
        ({"b": offsets(1, 50, 4), "s": scores(50, 3)}, 2, {"format": "priors", "first_class": 1}, 2),
        ({"o": offsets(1, CELLS + 1, 36)}, 4, {"format": "nanodet", "strides": [8, 16, 32, 64], "begin": "corner"}, 4),
        (heads(5), None, {"format": "nanodet", "strides": [8, 16, 32], "bins": 8}, 5),
        ({"o": one_grid(4)}, None, {"format": "fastestdet"}, 4),
        ({"b": centers(100), "s": none_mostly(100, 5)}, None, {"format": "detr", "activation": "softmax"}, 4),
        ({"b": centers(300), "s": offsets(1, 300, 5)}, 5, {"format": "detr", "activation": "sigmoid", "boxes": "b"}, 5),
        ({"b": centers(300), "s": scores(300, 5)}, None, {"format": "detr", "activation": "none"}, 5),
        ({"o": offsets(1, 56, CELLS)}, None, {"format": "yolov8_pose"}, 1),
        ({"o": offsets(1, 18, CELLS)}, 2, {"format": "yolov8_pose", "keypoints": 4}, 2),
        ({"o": offsets(1, 18, CELLS)}, 13, {"format": "yolov8_obb"}, 13),
        (
            {"o": finished("bsc")[None]},
            None,
            {"format": "end2end", "columns": "box_score_class", "unit": "pixel"},
            None,
        ),
        ({"o": finished("csb")}, 3, {"format": "end2end", "columns": "class_score_box"}, None),
        ({"o": finished("ibcs")}, 3, {"format": "end2end", "columns": "image_box_class_score"}, None),
        (
            four(48.0, np.int32),
            None,
            {"format": "end2end", "boxes": "b", "classes": "c", "count": "n"},
            None,
        ),
        (four(1.0, np.float32), 3, {"format": "end2end", "scores": "s", "unit": "input", "box": "yxyx"}, None),
        ({"b": offsets(1, 50, 4), "s": offsets(1, 50, 3)}, 2, {"format": "priors", "activation": "softmax"}, 2),
        ({"o": offsets(1, 12)}, 12, {"format": "classification", "activation": "softmax"}, 12),
        ({"o": offsets(1, 12, 1, 1)}, 11, {"format": "classification", "first_class": 1}, 11),
        ({"o": shares(1, 12)}, None, {"format": "classification", "activation": "none"}, 12),
        ({"o": steps(18, 40, 39)}, 40, {"format": "ctc", "layout": "ntc", "blank": 39, "activation": "softmax"}, 40),
        ({"o": steps(18, 40, 0).transpose(0, 2, 1)}, 39, {"format": "ctc", "layout": "nct", "blank": 0}, 39),
        ({"o": steps(18, 40, 0)}, 38, {"format": "ctc", "space": True, "blank": 0}, 38),
        ({"o": offsets(1, 5, 24, 16)}, 5, {"format": "segmentation", "layout": "nchw", "activation": "softmax"}, 5),
        ({"o": shares(1, 24, 16, 5)}, None, {"format": "segmentation", "layout": "nhwc", "activation": "none"}, 5),
        ({"o": RANDOM.integers(0, 4, (1, 96, 64))}, 6, {"format": "segmentation", "layout": "map"}, 6),
    ],
)
def test_formats_are_told_from_outputs(
    outputs: dict[str, Any], labels: int | None, options: dict[str, Any], classes: int | None
) -> None:
    """By shapes, and where those are the same by the numbers."""
    best = guesses(outputs, SIZE, labels)[0]
    assert {key: best.options.get(key) for key in options} == options
    assert best.classes == classes


@pytest.mark.parametrize(
    "output, formats",
    [
        (offsets(1, 12), ["classification", "embedding"]),
        (np.abs(offsets(1, 1, 24, 16)), ["dbnet", "segmentation", "anomaly"]),
        (offsets(1, 96, 64), ["anomaly"]),
    ],
)
def test_what_may_be_several_things_is_not_guessed(output: Any, formats: list[str]) -> None:
    """It is offered where it is asked for by name."""
    found = guesses({"o": output}, SIZE, None)
    assert [guess.format for guess in found] == formats
    assert not any(guess.sure for guess in found)


def test_labels_that_do_not_fit_rule_a_format_out() -> None:
    """Rather nothing than a decoder that reads other columns."""
    assert guesses({"o": offsets(1, CELLS, 9)}, SIZE, 5) == []
    assert guesses({"o": offsets(1, 100, 9)}, SIZE, None) == []


def test_known_priors_are_filled_in() -> None:
    """UltraFace at 320x240 has 4420."""
    outputs = {"b": offsets(1, 4420, 4), "s": scores(4420, 2)}
    (best,) = guesses(outputs, (320, 240), 1)
    assert best.options["strides"] == [8, 16, 32, 64]
    assert best.options["clip"] is True


@pytest.mark.parametrize(
    "shape,dtype,section",
    [
        ((1, 3, 240, 320), "float32", {"size": [320, 240]}),
        ((1, 240, 320, 3), "uint8", {"size": [320, 240], "layout": "nhwc", "dtype": "uint8"}),
        ((1, 1, 24, 94), "float32", {"size": [94, 24], "color": "gray"}),
        ((1, 3, 16, 112, 96), "float32", {"size": [96, 112], "layout": "ncthw", "frames": 16}),
        ((1, 8, 64, 48, 3), "float32", {"size": [48, 64], "layout": "nthwc", "frames": 8}),
    ],
)
def test_an_input_is_told_from_its_shape(shape: tuple[int, ...], dtype: str, section: dict[str, Any]) -> None:
    """Size, layout and the number of channels."""
    assert input_section(shape, dtype) == section


def test_what_is_known_is_not_assumed() -> None:
    """Told keys, and keys that mean nothing here, are no guesses."""
    section: dict[str, Any] = {"size": [320, 240], "dtype": "uint8", "color": "bgr"}
    section |= conventional(section, "scores_boxes")
    assert section == {"size": [320, 240], "dtype": "uint8", "color": "bgr", "resize": "stretch"}
    assert assumed(section, ["input.color"]) == ["input.resize"]
    gray = {"color": "gray", **conventional({"color": "gray"}, "priors")}
    assert (gray["mean"], gray["std"]) == ([127.0], [128.0])


def test_metadata_of_exporters() -> None:
    """Names by number or in a list; rubbish is no label, and is not run."""
    told = told_by(Graph("onnx", metadata={"names": "{0: 'a', 1: 'b'}", "imgsz": "[96, 64]"}))
    assert (told.labels, told.size) == (("a", "b"), (64, 96))
    assert told_by(Graph("openvino", metadata={"labels": "stop_sign car"})).labels == ("stop sign", "car")
    assert told_by(Graph("onnx", metadata={"names": "__import__('os').abort()"})).labels is None
    assert told_by(Graph("onnx", metadata={"names": "{1: 'a'}"})).labels is None


GRAPH = Graph(
    "onnx",
    (TensorSpec("images", (1, 3, 64, 64), "float32"),),
    nodes=(
        Node("/stem/Conv", "Conv"),
        Node("245", "Relu"),
        Node("/head/Pool_1", "GlobalAveragePool"),
        Node("x", "Acme"),
    ),
)


@pytest.mark.parametrize(
    "reason,name",
    [
        ("Node [GlobalAveragePool@ai.onnx]:(onnx_node!/head/Pool_1) parse error: OpenCV", "/head/Pool_1"),
        ("> Node [Relu@ai.onnx]:(onnx_node_output_0!245) parse error", "245"),
        ("Non-zero status code returned while running Conv node. Name:'/stem/Conv' Status Message", "/stem/Conv"),
        ("No conversion rule found for operations: com.acme.Acme", "x"),
        ("Could not find an implementation for Relu(1) at line 245 of graph.cc", None),
    ],
)
def test_runtimes_name_the_node(reason: str, name: str | None) -> None:
    """In their own ways; a number in a message is no name."""
    found = named(GRAPH, reason)
    assert (None if found is None else found.name) == name


@pytest.mark.parametrize("bad", [1, 2, 3, 4])
def test_halving_finds_the_first_node_that_fails(bad: int) -> None:
    """Whichever it is; none when the whole graph runs."""
    assert _shortest(GRAPH, lambda count: count >= bad) == GRAPH.nodes[bad - 1]
    assert _shortest(GRAPH, lambda _count: False) is None


def test_the_layers_of_a_darknet_file_are_known_by_their_names() -> None:
    """OpenCV names them after the layers of the .cfg."""
    outputs = {"yolo_121": np.zeros((300, 85), np.float32), "yolo_130": np.zeros((1200, 85), np.float32)}
    (guess,) = guesses(outputs, (320, 320), None)
    assert (guess.options, guess.classes) == ({"format": "darknet"}, 80)
    assert not guesses({"loc": np.zeros((1076, 14), np.float32)}, (160, 120), None)
