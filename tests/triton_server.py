"""Serves an ONNX model on a real Triton through nvidia-pytriton; runs in a virtual environment of its own.

Usage: triton_server.py MODEL.onnx NAME HTTP_PORT GRPC_PORT
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main() -> None:
    """Serve until killed."""
    path, name, http_port, grpc_port = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()

    @batch  # type: ignore[untyped-decorator]
    def infer(**tensors: Any) -> Any:
        return session.run([made.name], {given.name: tensors[given.name]})

    config = TritonConfig(
        http_address="127.0.0.1", http_port=int(http_port), grpc_address="127.0.0.1", grpc_port=int(grpc_port),
        metrics_port=0, allow_metrics=False, log_verbose=0,
    )  # fmt: skip
    with Triton(config=config) as triton:
        triton.bind(
            model_name=name,
            infer_func=infer,
            inputs=[Tensor(name=given.name, dtype=np.float32, shape=tuple(given.shape[1:]))],
            outputs=[Tensor(name=made.name, dtype=np.float32, shape=tuple(made.shape[1:]))],
            config=ModelConfig(max_batch_size=1),
        )
        triton.serve()


main()
