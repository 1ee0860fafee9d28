"""docs/events.md is true: every kind of event has a row, and its example is one."""

import re

import msgspec
import pytest
from conftest import ROOT

from edge_vision.analytics.table import STAGES
from edge_vision.core.events import KINDS

PAGE = (ROOT / "docs/events.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (`.+?`) \| (.+?) \| `(\{.*\})` \|$", PAGE, re.MULTILINE)}


def test_every_kind_has_a_row() -> None:
    """In the order of the list."""
    assert list(ROWS) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_an_event_with_every_field(kind: str) -> None:
    """It decodes as one, strictly, and encodes to itself; its stages are some."""
    stages, _, example = ROWS[kind]
    assert set(re.findall(r"`(\w+)`", stages)) <= set(STAGES)
    event = msgspec.json.decode(example, type=KINDS[kind])
    assert msgspec.json.decode(msgspec.json.encode(event)) == msgspec.json.decode(example)
