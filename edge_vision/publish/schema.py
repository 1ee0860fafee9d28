"""The JSON schema of every kind of message, made from the types that are encoded."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, Final

import msgspec

from edge_vision.core.events import KINDS
from edge_vision.publish.status import Status
from edge_vision.publish.wire import SCHEMA, DetectionsMessage, EventMessage, EvidenceMessage, GapMessage
from edge_vision.publish.zeromq.words import HeartbeatMessage

REF: Final = "#/$defs/{name}"
"""Where a definition lies in a schema, by its name."""


def message_schema() -> dict[str, Any]:
    """One schema for all: `oneOf` the kinds, each a definition of its own name, such as `#/$defs/line_crossed`.

    It is that of this version of the package, closed to other keys; later ones of edge-vision/1 may have more.
    """
    kinds = list(KINDS.values())
    types = (DetectionsMessage, Status, GapMessage, HeartbeatMessage, EvidenceMessage, EventMessage, *kinds)
    found, components = components_of(types)
    parts: dict[str, Any] = {name.lstrip("_"): _closed(_public(part)) for name, part in components.items()}
    *whole, envelope = (parts.pop(_name(_public(ref))) for ref in found[:6])
    names = ("detections", "status", "gap", "heartbeat", "evidence")
    definitions = {kind: _of_kind(part, kind) for kind, part in zip(names, whole, strict=True)}
    for kind, ref in zip(KINDS, found[6:], strict=True):
        properties = {**envelope["properties"], "event": ref}
        definitions[kind] = _of_kind({**envelope, "title": kind, "properties": properties}, kind)
    parts.pop("Event", None)  # the root of all kinds, which is none itself
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Messages of {SCHEMA}",
        "oneOf": [{"$ref": REF.format(name=kind)} for kind in definitions],
        "$defs": {**definitions, **parts},
    }


def components_of(types: Iterable[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Where each type is defined, and the definitions by name: the same on every Python.

    Before 3.13 the docstrings that describe them have the indentation of the code.
    """
    found, components = msgspec.json.schema_components(types, ref_template=REF)
    for part in components.values():
        if "description" in part:
            part["description"] = cleandoc(part["description"])
    return found, components


def _name(ref: dict[str, Any]) -> str:
    return str(ref["$ref"]).rpartition("/")[2]


def _public(part: Any) -> Any:
    """The same with names of types as people call them: those of the code that are private lose their mark."""
    if isinstance(part, list):
        return [_public(item) for item in part]
    if not isinstance(part, dict):
        return part
    named = {key: value.replace("/_", "/").lstrip("_") for key, value in part.items() if key in {"$ref", "title"}}
    return {key: named.get(key) or _public(value) for key, value in part.items()}


def _of_kind(part: dict[str, Any], kind: str) -> dict[str, Any]:
    """A message that says of itself which schema and kind it is."""
    properties = {**part["properties"], "schema": {"const": SCHEMA}, "kind": {"const": kind}}
    return {**part, "title": kind, "properties": properties}


def _closed(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "additionalProperties": False} if "properties" in part else part
