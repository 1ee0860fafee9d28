"""Turns what pydantic finds wrong with a document into problems that people can act on."""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge_vision.core.document import Document, Place, Problem
from edge_vision.core.options import Secret

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

_KEY = "[key]"
"""What pydantic puts behind the place of a key that is wrong itself."""

_SECRETS = frozenset({"username", "password", "secret", "secret_key", "headers"})
"""What stands under these keys is not repeated in an error, however wrong it is."""

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
    found: list[_Found] = []
    for detail in error.errors(include_url=False, include_input=False):
        place, annotation, union = _place(detail["loc"], model)
        found += (_Found(*one, union, detail["type"]) for one in _explained(detail, place, annotation, model, data))
    yield from _without_choices(found)


class _Found(NamedTuple):
    """One explained error; `union` is how deep the plain union is of which it is one choice that did not fit."""

    place: Place
    text: str
    at_key: bool
    union: int | None
    kind: str


def _without_choices(found: list[_Found]) -> Iterator[tuple[Place, str, bool]]:
    """Each mistake once: of the choices of a union only what is wrong with the one that fits best."""
    said: set[Place] = set()
    for one in found:
        if one.union is None:
            yield one.place, one.text, one.at_key
            continue
        whole = one.place[: one.union]
        if whole in said:
            continue
        said.add(whole)
        rivals = [other for other in found if other.union is not None and other.place[: other.union] == whole]
        fitting = [other for other in rivals if len(other.place) > one.union or not other.kind.endswith("_type")]
        if fitting:
            yield from ((other.place, other.text, other.at_key) for other in fitting)
        else:
            wanted = dict.fromkeys(other.text.partition(", not ")[0].removeprefix("must be ") for other in rivals)
            choices = f"must be {' or '.join(wanted)}"
            yield whole, choices + "".join(one.text.partition(", not ")[1:]), one.at_key


def _explained(
    detail: ErrorDetails, place: Place, annotation: Any, model: Any, data: Any
) -> Iterator[tuple[Place, str, bool]]:
    """What is said of one error: nothing where others say it."""
    value = _value(data, place)
    kind = detail["type"]
    if kind == "too_short" and len(value) >= detail["ctx"]["min_length"]:
        return  # pydantic counts only the items that are right; the others have errors of their own
    secret = _is_secret(place, annotation)
    if kind == "extra_forbidden":
        parent = _place(detail["loc"][:-1], model)[1]
        if _is_secret(place[:-1], parent) and not _nearest(str(place[-1]), _keys(parent)):  # password: {hunter2}
            yield place[:-1], f"a hidden key is unknown; known: {', '.join(_keys(parent))}", False
        else:
            yield place, f"unknown key{did_you_mean(str(place[-1]), _keys(parent))}", True
    elif kind in {"union_tag_invalid", "union_tag_not_found"}:
        known = [tag for member in _members(annotation) for tag in _tags(member)]
        yield _tag_problem(detail, place, value, known)
    elif kind == "missing" and place and isinstance(place[-1], int):
        yield from _too_few_items(place, data, _place(detail["loc"][:-1], model)[1])
    elif place and place[-1] == _KEY:  # of a mapping whose keys are names
        yield place[:-1], _message(detail, place[-2], shown(place[-2])), True
    elif secret and detail["loc"][-1] == _KEY:  # headers: {"Authorization: hunter2": ...}
        yield place[:-1], f"a hidden key {_message(detail, None, '')}", False
    else:
        yield place, _message(detail, value, "a hidden value" if secret else shown(value)), False


def _is_secret(place: Place, annotation: Any) -> bool:
    """Whether what stands at a place is not to be repeated, neither keys nor values."""
    return bool(_SECRETS.intersection(place)) or annotation is Secret or Secret in get_args(annotation)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: the nearest known one, else all of them."""
    names = sorted(set(known))
    near = _nearest(word, names)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 24 else ""  # noqa: PLR2004


def _nearest(word: str, names: list[str]) -> list[str]:
    """The likeliest name meant, as a list of one; or none."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return near or [name for name in names if len(word) > 2 and (name.startswith(word) or word.startswith(name))][:1]  # noqa: PLR2004


def _tag_problem(detail: ErrorDetails, place: Place, value: Any, known: list[str]) -> tuple[Place, str, bool]:
    """A union whose member cannot be told: the tag is missing or unknown."""
    tag = str(detail["ctx"]["discriminator"]).strip("'")
    if not isinstance(value, Mapping):
        return place, f"must be a mapping of keys to values, not {shown(value)}", False
    if tag not in value:
        return place, f"needs a {tag}, one of {', '.join(known)}", False
    given = value[tag]
    hint = did_you_mean(given, known) if isinstance(given, str) else ""
    return (*place, tag), f"unknown {tag} {shown(given)}{hint}", False


def _too_few_items(place: Place, data: Any, annotation: Any) -> Iterator[tuple[Place, str, bool]]:
    """A list of fixed length that ends too early: said once, of the list."""
    *front, index = place
    have = len(_value(data, tuple(front)) or ())
    if index == have:
        need = max((len(get_args(member)) for member in _members(annotation)), default=have + 1)
        yield tuple(front), f"has {have} items, must have at least {need}", False


def _message(detail: ErrorDetails, value: Any, given: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "this key is required"
    if kind == "value_error":  # raised by a validator of ours: a whole sentence
        return str(context.get("error", detail["msg"]))
    if kind == "string_pattern_mismatch":
        return f"{given} does not match {context['pattern']}"
    if kind in {"too_long", "too_short"}:
        word, name = ("at most", "max_length") if kind == "too_long" else ("at least", "min_length")
        return f"has {context['actual_length']} items, must have {word} {context[name]}"
    return f"{_expected(detail, value)}, not {given}"


def _expected(detail: ErrorDetails, value: Any) -> str:
    """What a value had to be."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        words = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        near = _nearest(value, words) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"must be {words[0]}" if len(words) == 1 else f"must be one of {', '.join(words)}{hint}"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {next(iter(context.values())):g}"
    text = detail["msg"]
    return _MESSAGES.get(kind, f"{text[0].lower()}{text[1:]}")


def shown(value: Any) -> str:
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


def _place(loc: tuple[int | str, ...], model: Any) -> tuple[Place, Any, int | None]:
    """Pydantic's location without the names of union members that it mixes in, and the type that stands there.

    Third comes the depth of the last union without tags on the way, whose members are all tried; None without one.
    """
    place: list[str | int] = []
    union: int | None = None
    for step in loc:
        members = list(_members(model))
        tagged = [member for member in members if step in _tags(member)]
        if len(members) > 1 and len(tagged) == 1:
            model = tagged[0]
            continue
        if len(members) > 1 and union != len(place) and not any(map(_tags, members)):
            union = len(place)
            continue
        place.append(step)
        model = _descend(model, step)
    return tuple(place), model, union


def _value(data: Any, place: Place) -> Any:
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _keys(annotation: Any) -> list[str]:
    """The keys that a mapping of this type may have."""
    return [
        field.alias or name
        for member in _members(annotation)
        if _is_model(member)
        for name, field in member.model_fields.items()
    ]


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
    """The type one step further in: of an item, of a value, or of a field."""
    for member in _members(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if origin in {tuple, list} and isinstance(step, int):
            return arguments[0]
        if origin is dict:
            return arguments[1]
        if _is_model(member):
            for name, field in member.model_fields.items():
                if step == (field.alias or name):
                    return field.annotation
    return None


def _is_model(member: Any) -> bool:
    whole = get_origin(member) is None  # to Python 3.10 dict[str, int] is a type, and issubclass() stumbles over it
    return whole and isinstance(member, type) and issubclass(member, BaseModel)


def _tags(member: Any) -> tuple[Any, ...]:
    """The `kind` or `format` values by which a union knows this member."""
    for name in ("kind", "format"):
        field = member.model_fields.get(name) if _is_model(member) else None
        if field is not None and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)
    return ()
