"""A small 3-D network, its weights set by hand, that tells which way a square moves, and pictures of squares."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

WAYS: Final = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
"""The labels, with the step of one pixel of the input from frame to frame."""
FRAMES: Final = 4
SIDE: Final = 16
SQUARE: Final = 4
EDGE: Final = 160
"""Width and height of a picture; ten of its pixels are one of the input."""
SURE: Final = 1 / (1 + 2 * np.exp(-7.0) + np.exp(-8.0))
"""The answer for a square that moves one pixel per frame; see `write_network`."""


def write_clip_model(folder: Path, *, layout: str = "ncthw", fps: float | None = None) -> Path:
    """A bundle whose network looks at four frames of 16x16."""
    folder.mkdir()
    write_network(folder / "ways.onnx", last=layout == "nthwc")
    rate = {} if fps is None else {"fps": fps}
    content = {
        "version": 1,
        "name": "ways",
        "task": "detection",
        "files": [{"path": "ways.onnx", "format": "onnx"}],
        "input": {
            "size": [SIDE, SIDE], "resize": "stretch", "scale": 1 / 255, "layout": layout, "frames": FRAMES, **rate,
        },
        "output": {"format": "scores_boxes", "first_class": 0},
        "labels": list(WAYS),
        "thresholds": {"confidence": 0.2},
    }  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def write_network(file: Path, *, last: bool = False) -> None:
    """Conv3D, ReLU, mean, Gemm, softmax: [1, 3, 4, 16, 16], or with the channels last, to a score for each way.

    A filter adds a pixel and its neighbor of the next frame, less 1: what is left is 1 where both are white. Of a
    square of 4x4 that moves by one, its own filter counts 16 pixels for each of three pairs of frames, those across
    9, the one against it 8: the Gemm makes 16, 9, 9 and 8 of the mean over the 3 * 14 * 14 places.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((len(WAYS), 3, 2, 3, 3), np.float32)
    for number, (x, y) in enumerate(WAYS.values()):
        weights[number, :, 0, 1, 1] = weights[number, :, 1, 1 + y, 1 + x] = 1 / 3
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "less": np.full(len(WAYS), -1, np.float32),
        "gain": np.eye(len(WAYS), dtype=np.float32) * (SIDE - 2) ** 2,
        "whole": np.array([[[0, 0, 1, 1]]], np.float32),
        "row": np.array([1, 1, len(WAYS)], np.int64),
        "again": np.array([1, 1, 4], np.int64),
    }
    shape = [1, FRAMES, SIDE, SIDE, 3] if last else [1, 3, FRAMES, SIDE, SIDE]
    first = [helper.make_node("Transpose", ["clip"], ["planes"], "turn", perm=[0, 4, 1, 2, 3])] if last else []
    nodes = [
        *first,
        helper.make_node("Conv", ["planes" if last else "clip", "weights", "less"], ["pairs"], "pairs"),
        helper.make_node("Relu", ["pairs"], ["both"], "both"),
        helper.make_node("GlobalAveragePool", ["both"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "gain"], ["logits"], "logits"),
        helper.make_node("Softmax", ["logits"], ["odds"], "odds", axis=1),
        helper.make_node("Reshape", ["odds", "row"], ["scores"], "scores"),
        helper.make_node("Reshape", ["whole", "again"], ["boxes"], "boxes"),
    ]
    graph = helper.make_graph(
        nodes,
        "ways",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, len(WAYS)]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def square(x: float, y: float) -> NDArray[np.uint8]:
    """A picture with a white square whose top left corner is there, in pixels of the input."""
    image: NDArray[np.uint8] = np.zeros((EDGE, EDGE, 3), np.uint8)
    scale = EDGE // SIDE
    left, top = round(x * scale), round(y * scale)
    image[top : top + SQUARE * scale, left : left + SQUARE * scale] = 255
    return image


def walk(ways: list[str], step: float = 1.0) -> list[NDArray[np.uint8]]:
    """Pictures of a square that goes one step each way in turn, from near the top left corner."""
    x, y = 3.0, 3.0
    found = [square(x, y)]
    for way in ways:
        x, y = x + WAYS[way][0] * step, y + WAYS[way][1] * step
        found.append(square(x, y))
    return found
