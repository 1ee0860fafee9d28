"""Serves an ONNX model on a real KServe; runs in a virtual environment of its own.

Usage: kserve_server.py MODEL.onnx NAME HTTP_PORT GRPC_PORT
"""

import sys
from typing import Any

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Network(Model):  # type: ignore[misc]
    """One ONNX file."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def get_input_types(self) -> list[dict[str, Any]]:
        """What the metadata say goes in."""
        return [{"name": node.name, "datatype": "FP32", "shape": node.shape} for node in self._session.get_inputs()]

    async def get_output_types(self) -> list[dict[str, Any]]:
        """What the metadata say comes out."""
        return [{"name": node.name, "datatype": "FP32", "shape": node.shape} for node in self._session.get_outputs()]

    def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        """One inference."""
        (given,) = payload.inputs
        (node,) = self._session.get_outputs()
        (value,) = self._session.run([node.name], {given.name: given.as_numpy()})
        raw = payload.from_grpc or payload.use_binary_outputs
        output = InferOutput(node.name, list(value.shape), "FP32")
        output.set_data_from_numpy(value, binary_data=raw)
        return InferResponse(payload.id or "", self.name, [output], use_binary_outputs=raw)


def main() -> None:
    """Serve until killed."""
    path, name, http_port, grpc_port = sys.argv[1:]
    ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([Network(name, path)])


main()
