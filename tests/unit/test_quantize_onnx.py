"""Checks how a network is made ready for ONNX Runtime's quantizer."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load
from edge_vision.models.making.calibration import Calibration, pick_pictures
from edge_vision.models.making.scope import SCOPES

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("opset, weights_as_inputs", [(11, False), (11, True), (13, False)])
def test_old_networks_are_quantized_too(
    opset: int, weights_as_inputs: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A scale per channel needs a newer operator set; weights listed as inputs are no inputs; all in silence."""
    from small_network import OPTIONS, write_network

    from edge_vision.models.making.quantize_onnx import OnnxQuantizer

    cv2.imwrite(str(tmp_path / "one.png"), np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8))
    file = write_network(tmp_path / "old.onnx", opset=opset, weights_as_inputs=weights_as_inputs)
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
