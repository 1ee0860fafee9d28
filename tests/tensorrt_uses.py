"""What our code uses of TensorRT, read from the code itself, and whether an installed release has it.

usage: python tests/tensorrt_uses.py MODULE < USES.json, in the interpreter that has the release; prints what is missing
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWNERS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "complaint": "ParserError",
    "tensor": "ITensor",
    "config": "IBuilderConfig",
    "shapes": "IOptimizationProfile",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "severity": "ILogger.Severity",
}
"""The variables that hold objects of TensorRT, by the name they have in every function, with or without a _."""
_RESULTS = {"get_timing_cache": "ITimingCache"}
_MODULES = {"trt", "module"}


@dataclass(frozen=True, order=True)
class Use:
    """Something of TensorRT, such as "Builder.create_network", and how many arguments it is given; -1 for none."""

    path: str
    arguments: int = -1


def uses(files: list[Path]) -> set[Use]:
    """Everything that the code in these files takes from TensorRT by name; what `getattr` asks for is not needed."""
    return {use for file in files for use in _uses(ast.parse(file.read_text(encoding="utf-8")))}


def _uses(tree: ast.Module) -> Iterator[Use]:
    called = {
        id(node.func): len(node.args) + len(node.keywords) for node in ast.walk(tree) if isinstance(node, ast.Call)
    }
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr != "__init__":
            # Of an object only what it has itself is looked at, of the module the whole path.
            if (path := _path(node)) and (id(node) not in inner or _owner(node.value)):
                yield Use(path, called.get(id(node), -1))
        elif isinstance(node, ast.ClassDef):
            for base in (_path(base) for base in node.bases if isinstance(base, ast.Attribute)):
                for method in (item for item in node.body if base and isinstance(item, ast.FunctionDef)):
                    if method.name != "__init__":
                        yield Use(f"{base}.{method.name}", len(method.args.args) - 1)


def _path(node: ast.expr) -> str:
    """Where in TensorRT an expression leads, or nothing when it leads elsewhere; "" is not a path."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _RESULTS.get(node.func.attr, "")
    if isinstance(node, ast.Attribute):
        owner = _owner(node.value)
        if owner is not None:
            return f"{owner}.{node.attr}".lstrip(".")
        above = _path(node.value)
        of_an_object = isinstance(node.value, ast.Attribute) and _owner(node.value.value)
        return f"{above}.{node.attr}" if above and not of_an_object else ""
    return ""


def _owner(node: ast.expr) -> str | None:
    """The class a variable holds an object of; empty for the module itself, None for anything else."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name in _MODULES:
        return ""
    return OWNERS.get(name.lstrip("_")) if isinstance(node, ast.Name) or name.startswith("_") else None


def missing(trt: Any, wanted: list[Use]) -> list[str]:
    """What a release has not, or wants other arguments for."""
    found = []
    for use in wanted:
        *parents, name = use.path.split(".")
        owner = trt
        for parent in parents:
            owner = getattr(owner, parent, None)
        item = getattr(owner, name, None)
        if item is None and not hasattr(owner, name):
            found.append(f"{use.path}: absent")
        elif use.arguments >= 0 and (counts := _counts(item, name)) and use.arguments not in counts:
            found.append(f"{use.path}: takes {sorted(counts)} arguments, is given {use.arguments}")
    return found


def _counts(item: Any, name: str) -> set[int]:
    """How many arguments a bound function takes, from the signatures in its documentation; nothing if it has none."""
    if isinstance(item, type):
        name, item = "__init__", vars(item).get("__init__")
    counts: set[int] = set()
    for signature in re.findall(rf"(?:^|\n)(?:\d+\. )?{name}\((self.*)\) ->", item.__doc__ or ""):
        given = re.split(r", (?=\w+: )", signature)[1:]
        counts |= set(range(sum(" = " not in one for one in given), len(given) + 1))
    return counts


if __name__ == "__main__":
    import importlib

    asked = [Use(**one) for one in json.load(sys.stdin)]
    library = importlib.import_module(sys.argv[1])
    print(json.dumps({"version": library.__version__, "missing": missing(library, asked)}))
