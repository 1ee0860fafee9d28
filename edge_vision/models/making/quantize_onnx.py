"""Quantizes an ONNX network with ONNX Runtime: quantize and dequantize nodes around its layers."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edge_vision.core.errors import EdgeVisionError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.inference.shapes import short
from edge_vision.models.making.calibration import Calibration
from edge_vision.models.making.scope import Layer, Scope

_WEIGHTED: Final = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_OPSET: Final = 13
"""The first ONNX operator set with a scale per channel."""


class OnnxQuantizer:
    """`--with onnxruntime`: static quantization, a scale per channel, ranges averaged over the pictures."""

    reads = ("onnx",)
    backend = "onnxruntime"
    format = "onnx"
    suffix = ".onnx"

    def __init__(self) -> None:
        """Find the libraries. Raises MissingLibraryError."""
        self._onnx: Any = require("onnx", "quantize")
        self._runtime: Any = require("onnxruntime", "cpu")
        self._tools: Any = require("onnxruntime.quantization", "cpu")
        self.maker = f"onnxruntime {self._runtime.__version__}"

    def quantize(self, source: ModelFile, scope: Scope, calibration: Calibration, target: Path) -> None:
        """Write the quantized network to `target`. Raises ModelError with the library's own sentence."""
        tools = self._tools
        with tempfile.TemporaryDirectory() as folder, _quietly(self._runtime):
            ready = Path(folder) / "ready.onnx"
            try:
                network = self._prepare(source, ready)
                tools.quantize_static(
                    str(ready),
                    str(target),
                    _reader(tools, network.graph.input[0].name, calibration),
                    quant_format=tools.QuantFormat.QDQ,
                    op_types_to_quantize=list(_WEIGHTED) if scope.weighted_only else None,
                    nodes_to_exclude=scope.spared(_layers(network)),
                    per_channel=True,
                    # Signed ones take twice the time on x86, and OpenVINO 2026.4 sees nothing with them (YOLOX-nano).
                    activation_type=tools.QuantType.QUInt8,
                    weight_type=tools.QuantType.QInt8,
                    calibrate_method=tools.CalibrationMethod.MinMax,
                    # A single picture with an extreme value would coarsen the scale for all others.
                    extra_options={"CalibMovingAverage": True},
                )
            except EdgeVisionError:  # an unreadable picture
                raise
            except Exception as error:
                msg = f"{source.path}: onnxruntime cannot quantize it: {short(error)}"
                raise ModelError(msg) from error

    def _prepare(self, source: ModelFile, ready: Path) -> Any:
        """Write the network with a recent operator set, its layers fused and named; what it is then."""
        network = self._onnx.load(str(source.path))
        weights = {one.name for one in network.graph.initializer}
        for one in [one for one in network.graph.input if one.name in weights]:  # old exporters list them twice
            network.graph.input.remove(one)
        opset = next((one.version for one in network.opset_import if one.domain in {"", "ai.onnx"}), _OPSET)
        if opset < _OPSET:
            network = self._onnx.version_converter.convert_version(network, _OPSET)
        self._onnx.save(network, str(ready))
        preparing: Any = require("onnxruntime.quantization.shape_inference", "cpu")
        preparing.quant_pre_process(str(ready), str(ready), skip_symbolic_shape=True)
        network = self._onnx.load(str(ready))
        for number, node in enumerate(network.graph.node):
            node.name = node.name or f"layer{number}"
        self._onnx.save(network, str(ready))
        return network


def _reader(tools: Any, name: str, calibration: Calibration) -> Any:
    class Reader(tools.CalibrationDataReader):  # type: ignore[misc] # the base class is known only at run time
        def __init__(self) -> None:
            self._tensors = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            tensor = next(self._tensors, None)
            return None if tensor is None else {name: tensor}

    return Reader()


def _layers(network: Any) -> list[Layer]:
    graph = network.graph
    sources = {one.name for one in graph.input}
    results = {one.name for one in graph.output}
    makers = {name: node.name for node in graph.node for name in node.output}
    return [
        Layer(
            name=node.name,
            weighted=node.op_type in _WEIGHTED,
            depthwise=any(one.name == "group" and one.i > 1 for one in node.attribute),
            source=any(name in sources for name in node.input),
            result=any(name in results for name in node.output),
            inputs=tuple(makers[name] for name in node.input if name in makers),
        )
        for node in graph.node
    ]


@contextlib.contextmanager
def _quietly(runtime: Any) -> Iterator[None]:
    """The tool prints its progress and logs advice about its own parameters; the runtime about each weight."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    runtime.set_default_logger_severity(3)  # errors
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
        runtime.set_default_logger_severity(2)  # warnings, as it starts with
