"""What an audit reads of a message, and what it makes of bytes that are none."""

import json
from typing import Any

import pytest
from audited import (
    ALL_IS_LATE,
    BOOT,
    audit,
    gap,
    message,
)
from hypothesis import given, settings
from hypothesis import strategies as some

from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.heads import MalformedError, UnknownSchemaError, read_head
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.report import Scope, facts, make_report
from edge_vision.publish.audit.wording import in_words
from edge_vision.publish.wire import Gap, Wire
from edge_vision.runtime.clock import SystemClock


def test_messages_of_the_wire_are_read() -> None:
    """Every kind of message that the package itself makes is one to the audit, with its number and its site."""
    clock = SystemClock()
    wire = Wire("hall-7", BOOT, clock)
    made = [
        wire.gap("line", Gap("mqtt b:1", "too old", 3, BOOT, "count", 2, 4)),
        wire.gap("", Gap("mqtt b:1", "unreadable")),
        wire.status("online", {"cameras": []}),
        wire.will(),
    ]
    heads = [read_head(one.body) for one in made]
    assert [head.seq for head in heads] == [1, 1, 1, 0]
    assert {head.site for head in heads} == {"hall-7"}
    assert heads[0].gap is not None
    assert (heads[0].gap.lost_kind, heads[0].gap.first, heads[0].gap.last) == ("count", 2, 4)
    assert heads[3].is_will


@pytest.mark.parametrize(
    "body, why",
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"schema": "edge-vision/1"', "is not JSON"),
        (b"[]", "is not a message"),
        (b"null", "is not a message"),
        (b"{}", "is not a message"),
        (b'{"schema": 3}', "is not a message"),
        (b"[" * 100_000, "is not"),
        (b'{"schema": "edge-vision/1", "x": ' + b"[" * 100_000, "is not"),
        (b'{"schema": "edge-vision/1"}', "has a field that is missing or not what the schema says"),
        (message(1, seq="1"), "has a field"),
        (message(1, seq=1.5), "has a field"),
        (message(1, seq=2**60), "has a field"),
        (message(1, seq=-1), "has a field"),
        (message(1, boot=""), "has a field"),
        (message(1, kind="k" * 100), "has a field"),
        (message(1, source="s" * 100), "has a field"),
        (message(1, frame={"timestamp": "yesterday"}), "has a field"),
        (message(1, frame={"timestamp": "2026-11-22T05:00:00"}), "has a field"),
        (message(0), "has no number"),
        (message(1, id="x"), "has an id"),
        (message(2, seq=1), "has an id"),
    ],
)
def test_what_is_no_message_is_named(body: bytes, why: str) -> None:
    """By one of a few reasons, whatever it is."""
    with pytest.raises(MalformedError, match=why) as told:
        read_head(body)
    assert not isinstance(told.value, UnknownSchemaError)


def test_another_schema_is_told_apart_from_nonsense() -> None:
    """Also where its fields are others."""
    for body in (message(1, schema="edge-vision/2"), b'{"schema": "edge-vision/9", "seq": "one"}', b'{"schema": ""}'):
        with pytest.raises(UnknownSchemaError):
            read_head(body)


def _auditor() -> Auditor:
    return Auditor(Ledger(Book(started_ms=1.0), live=True), SystemClock(), Limits())


@settings(max_examples=300, deadline=None)
@given(some.binary(max_size=200))
def test_no_bytes_break_an_auditor(body: bytes) -> None:
    """Any bytes at all."""
    auditor = _auditor()
    auditor.hear(body)
    assert sum(auditor.ledger.book.malformed.values()) + len(auditor.ledger.book.unknown_schemas) == 1


_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

_FIELDS = ("schema", "kind", "id", "boot", "seq", "site", "source", "frame", "latency_ms", "gap", "state", "last")


@settings(max_examples=500, deadline=None)
@given(
    some.dictionaries(some.sampled_from(_FIELDS), _JSON, max_size=4), some.sampled_from(["count", "gap", "heartbeat"])
)
def test_no_field_breaks_an_auditor(changes: dict[str, Any], kind: str) -> None:
    """A message with some fields replaced by anything: counted once, and a report can be made and said."""
    auditor = _auditor()
    auditor.hear(message(1))
    body = json.loads(gap(2, "count", 1, 1) if kind == "gap" else message(2, kind))
    auditor.hear(json.dumps({**body, **changes}).encode("utf-8", "surrogatepass"))
    book = auditor.ledger.book
    counted = book.received + book.wills + book.heartbeats
    assert counted + sum(book.malformed.values()) + sum(book.unknown_schemas.values()) == 2
    report = make_report(auditor.ledger, Scope(), ALL_IS_LATE)
    json.dumps(facts(report), allow_nan=False)
    assert "\x1b" not in in_words(report)


def test_a_hostile_name_does_not_reach_the_terminal() -> None:
    """Control characters in names and reasons are shown as question marks."""
    report = audit(message(1, source="a\x1b[2J"), gap(1, None, None, None, count=1, sink="\x1b]0;x\x07"))
    assert "\x1b" not in in_words(report)
    assert "a?[2J" in in_words(report)
