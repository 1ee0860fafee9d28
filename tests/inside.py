"""Writes YOLOX-nano with its decoding and suppression inside the graph, as exporters with an "end to end" switch do."""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 416
STRIDES: Final = (8, 16, 32)

Layout = Literal["one", "four"]


def write_end2end(source: Path, target: Path, layout: Layout, least: float, iou: float, most: int = 300) -> None:
    """The network of `source` with boxes, scores and classes of what stays: a list, or four outputs of `most` rows."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    (raw,) = (output.name for output in graph.output)
    sides = [SIDE // stride for stride in STRIDES]
    grid = [np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) for side in sides]
    stride = [np.full((side * side, 1), one) for side, one in zip(sides, STRIDES, strict=True)]
    constants: dict[str, NDArray[Any]] = {
        "e_grid": np.concatenate(grid)[None].astype(np.float32),
        "e_stride": np.concatenate(stride)[None].astype(np.float32),
        "e_0": np.array([0], np.int64),
        "e_2": np.array([2], np.int64),
        "e_4": np.array([4], np.int64),
        "e_5": np.array([5], np.int64),
        "e_85": np.array([85], np.int64),
        "e_last": np.array([2], np.int64),
        "e_most": np.array([most], np.int64),
        "e_iou": np.array([iou], np.float32),
        "e_least": np.array([least], np.float32),
        "e_half": np.array(0.5, np.float32),
        "e_box": np.array(2, np.int64),
        "e_class": np.array(1, np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())

    def add(operator: str, inputs: str, output: str, **attributes: Any) -> None:
        graph.node.append(helper.make_node(operator, inputs.split(), output.split(), f"end_{output}", **attributes))

    for name, begin, end in (("xy", "e_0", "e_2"), ("wh", "e_2", "e_4"), ("obj", "e_4", "e_5"), ("cls", "e_5", "e_85")):
        add("Slice", f"{raw} {begin} {end} e_last", name)
    add("Add", "xy e_grid", "placed")
    add("Mul", "placed e_stride", "center")
    add("Exp", "wh", "grown")
    add("Mul", "grown e_stride", "size")
    add("Mul", "size e_half", "half")
    add("Sub", "center half", "low")
    add("Add", "center half", "high")
    add("Concat", "low high", "corners", axis=2)
    add("Mul", "obj cls", "each")
    add("ReduceMax", "each", "best", axes=[2], keepdims=1)  # one class per cell, as the reference has it
    add("Equal", "each best", "is_best")
    add("Cast", "is_best", "mask", to=TensorProto.FLOAT)
    add("Mul", "each mask", "single")
    add("Transpose", "single", "by_class", perm=[0, 2, 1])
    add("NonMaxSuppression", "corners by_class e_most e_iou e_least", "chosen")
    add("Gather", "chosen e_box", "rows", axis=1)
    add("Gather", "chosen e_class", "numbers", axis=1)
    add("Squeeze", "corners", "flat_corners", axes=[0])
    add("Gather", "flat_corners rows", "kept_corners", axis=0)
    add("Squeeze", "best", "flat_best", axes=[0])
    add("Gather", "flat_best rows", "kept_best", axis=0)
    add("Cast", "numbers", "as_float", to=TensorProto.FLOAT)
    add("Unsqueeze", "as_float", "kept_numbers", axes=[1])
    del graph.output[:]
    if layout == "one":
        add("Concat", "kept_corners kept_best kept_numbers", "found", axis=1)
        graph.output.append(helper.make_tensor_value_info("found", TensorProto.FLOAT, ["n", 6]))
    else:
        _in_four(graph, add, most)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _in_four(graph: Any, add: Any, most: int) -> None:
    """The best `most`, filled up with a class of -1, and how many of them count."""
    from onnx import TensorProto, helper, numpy_helper

    filler = np.zeros((most, 6), np.float32)
    filler[:, 5] = -1
    constants: dict[str, NDArray[Any]] = {
        "e_filler": filler,
        "e_1": np.array([1], np.int64),
        "e_6": np.array([6], np.int64),
        "e_most_float": np.array([most], np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    add("Concat", "kept_corners kept_best kept_numbers", "found", axis=1)
    add("Concat", "found e_filler", "filled", axis=0)
    add("Slice", "filled e_4 e_5 e_1", "ranks")
    add("Squeeze", "ranks", "rank", axes=[1])
    add("TopK", "rank e_most", "top order", axis=0)
    add("Gather", "filled order", "sorted", axis=0)
    add("Unsqueeze", "sorted", "batch", axes=[0])
    add("Slice", "batch e_0 e_4 e_last", "det_boxes")
    add("Slice", "batch e_4 e_5 e_last", "score_column")
    add("Squeeze", "score_column", "det_scores", axes=[2])
    add("Slice", "batch e_5 e_6 e_last", "class_column")
    add("Squeeze", "class_column", "class_floats", axes=[2])
    add("Cast", "class_floats", "det_classes", to=TensorProto.INT32)
    add("Shape", "chosen", "shape")
    add("Slice", "shape e_0 e_1 e_0", "total")
    add("Cast", "total", "total_float", to=TensorProto.FLOAT)
    add("Min", "total_float e_most_float", "least_of")
    add("Cast", "least_of", "counted", to=TensorProto.INT32)
    add("Unsqueeze", "counted", "num_dets", axes=[0])
    for name, kind, shape in (
        ("num_dets", TensorProto.INT32, [1, 1]),
        ("det_boxes", TensorProto.FLOAT, [1, most, 4]),
        ("det_scores", TensorProto.FLOAT, [1, most]),
        ("det_classes", TensorProto.INT32, [1, most]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
