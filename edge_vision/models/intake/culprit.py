"""Finds the node of a graph that a runtime stumbles over: by its own words, else by cutting the graph short."""

import logging
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_vision.core.errors import BackendError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.opencv_dnn import NO_CLIPS
from edge_vision.inference.trial import try_out
from edge_vision.models.reading.graph import Graph, Node
from edge_vision.runtime.quarantine import confined

_log = logging.getLogger(__name__)


def culprit(graph: Graph, name: str, file: ModelFile, options: LoadOptions, reason: str) -> Node | None:
    """The node that `reason` speaks of, or the last one of the shortest piece that the runtime cannot run.

    Cutting takes a trial for each halving; it is done with ONNX only, and where no doubt explains the failure. None
    when nothing tells, and when no node is to blame.
    """
    if NO_CLIPS in reason:
        return None
    found = named(graph, reason)
    if found is None and file.format == "onnx" and not graph.doubts:
        return _cut(graph, name, file, options)
    return found


def named(graph: Graph, reason: str) -> Node | None:
    """The node whose name a runtime's message quotes; else the first of an operator that it does."""
    # Quoted, or after a colon or an exclamation mark, as OpenCV, ONNX Runtime and OpenVINO write names.
    words = set(re.findall(r"[\"'!(:= ]([\w./:#-]+?)(?=[\"'),;: ]|$)", reason))
    found = [node for node in graph.nodes if node.name in words and not node.name.isdigit()]
    if found:
        return max(found, key=lambda node: len(node.name))
    numbered = re.search(r"onnx_node(?:_output_\d+)?!([\w./:#-]+?)[\s)]", f"{reason} ")
    for node in graph.nodes if numbered else ():
        if numbered is not None and node.name == numbered[1]:
            return node
    listed = re.search(r"operations?: (?:[\w.]+\.)?(\w+)", reason)
    operator = listed[1] if listed else ""
    return next((node for node in graph.nodes if node.operator == operator), None)


def _cut(graph: Graph, name: str, file: ModelFile, options: LoadOptions) -> Node | None:
    with tempfile.TemporaryDirectory() as folder:
        piece = replace(file, path=Path(folder) / "piece.onnx")

        def fails(count: int) -> bool:
            argument = {"path": str(file.path), "count": count, "target": str(piece.path)}
            if not confined("edge_vision.models.reading.graph_onnx:cut", argument):
                return False
            try:
                try_out(name, piece, options)
            except BackendError as error:
                _log.debug("%s: the first %d nodes of %s: %s", name, count, file.path, error)
                return True
            return False

        try:
            return _shortest(graph, fails)
        except BackendError as error:
            _log.debug("%s cannot be cut: %s", file.path, error)
            return None


def _shortest(graph: Graph, fails: Callable[[int], bool]) -> Node | None:
    """The last node of the shortest beginning that fails, found by halving."""
    good, bad = 0, len(graph.nodes)
    if not fails(bad):
        return None  # what fails lies in the ends of the graph, not in a node
    for _ in range(bad.bit_length() + 1):
        if bad - good <= 1:
            break
        middle = (good + bad) // 2
        if fails(middle):
            bad = middle
        else:
            good = middle
    return graph.nodes[bad - 1]
