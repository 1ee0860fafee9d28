"""Changes real networks in the ways that conversions do by accident."""

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper


def with_brightness(source: Path, target: Path) -> None:
    """The network behind a step that brings every picture to one brightness: a mean over three axes.

    OpenCV 4.14 computes that mean wrongly, without an error; ONNX Runtime and OpenVINO do not.
    """
    model = onnx.load(str(source))
    graph: Any = model.graph
    name = graph.input[0].name
    for node in graph.node:
        for place, used in enumerate(node.input):
            if used == name:
                node.input[place] = "evened"
    nodes = [
        helper.make_node("ReduceMean", [name], ["brightness"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", [name, "brightness"], ["contrast"]),
        helper.make_node("Add", ["contrast", "middle"], ["evened"]),
    ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    graph.initializer.append(helper.make_tensor("middle", TensorProto.FLOAT, [1], [110.0]))
    onnx.save(model, str(target))


def with_batch_axis(source: Path, target: Path) -> None:
    """The network with its first axis open, as exporters leave it when they are asked to."""
    model = onnx.load(str(source))
    graph: Any = model.graph
    for port in (*graph.input, *graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for place, one in enumerate(graph.initializer):
        if one.name in shapes:
            values = numpy_helper.to_array(one).copy()
            values[0] = 0  # as many as there are
            graph.initializer[place].CopyFrom(numpy_helper.from_array(values, one.name))
    for node in graph.node:
        if node.op_type == "Constant" and node.output[0] in shapes:
            values = numpy_helper.to_array(node.attribute[0].t).copy()
            values[0] = 0
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(values))
    onnx.save(model, str(target))


def with_coarse_boxes(source: Path, target: Path, step: float) -> None:
    """YOLOX with its box outputs quantized to int8 at a coarse step, as a calibration that met an outlier leaves them.

    The scores stay what they were: whoever compares only those sees nothing.
    """
    model = onnx.load(str(source))
    graph: Any = model.graph
    graph.initializer.append(helper.make_tensor("step", TensorProto.FLOAT, [], [step]))
    graph.initializer.append(helper.make_tensor("zero", TensorProto.INT8, [], [0]))
    heads = [node for node in graph.node if node.op_type == "Concat" and len(node.input) == 3]  # boxes, object, class
    for node in [node for node in heads if _feeds_a_reshape(graph, node)]:
        boxes = node.input[0]
        place = next(number for number, one in enumerate(graph.node) if one.name == node.name)
        graph.node.insert(place, helper.make_node("QuantizeLinear", [boxes, "step", "zero"], [f"{boxes}_q"]))
        graph.node.insert(
            place + 1, helper.make_node("DequantizeLinear", [f"{boxes}_q", "step", "zero"], [f"{boxes}_dq"])
        )
        node.input[0] = f"{boxes}_dq"
    onnx.save(model, str(target))


def _feeds_a_reshape(graph: Any, node: Any) -> bool:
    return any(other.op_type == "Reshape" and other.input[0] == node.output[0] for other in graph.node)
