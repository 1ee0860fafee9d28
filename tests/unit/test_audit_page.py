"""The report in the docs is what the audit prints of such a stream."""

import random
import re
from typing import Any

from audited import ALL_IS_LATE, T0_MS, gap, message
from audited import BOOT as FIRST
from conftest import ROOT

from edge_vision.publish.audit.heads import read_head
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.report import Scope, make_report
from edge_vision.publish.audit.wording import in_words

BOOT = "019ab1c2d3e4a1b2c3"


def test_the_report_in_the_docs_is_what_is_printed() -> None:
    """Forty events of which four are lost, and a thousand frames."""
    dice = random.Random(3)
    ledger = Ledger(Book(started_ms=T0_MS, retained=1), live=True)

    def hear(body: bytes, after_ms: float) -> None:
        ledger.take(read_head(body), body, T0_MS + after_ms + dice.lognormvariate(3.2, 0.4))

    known: dict[str, Any] = {"boot": BOOT, "site": "hall-7"}
    for seq in range(1, 1001):
        if not 501 <= seq <= 550:
            spent = {"total": dice.lognormvariate(2.4, 0.3)}
            hear(message(seq, "detections", **known, latency_ms=spent), seq * 40)
    for seq in (*range(1, 12), *range(13, 20), *range(23, 33), 34, 33, *range(35, 41), 35):
        hear(message(seq, "count", **known), seq * 40)
    told = gap(1, "count", 20, 22, sink="mqtt 10.0.0.5:1883").replace(FIRST.encode(), BOOT.encode())
    hear(told.replace(b'"test"', b'"hall-7"'), 0)
    page = (ROOT / "docs/5-delivery.md").read_text()
    (block,) = re.findall(r"```text\n(site hall-7.*?)```", page, re.DOTALL)
    assert in_words(make_report(ledger, Scope(), ALL_IS_LATE)) == block
