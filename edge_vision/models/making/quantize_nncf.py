"""Quantizes a network with OpenVINO's nncf, into OpenVINO's own format."""

import contextlib
import io
import logging
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import EdgeVisionError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.inference.shapes import short
from edge_vision.models.making.calibration import Calibration
from edge_vision.models.making.scope import Layer, Scope

_WEIGHTED: Final = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
)
_PLAIN: Final = frozenset({"Constant", "Parameter", "Result"})


class NncfQuantizer:
    """`--with nncf`: asymmetric activations, symmetric weights, biases corrected."""

    reads = ("openvino", "onnx")
    backend = "openvino"
    format = "openvino"
    suffix = ".xml"

    def __init__(self) -> None:
        """Find the libraries. Raises MissingLibraryError."""
        self._openvino: Any = require("openvino", "openvino")
        self._nncf: Any = require("nncf", "quantize")
        self.maker = f"nncf {self._nncf.__version__}"

    def quantize(self, source: ModelFile, scope: Scope, calibration: Calibration, target: Path) -> None:
        """Write the quantized network to `target` and its .bin. Raises ModelError with the library's own sentence."""
        nncf = self._nncf
        nncf.set_log_level(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):  # it draws bars
            try:
                network = self._openvino.Core().read_model(str(source.path))
                if network.is_dynamic():
                    network.reshape(list(source.input_shape))
                layers = _layers(network)
                kinds = {one.get_type_name() for one in network.get_ordered_ops()} - _WEIGHTED - _PLAIN
                ignored = nncf.IgnoredScope(
                    names=scope.spared(layers), types=sorted(kinds) if scope.weighted_only else [], validate=False
                )
                quantized = nncf.quantize(
                    network,
                    nncf.Dataset(calibration),
                    subset_size=len(calibration),
                    preset=nncf.QuantizationPreset.MIXED,
                    ignored_scope=ignored,
                )
                self._openvino.save_model(quantized, str(target), compress_to_fp16=False)
            except EdgeVisionError:  # an unreadable picture
                raise
            except Exception as error:
                msg = f"{source.path}: nncf cannot quantize it: {short(error)}"
                raise ModelError(msg) from error


def _layers(network: Any) -> list[Layer]:
    """The layers of an OpenVINO graph; constants are no layers."""
    layers: list[Layer] = []
    for node in network.get_ordered_ops():
        kind = node.get_type_name()
        if kind in _PLAIN:
            continue
        before = [port.get_source_output().get_node() for port in node.inputs()]
        after = [port.get_node().get_type_name() for output in node.outputs() for port in output.get_target_inputs()]
        layers.append(
            Layer(
                name=node.get_friendly_name(),
                weighted=kind in _WEIGHTED,
                depthwise=kind.startswith("Group"),
                source=any(one.get_type_name() == "Parameter" for one in before),
                result="Result" in after,
                inputs=tuple(one.get_friendly_name() for one in before if one.get_type_name() not in _PLAIN),
            )
        )
    return layers
