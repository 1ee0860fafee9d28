"""Topics made from a template, such as plant/{site}/{source}/{kind}."""

from string import Formatter
from typing import Final

from edge_vision.core.schema_errors import did_you_mean, shown

PLACEHOLDERS: Final = ("site", "source", "kind")
USUAL: Final = "edge-vision/v1/{site}/{source}/{kind}"
_MOST_BYTES: Final = 1024


def checked_template(template: str) -> str:
    """The template, if each topic made from it is one that can be published to. Raises ValueError."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        msg = f"{shown(template)}: {error}; a brace itself is written twice"
        raise ValueError(msg) from None
    for literal, name, form, conversion in parts:
        if name is not None and name not in PLACEHOLDERS:
            msg = f"unknown placeholder {shown(name)}{did_you_mean(name, PLACEHOLDERS)}"
            raise ValueError(msg)
        if form or conversion:
            msg = f"{shown(template)}: a placeholder is {{{name}}} and nothing else"
            raise ValueError(msg)
        for letter in literal:
            if letter in "+#" or not letter.isprintable():
                msg = f"{letter!r} cannot be in a topic: + and # are for subscribers, and control characters for nobody"
                raise ValueError(msg)
    if template.startswith("$"):
        msg = "topics that start with $ are the broker's own"
        raise ValueError(msg)
    if not topic_of(template, "site", "", "kind"):
        msg = "the messages of the site, which have no source, would have no topic: add {site} or {kind}"
        raise ValueError(msg)
    if len(template.encode("utf-8", "replace")) > _MOST_BYTES:
        msg = f"longer than {_MOST_BYTES} bytes"
        raise ValueError(msg)
    return template


def topic_of(template: str, site: str, source: str, kind: str) -> str:
    """The topic of a kind of message. A level that is empty because the message has no source is left out."""
    levels = ((level, level.format(site=site, source=source, kind=kind)) for level in template.split("/"))
    return "/".join(made for level, made in levels if made or not level)
