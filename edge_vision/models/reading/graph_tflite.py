"""Reads TFLite models, by way of the LiteRT interpreter."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import ModelError
from edge_vision.core.plugin import require

_MARK: Final = b"TFL3"
_WEIGHTS: Final = {"float32": "f32", "float16": "f16", "int8": "int8", "uint8": "int8"}


def describe(path: str) -> dict[str, Any]:
    """Everything that `graph.py` wants to know, as JSON. Raises ModelError for a file that is no TFLite model."""
    with Path(path).open("rb") as stream:
        head = stream.read(8)
    if head[4:] != _MARK:
        msg = f"{path}: is no TFLite model, or a truncated one: copy or convert it again"
        raise ModelError(msg)
    library: Any = require("ai_edge_litert.interpreter", "litert")
    try:
        interpreter = library.Interpreter(model_path=path, num_threads=1)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        tensors = interpreter.get_tensor_details()
        operations = interpreter._get_ops_details()  # noqa: SLF001 - there is no other list of them
    except Exception as error:
        msg = f"{path}: LiteRT cannot read it: {' '.join(str(error).split())[:300]}: copy or convert it again"
        raise ModelError(msg) from error
    return {
        "inputs": [_spec(one) for one in inputs],
        "outputs": [_spec(one) for one in outputs],
        "nodes": [[f"{one['op_name']}#{one['index']}", one["op_name"]] for one in operations],
        "producer": "TFLite",
        "precision": _precision(tensors, operations),
    }


def _spec(details: Any) -> tuple[str, list[int], str]:
    signature = details.get("shape_signature")
    shape = details["shape"] if signature is None or not len(signature) else signature
    return str(details["name"]), [int(size) for size in shape], np.dtype(details["dtype"]).name


def _precision(tensors: list[Any], operations: list[Any]) -> str:
    """By the largest share of the constants, which are what operations take and none makes."""
    made = {int(index) for one in operations for index in one["outputs"]}
    taken = {int(index) for one in operations for index in one["inputs"]} - made
    sizes: Counter[str] = Counter()
    for one in tensors:
        if one["index"] in taken and one["dtype"] is not None:
            sizes[np.dtype(one["dtype"]).name] += int(np.prod(one["shape"]))
    kind = max(_WEIGHTS, key=lambda name: sizes[name])
    return _WEIGHTS[kind]
