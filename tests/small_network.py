"""A network of two convolutions, for tests that change networks."""

from pathlib import Path

import numpy as np
import onnx

from edge_vision.core.model import ModelFile
from edge_vision.preprocess.options import InputOptions

OPTIONS = InputOptions(size=(16, 16), resize="stretch", scale=1 / 255)


def write_network(path: Path, *, opset: int = 13, weights_as_inputs: bool = False) -> ModelFile:
    """Its layers have no names; an old exporter lists the weights among the inputs."""
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32), "w1"),
        onnx.numpy_helper.from_array(rng.normal(0, 0.2, (2, 4, 3, 3)).astype(np.float32), "w2"),
    ]
    picture = onnx.helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, [1, 3, 16, 16])
    listed = [
        onnx.helper.make_tensor_value_info(one.name, onnx.TensorProto.FLOAT, list(one.dims))
        for one in weights
        if weights_as_inputs
    ]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Conv", ["picture", "w1"], ["a"]),
            onnx.helper.make_node("Relu", ["a"], ["b"]),
            onnx.helper.make_node("Conv", ["b", "w2"], ["c"]),
        ],
        "small",
        [*listed, picture],
        [onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [1, 2, 12, 12])],
        weights,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, str(path))
    return ModelFile(path, "onnx", OPTIONS.shape)
