"""Messages as a site sends them, for tests of who audits them."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from edge_vision.publish.audit.heads import read_head
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.report import Report, Scope, StreamReport, make_report

BOOT: Final = "019a00000000aaaaaa"
LATER: Final = "019b00000000bbbbbb"
T0: Final = datetime(2026, 11, 22, 5, 0, 0, tzinfo=timezone.utc)
T0_MS: Final = T0.timestamp() * 1000
ALL_IS_LATE: Final = float("inf")
"""A time at which nothing is under way any more."""


def message(seq: int, /, kind: str = "count", source: str = "line", boot: str = BOOT, **more: Any) -> bytes:
    """An event, or whatever `more` makes of it."""
    body = {
        "schema": "edge-vision/1",
        "kind": kind,
        "id": f"{boot}-{source or 'test'}-{kind}-{seq}",
        "boot": boot,
        "seq": seq,
        "site": "test",
        "source": source,
        "frame": {"index": seq, "timestamp": stamp(seq * 40), "media_ms": 0.0, "width": 8, "height": 8},
        **more,
    }
    return json.dumps({key: value for key, value in body.items() if value is not None}).encode()


def stamp(after_ms: float) -> str:
    """A time so long after T0."""
    return (T0 + timedelta(milliseconds=after_ms)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def gap(seq: int, lost_kind: str | None, first: int | None, last: int | None, boot: str = BOOT, **more: Any) -> bytes:
    """A gap message: of a run, numbers of a kind were lost."""
    lost: dict[str, Any] = {
        "sink": "mqtt broker:1883",
        "reason": "older than 168 h",
        "boot": boot,
        "lost_kind": lost_kind,
    }
    lost |= {"first": first, "last": last, **more}
    told = {key: value for key, value in lost.items() if value is not None}
    return message(seq, "gap", frame=None, timestamp=stamp(0), gap=told)


def heartbeat(*last: tuple[str, str, int], boot: str = BOOT) -> bytes:
    """A heartbeat that names how far each source and kind has come."""
    named = [{"source": source, "kind": kind, "seq": seq} for source, kind, seq in last]
    body = {"schema": "edge-vision/1", "kind": "heartbeat", "boot": boot, "site": "test", "timestamp": stamp(0)}
    return json.dumps({**body, "every_s": 2.0, "last": named}).encode()


def ledger_of(*bodies: bytes, live: bool = False, step_ms: float = 0.0) -> Ledger:
    """A ledger that took some messages, one every `step_ms` from T0 on."""
    ledger = Ledger(Book(started_ms=T0_MS), live=live)
    for number, body in enumerate(bodies):
        ledger.take(read_head(body), body, T0_MS + number * step_ms)
    return ledger


def audit(*bodies: bytes, now_ms: float = ALL_IS_LATE, expected: Ledger | None = None, **scope: Any) -> Report:
    """The report on some messages."""
    return make_report(ledger_of(*bodies), Scope(**scope), now_ms, expected)


def row(report: Report, kind: str = "count", boot: str = BOOT, source: str = "line") -> StreamReport:
    """The one row of a report that is about this."""
    (found,) = (one for one in report.streams if (one.kind, one.boot, one.source) == (kind, boot, source))
    return found
