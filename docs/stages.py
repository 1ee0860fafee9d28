"""Writes docs/stages.md: every kind of stage with every option, from the classes that `check` holds files against.

usage: python docs/stages.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from edge_vision.config.options import StageOptions as AnyStageOptions
from edge_vision.core.options import Options
from edge_vision.core.stages import ModelStageOptions, StageOptions

PAGE: Final = Path(__file__).with_name("stages.md")
HEAD: Final = """\
# Stages

Every kind of stage that a [pipeline](3-pipelines.md) can list, with its options. `python docs/stages.py` writes this
page from the options classes; a test compares them. Places are in 0..1 of the picture's width and height, durations are
media time: the recording's own, or the camera's."""
_TABLE: Final = "| Option | What it may be | Default | Meaning |\n|---|---|---|---|"
_WORDS: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_BOUNDS: Final = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
)


def page() -> str:
    """The whole page."""
    kinds = get_args(get_args(AnyStageOptions)[0])
    parts = [HEAD, *_section("Every stage", StageOptions, ())]
    parts += _section("Stages with a model", ModelStageOptions, StageOptions)
    for options in kinds:
        (kind,) = get_args(options.model_fields["kind"].annotation)
        parents = ModelStageOptions if issubclass(options, ModelStageOptions) else StageOptions
        parts += _section(f"`{kind}`", options, parents)
    return "\n".join(parts) + "\n"


def _section(title: str, options: type[Options], parents: Any) -> Iterator[str]:
    """A heading, what it does, and a table of what the class adds to its parents."""
    schema = options.model_json_schema(by_alias=True)
    known = set() if parents == () else set(parents.model_fields)
    rows = list(_rows(schema, schema.get("$defs", {}), "", known | {"kind"}))
    model = " It takes the options of [stages with a model](#stages-with-a-model), too."
    more = model if issubclass(options, ModelStageOptions) and options is not ModelStageOptions else ""
    yield f"\n## {title}\n"
    yield f"{' '.join((options.__doc__ or '').split())}{more}"
    if rows:
        yield f"\n{_TABLE}"
        yield from rows


def _rows(schema: dict[str, Any], parts: dict[str, Any], before: str, known: set[str]) -> Iterator[str]:
    """A row per option; those of an option that is a group of its own follow it."""
    for name, field in schema.get("properties", {}).items():
        if name in known:
            continue
        meaning = field["description"].replace("|", "\\|")
        yield f"| `{before}{name}` | {_kind(field, parts)} | {_default(name, field, schema)} | {meaning} |"
        for group in _groups(field, parts):
            yield from _rows(group, parts, f"{before}{name}.", set())


def _groups(field: dict[str, Any], parts: dict[str, Any]) -> list[dict[str, Any]]:
    named = [_part(choice, parts) for choice in field.get("anyOf", [field]) if "$ref" in choice]
    return [part for part in named if "properties" in part]


def _part(field: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = parts[field["$ref"].rpartition("/")[2]]
    return part


def _default(name: str, field: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "required"
    value = field.get("default")
    if value is None or value in ({}, []):
        return ""
    shown = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    return f"`{', '.join(map(str, shown)) if isinstance(shown, list) else shown}`"


def _kind(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in field:
        part = _part(field, parts)
        return "a group of options" if "properties" in part else _kind(part, parts)
    choices = [one for one in field.get("anyOf", field.get("oneOf", ())) if one.get("type") != "null"]
    if choices:
        return " or ".join(dict.fromkeys(_kind(one, parts) for one in choices))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    return {"array": _list, "object": _mapping}.get(str(field.get("type")), _plain)(field, parts)


def _plain(field: dict[str, Any], parts: dict[str, Any]) -> str:
    del parts
    if field.get("format") == "path":
        return "path"
    word = _WORDS.get(str(field.get("type")), "anything")
    if "minimum" in field and "maximum" in field:
        return f"{word}, {field['minimum']:g} to {field['maximum']:g}"
    return ", ".join([word, *(f"{said} {field[bound]:g}" for bound, said in _BOUNDS if bound in field)])


def _mapping(field: dict[str, Any], parts: dict[str, Any]) -> str:
    named = [*field.get("patternProperties", {}).values(), field.get("additionalProperties")]
    return f"by name: {_kind(named[0], parts)}" if isinstance(named[0], dict) else "a group of options"


def _list(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """A list of anything, or one of fixed length such as a point."""
    fixed = [_kind(item, parts) for item in field.get("prefixItems", ())]
    if fixed:
        names = {2: "pair", 3: "three", 4: "four"}
        same = len(set(fixed)) == 1 and len(fixed) in names
        return f"{names[len(fixed)]} of ({fixed[0]})" if same else f"[{', '.join(fixed)}]"
    least = f", {field['minItems']} or more" if field.get("minItems", 1) > 1 else ""
    return f"list of ({_kind(field.get('items', {}), parts)}){least}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
