"""Reads OpenVINO IR: the .xml with the layers, and how much of the .bin beside it they need."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from edge_vision.core.errors import ModelError
from edge_vision.core.files import why_not_file

_DTYPES: Final = {"f32": "float32", "fp32": "float32", "f16": "float16", "fp16": "float16", "u8": "uint8"}
_OLDEST: Final = 10


def describe(path: str) -> dict[str, Any]:
    """Everything that `graph.py` wants to know, as JSON. Raises ModelError for a file that is no IR."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - in a child process with limits, and expat limits entities
    except (ET.ParseError, UnicodeError, ValueError) as error:
        msg = f"{path}: is no OpenVINO IR, or a truncated one ({error}): copy or convert it again"
        raise ModelError(msg) from error
    layers = root.findall("./layers/layer")
    if root.tag != "net" or not layers:
        msg = f"{path}: is no OpenVINO IR: <{root.tag}> with {len(layers)} layers"
        raise ModelError(msg)
    inputs = [_input(layer) for layer in layers if layer.get("type") == "Parameter"]
    outputs = [_output(layer) for layer in layers if layer.get("type") == "Result"]
    weights = Path(path).with_suffix(".bin")
    problems = [*_ends(inputs, outputs), *_version(root), *_weights(layers, weights)]
    return {
        "inputs": inputs,
        "outputs": outputs,
        "nodes": [[str(layer.get("name")), str(layer.get("type"))] for layer in layers if layer.get("type") != "Const"],
        "producer": "OpenVINO",
        "producer_version": _maker(root),
        "precision": _precision(layers),
        "metadata": _metadata(root),
        "beside": [weights.name],
        "problems": problems,
    }


def _input(layer: Any) -> tuple[str, list[int], str]:
    data = layer.find("data")
    text = "" if data is None else str(data.get("shape", ""))
    names = _names(layer.find("./output/port"), layer)
    # "1,3,416,416", an open side as "?", "-1" or a range "1..8"
    shape = [int(size) if re.fullmatch(r"\d+", size.strip()) else -1 for size in text.split(",") if size.strip()]
    dtype = "" if data is None else str(data.get("element_type", ""))
    return names, shape, _DTYPES.get(dtype, dtype)


def _output(layer: Any) -> tuple[str, list[int], str]:
    port = layer.find("./input/port")
    sizes = [] if port is None else [int(one.text or -1) for one in port.findall("dim")]
    dtype = "" if port is None else str(port.get("precision", "")).lower()
    name = str(layer.get("output_names") or layer.get("name", "")).removesuffix("/sink_port_0")
    return name, sizes, _DTYPES.get(dtype, dtype)


def _names(port: Any, layer: Any) -> str:
    names = "" if port is None else str(port.get("names", ""))
    return min(names.split(",")) if names else str(layer.get("name"))


def _ends(inputs: list[Any], outputs: list[Any]) -> list[str]:
    missing = [side for side, found in (("input", inputs), ("output", outputs)) if not found]
    return [f"has no {side}: convert it again" for side in missing]


def _version(root: Any) -> list[str]:
    version = str(root.get("version", ""))
    if version.isdigit() and int(version) >= _OLDEST:
        return []
    return [f"is IR version {version or 'unknown'}; OpenVINO reads {_OLDEST} and newer: convert the original again"]


def _weights(layers: list[Any], file: Path) -> list[str]:
    """What is wrong with the .bin: missing, or shorter than its last constant."""
    ends: dict[int, str] = {}
    for layer in layers:
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None:
            continue
        try:
            ends[int(data.get("offset", 0)) + int(data.get("size", 0))] = str(layer.get("name"))
        except ValueError:
            return [f"layer {layer.get('name')}: offset and size are not numbers: convert it again"]
    if not ends:
        return []
    if why := why_not_file(file):
        return [f"the weights beside it, {file}, are missing ({why}): copy both files"]
    have, need = file.stat().st_size, max(ends)
    if have < need:
        return [f"layer {ends[need]} needs {need} bytes of {file}, which holds {have}: copy it again"]
    return []


def _maker(root: Any) -> str:
    version = root.find("./rt_info/Runtime_version")
    found = re.match(r"[\d.]+", "" if version is None else str(version.get("value", "")))
    return found[0] if found else ""


def _metadata(root: Any) -> dict[str, str]:
    """What exporters write under rt_info, such as Ultralytics' names and sizes under model_info."""
    entries = root.findall("./rt_info/model_info/*") + root.findall("./rt_info/framework/*")
    return {str(one.tag): str(one.get("value", "")) for one in entries}


def _precision(layers: list[Any]) -> str:
    if any(layer.get("type") == "FakeQuantize" for layer in layers):
        return "int8"
    sizes: Counter[str] = Counter()
    for layer in layers:
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None and str(data.get("size", "")).isdigit():
            sizes[str(data.get("element_type", ""))] += int(data.get("size"))
    kind = sizes.most_common(1)[0][0] if sizes else ""
    return {"f16": "f16", "i8": "int8", "u8": "int8"}.get(kind, "f32")
