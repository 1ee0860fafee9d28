"""The JSON schema of every command and of the answers, made from the types that are read and written."""

from typing import Any

import msgspec

from edge_vision.core.commands import COMMANDS, Answer
from edge_vision.publish.schema import REF, components_of
from edge_vision.publish.wire import SCHEMA


def command_schema() -> dict[str, Any]:
    """A definition for the body of each command, by its name, such as `#/$defs/enabled`, and one for `answer`.

    Commands are closed to other keys; answers of later versions of the package may have more.
    """
    types: list[type[msgspec.Struct]] = [*(row.payload for row in COMMANDS.values()), Answer]
    names = dict(zip((kind.__name__ for kind in types), (*COMMANDS, "answer"), strict=True))
    _, components = components_of(types)
    parts = {names.get(name, name): {**part, "title": names.get(name, name)} for name, part in components.items()}
    answer = parts["answer"]
    parts["answer"] = {
        **answer,
        "properties": {**answer["properties"], "schema": {"const": SCHEMA}, "kind": {"const": "answer"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Commands of {SCHEMA}, and their answers",
        "anyOf": [{"$ref": REF.format(name=name)} for name in names.values()],
        "$defs": parts,
    }
