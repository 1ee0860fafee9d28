"""Checks how a network is made ready for ONNX Runtime's quantizer."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load
from edge_vision.models.calibration import Calibration, pick_pictures
from edge_vision.models.scope import SCOPES
from edge_vision.preprocess.options import InputOptions

onnx = pytest.importorskip("onnx")

OPTIONS = InputOptions(size=(16, 16), resize="stretch", scale=1 / 255)


def network(path: Path, *, opset: int, weights_as_inputs: bool) -> ModelFile:
    """Two convolutions without names, in an old operator set, as old exporters write them."""
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
        "old",
        [*listed, picture],
        [onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [1, 2, 12, 12])],
        weights,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, str(path))
    return ModelFile(path, "onnx", OPTIONS.shape)


@pytest.mark.parametrize("opset, weights_as_inputs", [(11, False), (11, True), (13, False)])
def test_old_networks_are_quantized_too(
    opset: int, weights_as_inputs: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A scale per channel needs a newer operator set; weights listed as inputs are no inputs; all in silence."""
    from edge_vision.models.quantize_onnx import OnnxQuantizer

    cv2.imwrite(str(tmp_path / "one.png"), np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8))
    file = network(tmp_path / "old.onnx", opset=opset, weights_as_inputs=weights_as_inputs)
    calibration = Calibration(OPTIONS, pick_pictures((tmp_path,), 1))
    OnnxQuantizer().quantize(file, SCOPES[0], calibration, tmp_path / "new.onnx")
    quantized = ModelFile(tmp_path / "new.onnx", "onnx", OPTIONS.shape, precision="int8")
    kinds = [node.op_type for node in onnx.load(str(quantized.path)).graph.node]
    assert kinds.count("QuantizeLinear") >= 2
    (tensor,) = calibration
    answers = []
    for one, precision in ((file, "f32"), (quantized, "int8")):
        with load("onnxruntime", one, LoadOptions(precision)).open_session() as session:
            answers.append(session.infer({"picture": tensor})["c"])
    assert np.abs(answers[0] - answers[1]).max() < 0.05 * np.abs(answers[0]).max()
    assert capfd.readouterr() == ("", "")
