"""Says events in words, a short line each, whatever their kind: for people in front of a terminal or a picture."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_SAID: Final = frozenset(
    {"line", "zone", "class", "track_id", "direction", "counts", "class_counts", "by_class", "part", "quad"}
)
"""Fields that have a place of their own in the line, or none: corners are for drawing."""
_RESULTS: Final = ("verdict", "text", "total")
"""Fields that are what an event is about: they stand right behind what happened."""
_PREFIXES: Final = ("line_", "zone_")
"""What the name of the line or zone says already."""
_MOST_ITEMS: Final = 4
_MOST_LETTERS: Final = 80


def in_words(kind: str, event: Mapping[str, Any]) -> str:
    """One line about an event as it is on the wire: "gate: person 7 in (3 in, 1 out)".

    First the place (a line, a zone), then who, then what happened, then every other field as "name value".
    """
    place = event.get("line") or event.get("zone") or ""
    details = ", ".join(_details(event))
    happened = " ".join((*_who(event), *_what(kind, event)))
    line = (f"{place}: " if place else "") + happened + (f" ({details})" if details else "")
    return "".join(letter if letter.isprintable() else " " for letter in line)


def message_in_words(body: Any) -> str | None:
    """One line about a message, from its decoded body: an event, or how the site is; None for detections.

    Whatever is no message of ours is shown as it is.
    """
    if not isinstance(body, Mapping) or not str(body.get("schema")).startswith("edge-vision/"):
        return str(body)
    kind, event = str(body.get("kind")), body.get("event")
    if kind == "status":
        rows = [*(body.get("cameras") or ()), *(body.get("publish") or ())]
        states = [f"{row.get('id') or row.get('sink')} {row.get('state')}" for row in rows if isinstance(row, Mapping)]
        reason = f": {body['reason']}" if body.get("reason") else ""
        more = f" ({', '.join(states)})" if states else ""
        return f"{_time(body)} {body.get('site')} is {body.get('state')}{reason}{more}"
    if kind == "evidence" and isinstance(body.get("evidence"), Mapping):
        return f"{_time(body)} {body.get('source')}  {_kept(body['evidence'])}"
    if not isinstance(event, Mapping):
        return None
    return f"{_time(body.get('frame'))} {body.get('source')}  {in_words(kind, event)}"


def _kept(evidence: Mapping[str, Any]) -> str:
    """What is kept of an event, what will be, and what is not, with the reasons."""
    files = [str(one.get("type")) for one in evidence.get("files") or ()]
    missing = [f"no {one.get('type')}: {one.get('reason')}" for one in evidence.get("missing") or ()]
    pending = [f"{one} to come" for one in evidence.get("pending") or ()]
    return f"evidence of {evidence.get('of')}: {', '.join([*files, *pending, *missing]) or 'nothing'}"


def _time(about: Any) -> str:
    """The time of day, UTC, of a timestamp such as 2026-11-22T05:00:00.123456Z."""
    return str(about.get("timestamp"))[11:19] if isinstance(about, Mapping) else ""


def _who(event: Mapping[str, Any]) -> Iterator[str]:
    part = event.get("part")
    named = {**part, **event} if isinstance(part, Mapping) else event
    if named.get("class"):
        yield str(named["class"])
    elif named.get("track_id") is not None:
        yield "object"
    if named.get("track_id") is not None:
        yield str(named["track_id"])


def _what(kind: str, event: Mapping[str, Any]) -> Iterator[str]:
    if "direction" in event:
        yield _value(event["direction"])
        return
    prefix = next((prefix for prefix in _PREFIXES if kind.startswith(prefix) and prefix[:-1] in event), "")
    yield kind.removeprefix(prefix).replace("_", " ")
    result = next((name for name in _RESULTS if name in event), None)
    if result is not None:
        value = _value(event[result])
        yield f'"{value}"' if result == "text" else value


def _details(event: Mapping[str, Any]) -> Iterator[str]:
    """How many there are, then the fields that are left, each with its name."""
    yield from _numbers(event.get("counts"))
    yield from _numbers(event.get("by_class"))
    result = next((name for name in _RESULTS if name in event), None)
    for name, value in event.items():
        if name not in _SAID and name != result and value not in (None, [], ()):
            yield f"{name} {_value(value)}"


def _numbers(counts: Any) -> Iterator[str]:
    if isinstance(counts, Mapping):
        for name, number in counts.items():
            yield f"{name} {_value(number)}" if isinstance(number, Mapping) else f"{number} {name}"


def _value(value: Any) -> str:
    """A value as people read it: yes and no, numbers without noise, lists and text cut where they get long."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - _MOST_ITEMS} more"] if len(value) > _MOST_ITEMS else []
        return "[" + ", ".join([*map(_value, value[:_MOST_ITEMS]), *more]) + "]"
    text = str(value)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 3] + "..."
