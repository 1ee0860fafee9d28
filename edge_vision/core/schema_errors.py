"""Turns what pydantic finds wrong with a document into problems that people can act on."""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge_vision.core.document import Document, Place, Problem

_MESSAGES = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "path_type": "must be a path",
}

_BOUNDS = {
    "less_than_equal": "at most",
    "less_than": "less than",
    "greater_than_equal": "at least",
    "greater_than": "more than",
}

Model = TypeVar("Model", bound=BaseModel)


def validate(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """Hold a whole document against a schema; relative paths in it are taken from its folder."""
    data = {} if document.data is None else document.data
    try:
        return model.model_validate(data, context={"folder": document.folder}), []
    except ValidationError as error:
        found = explain(error, model, data)
        return None, [document.problem(place, text, at_key=at_key) for place, text, at_key in found]


def explain(error: ValidationError, model: Any, data: Any) -> Iterator[tuple[Place, str, bool]]:
    """Each error as (place in the data, message, whether it is the key that is wrong).

    `model` is the type that was validated, `data` the plain data given to it.
    """
    for detail in error.errors(include_url=False, include_input=False):
        place = _place(detail["loc"], data, missing=detail["type"] == "missing")
        value = _value(data, place)
        if detail["type"] == "too_short" and len(value) >= detail["ctx"]["min_length"]:
            continue  # pydantic counts only the items that are right; the others have errors of their own
        if detail["type"] == "extra_forbidden":
            allowed = _allowed_keys(model, detail["loc"][:-1])
            yield place, f"unknown key{did_you_mean(str(place[-1]), allowed)}", True
        elif detail["type"] in {"union_tag_invalid", "union_tag_not_found"}:
            yield _tag_problem(detail, place, value)
        else:
            yield place, _message(detail, value), False


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: the nearest known one, else all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 24 else ""  # noqa: PLR2004


def _tag_problem(detail: ErrorDetails, place: Place, value: Any) -> tuple[Place, str, bool]:
    expected = [tag.strip("' ") for tag in str(detail.get("ctx", {}).get("expected_tags", "")).split(",")]
    if not isinstance(value, Mapping):
        return place, f"must be a mapping of keys to values, not {_shown(value)}", False
    tag = "format" if "format" in value else "kind"
    kind = value.get(tag)
    if isinstance(kind, str):
        return (*place, tag), f"unknown {tag} {kind!r}{did_you_mean(kind, expected)}", False
    names = ", ".join(tag for tag in expected if tag)
    return place, f"needs a {tag}" + (f", one of {names}" if names else ""), False


def _message(detail: ErrorDetails, value: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "this key is required"
    if kind == "value_error":  # raised by a validator of ours: a whole sentence
        return str(context.get("error", detail["msg"]))
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} does not match {context['pattern']}"
    if kind in {"too_long", "too_short"}:
        word, name = ("at most", "max_length") if kind == "too_long" else ("at least", "min_length")
        return f"has {context['actual_length']} items, must have {word} {context[name]}"
    return f"{_expected(detail, value)}, not {_shown(value)}"


def _expected(detail: ErrorDetails, value: Any) -> str:
    """What a value had to be."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        words = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = difflib.get_close_matches(value, words, n=1) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"must be {words[0]}" if len(words) == 1 else f"must be one of {', '.join(words)}{hint}"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {next(iter(context.values())):g}"
    text = detail["msg"]
    return _MESSAGES.get(kind, f"{text[0].lower()}{text[1:]}")


def _shown(value: Any) -> str:
    """A value as an error may show it: short, and never a mapping's insides, which may hold a secret."""
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."  # noqa: PLR2004
        return "'...' (hidden)" if "@" in text or "://" in text else repr(text)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list) else str(value)[:60]


def _place(loc: tuple[int | str, ...], data: Any, *, missing: bool) -> Place:
    """Pydantic's location without the names of union members that it mixes in."""
    place: list[str | int] = []
    for number, step in enumerate(loc):
        absent = missing and number == len(loc) - 1
        if isinstance(step, str) and not absent and (not isinstance(data, Mapping) or step not in data):
            continue
        place.append(step)
        data = _value(data, (step,))
    return tuple(place)


def _value(data: Any, place: Place) -> Any:
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _allowed_keys(model: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The keys the schema allows at a location, found by walking the annotations."""
    for step in loc:
        model = _descend(model, step)
    found: list[str] = []
    for member in _members(model):
        if isinstance(member, type) and issubclass(member, BaseModel):
            found += [field.alias or name for name, field in member.model_fields.items()]
    return found


def _members(annotation: Any) -> Iterator[Any]:
    """The plain types inside Annotated, Optional and unions."""
    if hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _members(member)
    elif annotation is not type(None):
        yield annotation


def _descend(annotation: Any, step: int | str) -> Any:
    """The annotation one step of pydantic's location further in."""
    for member in _members(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if origin in {tuple, list} and isinstance(step, int):
            return arguments[0]
        if origin in {dict, Mapping} and not (isinstance(member, type) and issubclass(member, BaseModel)):
            return arguments[1]
        if isinstance(member, type) and issubclass(member, BaseModel):
            if step in member.model_fields:
                return member.model_fields[str(step)].annotation
            if step == member.__name__ or step in _tags(member):
                return member
    return None


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """The `kind` or `format` values by which a union knows this member."""
    for name in ("kind", "format"):
        field = model.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)
    return ()
