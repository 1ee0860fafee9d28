"""Reads ONNX graphs, and cuts them short to find the node a runtime stumbles over."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import ModelError
from edge_vision.core.plugin import require

_OWN_DOMAINS: Final = frozenset({"", "ai.onnx"})
_MOST_INFERRED: Final = 1 << 30
"""Above so many bytes shapes are not inferred: the graph is copied for it, and 2 GiB is what a message can hold."""
_MOST_METADATA: Final = 65_536
_MOST_NAMED: Final = 3


def describe(path: str) -> dict[str, Any]:
    """Everything that `graph.py` wants to know, as JSON. Raises ModelError for a file that is no ONNX model."""
    model = _load(path)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    external, beside = _external(model, Path(path))
    problems = [*external, *_ends(graph, inputs), *_wiring(graph), *_damaged(graph)]
    opset = next((int(one.version) for one in model.opset_import if one.domain in _OWN_DOMAINS), None)
    return {
        "inputs": [_spec(value) for value in inputs],
        "outputs": [_spec(value) for value in graph.output],
        "nodes": [[name_of(node), node.op_type] for node in graph.node],
        "producer": model.producer_name,
        "producer_version": model.producer_version,
        "opset": opset,
        "precision": _precision(graph),
        "metadata": {one.key: one.value for one in model.metadata_props if len(one.value) < _MOST_METADATA},
        "beside": beside,
        "problems": problems,
        "doubts": [] if problems else [*_versions(model, opset), *_operators(model, opset), *_shapes(model)],
    }


def cut(path: str, count: int, target: str) -> bool:
    """Write the first `count` nodes of a model to `target`, what they make as outputs; False when nothing is left."""
    onnx: Any = require("onnx", "models")
    model = _load(path)
    with contextlib.suppress(Exception):  # without shapes some runtimes take the piece all the same
        model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    kept = list(graph.node)[:count]
    used = {name for node in kept for name in node.input}
    ends = [known[name] for node in kept for name in node.output if name in known and name not in used]
    del graph.node[count:]
    del graph.output[:]
    graph.output.extend(ends)
    onnx.save(model, target)
    return bool(ends)


def name_of(node: Any) -> str:
    """The name of a node, or of its first output."""
    return str(node.name or next(iter(node.output), ""))


def _load(path: str) -> Any:
    onnx: Any = require("onnx", "models")
    size = Path(path).stat().st_size
    if not size:
        msg = f"{path}: is empty: copy it again"
        raise ModelError(msg)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        msg = f"{path}: is no ONNX model, or a truncated one ({size} bytes): copy or export it again"
        raise ModelError(msg) from error
    if not model.graph.node:
        msg = f"{path}: is no ONNX model, or a truncated one: it holds no graph with nodes: copy or export it again"
        raise ModelError(msg)
    return model


def _spec(value: Any) -> tuple[str, list[int], str]:
    onnx: Any = require("onnx", "models")
    kind = value.type.tensor_type
    sizes = [int(one.dim_value) if one.HasField("dim_value") and one.dim_value > 0 else -1 for one in kind.shape.dim]
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, ValueError, TypeError):
        dtype = f"type {kind.elem_type}"
    return value.name, sizes, dtype


def _ends(graph: Any, inputs: list[Any]) -> Iterator[str]:
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.initializer}
    if not inputs:
        yield "has no input: export it again with the picture as input"
    if not graph.output:
        yield "has no output: export it again with its outputs named"
    for value in graph.output:
        if value.name not in made and value.name not in {one.name for one in graph.input}:
            yield f"no node makes its output {value.name}: export it again"


def _wiring(graph: Any) -> Iterator[str]:
    """Inputs of nodes that nothing makes, else circles."""
    known = {value.name for value in (*graph.input, *graph.initializer)}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = {name for node in graph.node for name in node.output if name}
    needs = [{name for name in node.input if name} - known for node in graph.node]
    lacking = [(node, name) for node, names in zip(graph.node, needs, strict=True) for name in sorted(names - made)]
    if lacking:
        node, name = lacking[0]
        yield f"{_shown(node)} needs a tensor {name} that nothing makes: export it again"
    elif stuck := _stuck(list(graph.node), needs):
        shown = ", ".join(_shown(node) for node in stuck[:_MOST_NAMED])
        yield f"its nodes wait for each other in a circle: {shown}: export it again"


def _stuck(nodes: list[Any], needs: list[set[str]]) -> list[Any]:
    """The nodes that never get what they need, in whatever order one goes through the graph."""
    users: dict[str, list[int]] = {}
    for number, names in enumerate(needs):
        for name in names:
            users.setdefault(name, []).append(number)
    waiting = [set(names) for names in needs]
    ready = [number for number, names in enumerate(waiting) if not names]
    for number in ready:  # grows while it is walked
        for user in (user for name in nodes[number].output for user in users.get(name, ())):
            waiting[user] -= set(nodes[number].output)
            if not waiting[user] and user not in ready:
                ready.append(user)
    return [node for node, names in zip(nodes, waiting, strict=True) if names]


def _damaged(graph: Any) -> Iterator[str]:
    """Weights whose bytes are not as many as their shape wants, or that are not numbers."""
    onnx: Any = require("onnx", "models")
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or not tensor.HasField("raw_data"):
            continue
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        except (KeyError, ValueError, TypeError):
            yield f"tensor {tensor.name} has the unknown element type {tensor.data_type}: export it again"
            continue
        wanted = dtype.itemsize
        for size in tensor.dims:
            wanted *= size
        have = len(tensor.raw_data)
        if dtype.itemsize * 8 >= 8 and dtype.kind in "fiub" and wanted != have:  # noqa: PLR2004 - bits of a byte
            yield f"tensor {tensor.name} claims {list(tensor.dims)} = {wanted} bytes, holds {have}: export it again"
        elif dtype.kind == "f" and wanted == have and np.isnan(np.frombuffer(tensor.raw_data, dtype)).any():
            yield f"tensor {tensor.name} holds values that are not numbers (NaN): take weights of an earlier epoch"


def _external(model: Any, path: Path) -> tuple[list[str], list[str]]:
    """What is wrong with the files beside an ONNX file, and which they are."""
    onnx: Any = require("onnx", "models")
    needs: dict[str, int] = {}
    problems: list[str] = []
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            facts = {one.key: one.value for one in tensor.external_data}
            place = facts.get("location", "")
            try:
                end = int(facts.get("offset", "0")) + int(facts.get("length", "0"))
            except ValueError:
                end = 0
                problems.append(f"tensor {tensor.name}: its place in {place} is not a number: export it again")
            needs[place] = max(needs.get(place, 0), end)
    for place, size in needs.items():
        if not place or Path(place).is_absolute() or ".." in Path(place).parts:
            problems.append(f"its weights lie outside its folder ({place!r}): export it again with them beside it")
        elif not (path.parent / place).is_file():
            problems.append(f"its weights {path.parent / place} are missing: copy them, too")
        elif (have := (path.parent / place).stat().st_size) < size:
            problems.append(f"its weights {path.parent / place} hold {have} bytes of {size}: copy them again")
    return problems, [] if problems else sorted(needs)


def _versions(model: Any, opset: int | None) -> Iterator[str]:
    onnx: Any = require("onnx", "models")
    newest = int(onnx.defs.onnx_opset_version())
    if opset is None:
        yield "names no operator set of ONNX: export it again"
    elif opset > newest:
        yield f"opset {opset} is newer than any known here (at most {newest}): export it again with 17"
    if model.ir_version > onnx.IR_VERSION:
        yield f"IR version {model.ir_version} is newer than any known here (at most {onnx.IR_VERSION}): export it again"


def _operators(model: Any, opset: int | None) -> Iterator[str]:
    """Operators that are not ONNX's, each once."""
    onnx: Any = require("onnx", "models")
    local = {(one.domain, one.name) for one in model.functions}
    seen: set[tuple[str, str]] = set()
    for node in model.graph.node:
        key = (node.domain, node.op_type)
        if key in seen or key in local:
            continue
        seen.add(key)
        if node.domain not in _OWN_DOMAINS:
            yield f"{_shown(node)} is of the domain {node.domain}, which few runtimes have: export it without"
        elif not onnx.defs.has(node.op_type, ""):
            yield f"{_shown(node)}: ONNX has no such operator: export it again"
        elif opset is not None and not onnx.defs.has(node.op_type, opset, ""):
            since = onnx.defs.get_schema(node.op_type, "").since_version
            yield f"{_shown(node)}: not in opset {opset}; it came with {since} at the latest: export it with that"


def _shapes(model: Any) -> Iterator[str]:
    """What does not fit together inside, in the library's words."""
    onnx: Any = require("onnx", "models")
    if model.ByteSize() > _MOST_INFERRED:
        return
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as error:  # noqa: BLE001 - it raises several, none of which a subclass of another
        yield f"its shapes do not fit together: {' '.join(str(error).split())[:300]}"


def _precision(graph: Any) -> str:
    onnx: Any = require("onnx", "models")
    if any(
        node.op_type.startswith(("QLinear", "QuantizeLinear", "ConvInteger", "MatMulInteger")) for node in graph.node
    ):
        return "int8"
    values: Counter[int] = Counter()
    for one in graph.initializer:  # their number is told by the shape, wherever the values are kept
        values[one.data_type] += math.prod(one.dims)
    return "f16" if values[onnx.TensorProto.FLOAT16] > values[onnx.TensorProto.FLOAT] else "f32"


def _shown(node: Any) -> str:
    domain = "" if node.domain in _OWN_DOMAINS else f"{node.domain}::"
    return f"node {name_of(node)} ({domain}{node.op_type})"
