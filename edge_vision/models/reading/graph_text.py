"""Reads what networks written as text say of their input: Caffe's .prototxt and Darknet's .cfg."""

import re
from pathlib import Path
from typing import Any, Final

_MOST: Final = 1 << 20


def describe_caffe(path: str) -> dict[str, Any]:
    """The input and the layers of a .prototxt, as JSON; its outputs only a runtime knows."""
    text = _read(path)
    head = re.search(r'input\s*:\s*"([^"]+)"', text)
    named = re.search(r'layer\s*\{[^{}]*?type\s*:\s*"Input"', text)
    name = head[1] if head else _first(r'top\s*:\s*"([^"]+)"', text[named.start() :] if named else "")
    sizes = re.findall(r"input_dim\s*:\s*(\d+)", text)
    if not sizes and (shape := re.search(r"(?:input_shape|shape)\s*[:{][^{}]*?dim[^{}]*", text)):
        sizes = re.findall(r"dim\s*:\s*(\d+)", shape[0])
    inputs = [(name, [int(size) for size in sizes[:4]], "float32")] if name and sizes else []
    layers = re.findall(r'layer\s*\{\s*name\s*:\s*"([^"]*)"\s*type\s*:\s*"([^"]*)"', text)
    return {"inputs": inputs, "nodes": layers, "producer": "Caffe", "beside": _companion(path, ".caffemodel")}


def describe_darknet(path: str) -> dict[str, Any]:
    """The input and the sections of a .cfg, as JSON."""
    text = _read(path)
    sizes = [int(_first(rf"^\s*{key}\s*=\s*(\d+)", text) or 0) for key in ("channels", "height", "width")]
    inputs = [("data", [1, *sizes], "float32")] if all(sizes) else []
    sections = re.findall(r"^\s*\[(\w+)\]", text, re.MULTILINE)[1:]
    nodes = [(f"{kind}#{number}", kind) for number, kind in enumerate(sections)]
    return {"inputs": inputs, "nodes": nodes, "producer": "Darknet", "beside": _companion(path, ".weights")}


def _read(path: str) -> str:
    with Path(path).open("rb") as stream:
        return stream.read(_MOST).decode("utf-8", errors="replace")


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _companion(path: str, suffix: str) -> list[str]:
    file = Path(path).with_suffix(suffix)
    return [file.name] if file.is_file() else []
